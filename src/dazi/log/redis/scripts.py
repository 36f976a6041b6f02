"""What Redis does in one step, as Lua: each check and what it allows are one script, so nothing comes between them.

Laws: a script is all or nothing, also when memory is short (its first write is one that Redis refuses then) and when
its answer is lost (the same token, sent again, changes nothing); all of a script's keys have one hash tag, so a cluster
takes it; time is the store's. A generation has

- `log:<id>`, a Stream: one entry for each batch, its id `<last position>-0`, its fields runs of text, events or the end;
- `gen:<id>`, a hash: how the log stands. Until its end a log has one writer, so one epoch; the end may have the next.

and a shard has `leases` (what runs, by when its lease runs out), `expiry` and `shelf` (all, by when they expire and when
they were made), `owner:<hash>` (of one owner), `key:<hash>` (what an idempotency key stands for), `gone:<id>` (erased, so
never to be restored) `swept` (somebody looks for the dead), and `news`, the notification stream.

One crash may still leave half of a script behind: where the tail that Redis lost begins inside a script's writes, Redis leaves
the first of them in its file, and does them at its next start, together with what came later. So whatever makes a log be
found and swept is written before the log, and what is erased before its index; and a log whose Stream does not reach as far
as its hash says, or reaches further, is treated as lost: its runner writes it anew, or the sweep forgets it.

Every key that a call knows is declared. Two that only the store knows (the key index and the owner's shelf of a log)
are named in its hash and carry the same hash tag.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

# Notices kept for each shard: some seconds of a busy one. Whoever is further behind is helped by the sweep.
_NEWS_KEPT = 2000
# Logs handled by one script: short enough that Redis serves others meanwhile.
_SWEPT_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the digest by which Redis knows it once it has seen it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


_NOW = """
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

_NOTIFY = f"""
local function notify(news, ...)
    redis.call('XADD', news, 'MAXLEN', '~', {_NEWS_KEPT}, '*', ...)
end
"""

# Its writes may fail, as where memory is short: then the next look finds what no notice tells of.
_HEAR = """
local function hear(gen, milliseconds)
    redis.pcall('HSET', gen, 'heard', now() + milliseconds)
end
"""

_WHOLE = """
local function is_whole(log, position)
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    return last ~= nil and last[1] == position .. '-0'
end
"""

# KEYS: gen log leases expiry shelf owner [key]
# ARGV: id owner fingerprint started epoch lease safety model created tag base
CREATE = Script(
    _NOW
    + """
local id, base = ARGV[1], ARGV[11]
if KEYS[7] then
    local found = redis.call('HMGET', KEYS[7], 'generation', 'fingerprint', 'epoch')
    if found[1] and redis.call('EXISTS', base .. 'gen:' .. found[1]) == 1 then
        return {found[1] == id and 1 or 0, found[1], found[2], found[3]}
    end
end
local made = {1, id, ARGV[3], ARGV[5]}
if redis.call('EXISTS', KEYS[1]) == 1 then return made end
local time = now()
redis.call('ZADD', KEYS[3], time + ARGV[6], id)
redis.call('ZADD', KEYS[4], time + ARGV[7], id .. ' ' .. ARGV[10])
redis.call('ZADD', KEYS[5], time, id)
redis.call('ZADD', KEYS[6], time, id)
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'epoch', ARGV[5], 'position', 1, 'n', 0, 'crc', 0,
    'model', ARGV[8], 'created', ARGV[9], 'tag', ARGV[10], 'key', KEYS[7] or '')
redis.call('XADD', KEYS[2], '1-0', 's', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
if KEYS[7] then
    redis.call('HSET', KEYS[7], 'generation', id, 'fingerprint', ARGV[3], 'epoch', ARGV[5])
    redis.call('PEXPIRE', KEYS[7], ARGV[7])
end
return made
"""
)

# KEYS: key; ARGV: base
FIND = Script("""
local found = redis.call('HMGET', KEYS[1], 'generation', 'fingerprint', 'epoch')
if not found[1] or redis.call('EXISTS', ARGV[1] .. 'gen:' .. found[1]) == 0 then return {} end
return found
""")

# KEYS: the news of each shard that is written to; ARGV: one MessagePack array, since redis-py takes longer for many arguments than
# Redis for unpacking one: a token, and for each append an array: which of the news, id, previous, last, epoch, crc_before, crc, n,
# retracted, and then each entry: its position, fields and values. An empty crc_before matches any; an empty crc leaves crc and n as they are.
# The answer names those that were refused, by their place. An append is told of only where somebody elsewhere listens.
APPEND = Script(
    _NOW
    + _NOTIFY
    + _WHOLE
    + """
local given = cmsgpack.unpack(ARGV[1])
local refused, heard, time = {}, {}, nil
local function withdraw(log)
    -- What was said is deleted: a Stream's entries cannot be changed, so it is written anew without them.
    local ttl = redis.call('PTTL', log)
    local entries = redis.call('XRANGE', log, '-', '+')
    redis.call('DEL', log)
    for _, entry in ipairs(entries) do
        local kept = {}
        for at = 1, #entry[2], 2 do
            if entry[2][at] ~= 't' and entry[2][at] ~= 'x' then
                kept[#kept + 1] = entry[2][at]
                kept[#kept + 1] = entry[2][at + 1]
            end
        end
        if #kept > 0 then redis.call('XADD', log, entry[1], unpack(kept)) end
    end
    redis.call('PEXPIRE', log, ttl)
end
local function append(token, news, id, previous, last, epoch, before, crc, n, retracted, ...)
    local base = KEYS[news]:sub(1, -5)
    local gen, log = base .. 'gen:' .. id, base .. 'log:' .. id
    local state = redis.call('HMGET', gen, 'epoch', 'position', 'end', 'crc', 'token', 'heard')
    if not state[1] then return {'unknown'} end
    if state[5] == token then return end
    if state[3] then return {'closed'} end
    if state[1] ~= epoch or state[2] ~= previous then return {'order', state[1], state[2]} end
    if before ~= '' and state[4] ~= before then return {'crc', state[4]} end
    if not is_whole(log, previous) then return {'unknown'} end
    if crc ~= '' then
        redis.call('HSET', gen, 'position', last, 'token', token, 'crc', crc, 'n', n)
    else
        redis.call('HSET', gen, 'position', last, 'token', token)
    end
    if retracted ~= '' then
        withdraw(log)
        redis.call('HSET', gen, 'retracted', retracted)
    end
    for _, entry in ipairs({...}) do redis.call('XADD', log, entry[1] .. '-0', unpack(entry, 2)) end
    if state[6] then
        time = time or now()
        if tonumber(state[6]) > time then
            heard[news] = heard[news] or {}
            table.insert(heard[news], id)
            table.insert(heard[news], last)
        end
    end
end
for at = 2, #given do
    local answer = append(given[1] .. at, unpack(given[at]))
    if answer then refused[#refused + 1] = {at - 2, unpack(answer)} end
end
for news, told in pairs(heard) do notify(KEYS[news], unpack(told)) end
return refused
"""
)

# KEYS: gen log news leases expiry; ARGV: id end token ttl lost [epoch previous]
# With lost = 1 it ends only what has outlived its lease, under the next epoch, and forgets what is not whole.
END = Script(
    _NOW
    + _NOTIFY
    + _WHOLE
    + """
local id = ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'end', 'n', 'crc', 'token', 'end_epoch', 'key', 'tag')
if not state[1] then
    redis.call('ZREM', KEYS[4], id)
    return {'unknown'}
end
if state[3] and state[6] == ARGV[3] then return {'stored', state[7], state[2], state[4], state[5]} end
if state[3] then
    redis.call('ZREM', KEYS[4], id)
    return {'closed'}
end
if ARGV[6] and (state[1] ~= ARGV[6] or state[2] ~= ARGV[7]) then return {'order', state[1], state[2]} end
local time, epoch, position = now(), state[1] + 0, state[2] + 1
if ARGV[5] == '1' then
    local lease = redis.call('ZSCORE', KEYS[4], id)
    if lease and lease + 0 > time then return {'held'} end
    epoch = epoch + 1
end
if not is_whole(KEYS[2], state[2]) then
    if ARGV[5] == '1' then
        redis.call('DEL', KEYS[1], KEYS[2])
        redis.call('ZREM', KEYS[4], id)
    end
    return {'unknown'}
end
redis.call('HSET', KEYS[1], 'end', ARGV[2], 'end_epoch', epoch, 'position', position, 'token', ARGV[3])
redis.call('XADD', KEYS[2], position .. '-0', 'e', ARGV[2])
notify(KEYS[3], id, position)
redis.call('ZREM', KEYS[4], id)
redis.call('ZADD', KEYS[5], time + ARGV[4], id .. ' ' .. state[9])
if state[8] ~= '' then redis.call('PEXPIRE', state[8], ARGV[4]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'stored', epoch, position, state[4], state[5]}
"""
)

# KEYS: gen log; ARGV: epoch position heard. Whoever follows says for how many milliseconds he wants to hear of appends. The last entry has to be at the head, or before it where the end, which the hash holds as
# well, is missing. A retraction makes every cursor before it one that does not match. The entries come as
# two strings, the names of all their fields with the lengths of the values, and the values: taking apart two thousand
# entries as Redis writes them costs a client in Python a tenth of a second.
READ = Script(
    _NOW
    + _HEAR
    + """
local function id(position) return string.format('%.0f-0', position) end
local state = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'position', 'end', 'end_epoch', 'n', 'crc', 'retracted')
if not state[1] then return {} end
if ARGV[3] ~= '0' and not state[4] then hear(KEYS[1], ARGV[3]) end
local epoch, after = tonumber(ARGV[1]), tonumber(ARGV[2])
local head, retracted = tonumber(state[3]), tonumber(state[8] or '0')
local matched
if epoch == 0 and after == 0 then
    matched = retracted == 0
else
    local written = (state[4] and after == head) and state[5] or state[2]
    matched = epoch == tonumber(written) and after >= math.max(retracted, 1) and after <= head
end
local entries = {}
if not matched or after < head then
    entries = redis.call('XRANGE', KEYS[2], matched and id(after + 1) or '-', '+')
    local last = matched and id(after) or ''
    if #entries > 0 then last = entries[#entries][1] end
    if last ~= id(head) and not (state[4] and last == id(head - 1)) then return {} end
end
local names, values = {}, {}
for _, entry in ipairs(entries) do
    for at = 1, #entry[2], 2 do
        names[#names + 1] = entry[2][at] .. #entry[2][at + 1]
        values[#values + 1] = entry[2][at + 1]
    end
end
return {matched and 1 or 0, table.concat(names, ' '), table.concat(values), unpack(state, 1, 7)}
"""
)

# KEYS: the gen of each; ARGV: heard, and how many of them, from the first on, are to be heard for so many milliseconds.
HEADS = Script(
    _NOW
    + _HEAR
    + """
local heads = {}
for at, key in ipairs(KEYS) do
    local state = redis.call('HMGET', key, 'position', 'end')
    heads[at] = state[1] or '0'
    if at <= tonumber(ARGV[2]) and state[1] and not state[2] then hear(key, ARGV[1]) end
end
return heads
"""
)

# KEYS: news. The id of the last notice.
TAIL = Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return last[1] and last[1][1] or '0-0'
""")

# KEYS: gen log leases expiry; ARGV: id epoch lease safety
RENEW = Script(
    _NOW
    + """
local state = redis.call('HMGET', KEYS[1], 'epoch', 'end', 'key', 'tag')
if not state[1] then return 'missing' end
if state[2] or state[1] ~= ARGV[2] then return 'lost' end
local time = now()
redis.call('ZADD', KEYS[3], time + ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[4], time + ARGV[4], ARGV[1] .. ' ' .. state[4])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if state[3] ~= '' then redis.call('PEXPIRE', state[3], ARGV[4]) end
return 'held'
"""
)

# KEYS: leases expiry shelf swept; ARGV: base unheld held grace. Forgets what has expired, and tells whose lease ran out. One whose lease was
# deleted is found by when it will be forgotten, which each renewal puts off: what runs and is renewed is to be forgotten in more than
# `held` milliseconds, and what has ended in fewer than `unheld`. Where nobody has swept for `grace` milliseconds, Redis itself may have been
# away, and nobody could renew: then everybody gets as long again.
DUE = Script(
    _NOW
    + f"""
local time, base = now(), ARGV[1]
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', time, 'LIMIT', 0, {_SWEPT_AT_ONCE})) do
    local id, tag = member:match('^(%S+) (%S+)$')
    if redis.call('EXISTS', base .. 'gen:' .. id) == 0 then
        redis.call('ZREM', KEYS[1], id)
        redis.call('ZREM', KEYS[2], member)
        redis.call('ZREM', KEYS[3], id)
        redis.call('ZREM', base .. 'owner:' .. tag, id)
    end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time, 'LIMIT', 0, {_SWEPT_AT_ONCE})
local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. time + ARGV[2], time + ARGV[3], 'LIMIT', 0, {_SWEPT_AT_ONCE})
for _, member in ipairs(silent) do
    local id = member:match('^%S+')
    if not redis.call('ZSCORE', KEYS[1], id) then due[#due + 1] = id end
end
local was_away = redis.call('EXISTS', KEYS[4]) == 0
if redis.call('EXISTS', KEYS[1]) == 1 or #due > 0 then redis.call('SET', KEYS[4], 1, 'PX', ARGV[4]) end
if not was_away then return due end
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], time + ARGV[4], id) end
return {{}}
"""
)

# KEYS: gen log leases expiry shelf owner gone news [key]
# ARGV: id owner epoch last n crc retracted lease safety model created tag token fingerprint, then for each entry its
# id, the number of its fields and values, and those.
RESTORE = Script(
    _NOW
    + _NOTIFY
    + _WHOLE
    + """
local id = ARGV[1]
if redis.call('EXISTS', KEYS[7]) == 1 then return {'closed'} end
local state = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'end')
if state[3] then return {'closed'} end
local is_more = state[1] and tonumber(state[2]) > tonumber(ARGV[4]) and is_whole(KEYS[2], state[2])
if state[1] and (state[1] ~= ARGV[3] or is_more) then return {'order', state[1], state[2]} end
local key, time = KEYS[9] or '', now()
redis.call('ZADD', KEYS[3], time + ARGV[8], id)
redis.call('ZADD', KEYS[4], time + ARGV[9], id .. ' ' .. ARGV[12])
redis.call('ZADD', KEYS[5], time, id)
redis.call('ZADD', KEYS[6], time, id)
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'epoch', ARGV[3], 'position', ARGV[4], 'n', ARGV[5], 'crc', ARGV[6],
    'retracted', ARGV[7], 'model', ARGV[10], 'created', ARGV[11], 'tag', ARGV[12], 'token', ARGV[13], 'key', key)
redis.call('DEL', KEYS[2])
local at = 15
while at <= #ARGV do
    local count = tonumber(ARGV[at + 1])
    redis.call('XADD', KEYS[2], ARGV[at], unpack(ARGV, at + 2, at + 1 + count))
    at = at + 2 + count
end
if key ~= '' and redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'generation', id, 'fingerprint', ARGV[14], 'epoch', ARGV[3])
    redis.call('PEXPIRE', key, ARGV[9])
end
redis.call('PEXPIRE', KEYS[1], ARGV[9])
redis.call('PEXPIRE', KEYS[2], ARGV[9])
notify(KEYS[8], id, ARGV[4])
return {'stored'}
"""
)

# KEYS: shelf (or owner); ARGV: limit base. The newest logs, newest first; what has expired is forgotten on the way.
SHELF = Script("""
local rows = {}
local count = tonumber(ARGV[1])
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
    if #rows == count then break end
    local row = redis.call('HMGET', ARGV[2] .. 'gen:' .. id, 'owner', 'model', 'created', 'position', 'end')
    if row[1] then
        row[6] = redis.call('ZSCORE', KEYS[1], id)
        row[7] = id
        rows[#rows + 1] = row
    else
        redis.call('ZREM', KEYS[1], id)
    end
end
return rows
""")

# KEYS: gen log leases expiry shelf owner gone; ARGV: id tag safety owner
ERASE = Script("""
local state = redis.call('HMGET', KEYS[1], 'owner', 'key')
if state[1] and state[1] ~= ARGV[4] then return 0 end
redis.call('SET', KEYS[7], 1, 'PX', ARGV[3])
if state[2] and state[2] ~= '' then redis.call('DEL', state[2]) end
redis.call('DEL', KEYS[2])
local erased = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. ARGV[2])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
return erased
""")
