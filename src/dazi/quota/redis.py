"""The counts of all nodes that share a Redis: `book.py`, as Lua, each verb in one script.

Laws: all keys have one hash tag, so a cluster takes a script; time is Redis's; each place is a member of a sorted set for every
name that it counts under, by when its lease runs out, so no count can drift: what is not renewed is not counted, and a key that
nobody renews vanishes. Names are hashed: no key holds what a user chose.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from dazi.log.redis.places import digest
from dazi.log.redis.scripts import Script
from dazi.log.redis.store import Store
from dazi.quota import SPENT_KEPT, Ask, Kept, Limit, Verdict

# Places renewed by one script: short enough that Redis serves others meanwhile.
_AT_ONCE = 200

# In all scripts: KEYS: line order, then the key of each limit; ARGV[1]: base. Those who wait are named in `line` (by ticket, what
# they asked for) and in `order` (by arrival); `alive:<ticket>` stands while that is believed. Their limits' keys stand in `line`.
_BOOK = """
local base = ARGV[1]
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
local time = now()
local function count(key)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', time)
    return redis.call('ZCARD', key)
end
local function hold(keys, ticket, lease)
    for _, key in ipairs(keys) do
        redis.call('ZADD', key, time + lease, ticket)
        redis.call('PEXPIRE', key, math.max(lease, redis.call('PTTL', key)))
    end
end
local function holds(key, ticket)
    local score = redis.call('ZSCORE', key, ticket)
    return score and tonumber(score) > time
end
local function call_up(ticket)
    redis.call('HDEL', KEYS[1], ticket)
    redis.call('ZREM', KEYS[2], ticket)
    redis.call('DEL', base .. 'alive:' .. ticket)
end
local function line_up(ticket, one)
    if redis.call('HSETNX', KEYS[1], ticket, cmsgpack.pack(one)) == 1 then
        redis.call('ZADD', KEYS[2], redis.call('INCR', base .. 'arrivals'), ticket)
    end
    redis.call('SET', base .. 'alive:' .. ticket, 1, 'PX', one.lease)
    redis.call('PEXPIRE', KEYS[1], 86400000)
    redis.call('PEXPIRE', KEYS[2], 86400000)
end
local function line()
    local found = {}
    for _, ticket in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
        local packed = redis.call('HGET', KEYS[1], ticket)
        if packed and redis.call('EXISTS', base .. 'alive:' .. ticket) == 1 then
            local one = cmsgpack.unpack(packed)
            one.ticket = ticket
            found[#found + 1] = one
        else
            call_up(ticket)
        end
    end
    return found
end
local function place_of(ticket)
    for place, one in ipairs(line()) do
        if one.ticket == ticket then return place end
    end
    return 0
end
local function serve()
    if redis.call('ZCARD', KEYS[2]) == 0 then return end
    local waiting, running = line(), {}
    for _, one in ipairs(waiting) do
        for _, key in ipairs(one.keys) do running[key] = running[key] or count(key) end
    end
    while true do
        local best
        for at, one in ipairs(waiting) do
            local able = true
            for of, key in ipairs(one.keys) do
                if one.most[of] > 0 and running[key] >= one.most[of] then able = false end
            end
            if able and (not best or running[one.keys[1]] < running[waiting[best].keys[1]]) then best = at end
        end
        if not best then return end
        local one = table.remove(waiting, best)
        call_up(one.ticket)
        hold(one.keys, one.ticket, one.lease)
        for _, key in ipairs(one.keys) do running[key] = running[key] + 1 end
    end
end
"""

# ARGV[2]: MessagePack of ticket, lease, line, line_of_owner, and of each limit: kind, most, window.
_ASK = Script(
    _BOOK
    + """
local ticket, lease, room, room_of_owner, limits = unpack(cmsgpack.unpack(ARGV[2]))
local mine = {keys = {}, most = {}, lease = lease}
for at, limit in ipairs(limits) do
    if limit[1] == 'running' then
        mine.keys[#mine.keys + 1] = KEYS[at + 2]
        mine.most[#mine.most + 1] = limit[2]
    end
end
local runs = #mine.keys > 0
if runs then
    if holds(mine.keys[1], ticket) then return {0, 0, 0} end
    local place = place_of(ticket)
    if place > 0 then return {place, 0, 0} end
    serve()
end
local function reached(limit, key)
    if limit[2] == 0 then return nil end
    if limit[1] == 'tokens' then return tonumber(redis.call('GET', key) or '0') >= limit[2] and 0 or nil end
    local had = count(key)
    if had < limit[2] then return nil end
    if limit[1] == 'running' then return 0 end
    if redis.call('ZSCORE', key, ticket) then return nil end
    return redis.call('ZRANGE', key, had - limit[2], had - limit[2], 'WITHSCORES')[2] - time
end
local place = 0
for _, kind in ipairs({'tokens', 'starts', 'running'}) do
    for at, limit in ipairs(limits) do
        local wait = limit[1] == kind and reached(limit, KEYS[at + 2])
        if wait and place == 0 then
            if kind ~= 'running' then return {-1, at - 1, wait} end
            local waiting, theirs = line(), 0
            for _, one in ipairs(waiting) do
                if one.keys[1] == mine.keys[1] then theirs = theirs + 1 end
            end
            if #waiting >= room or (room_of_owner > 0 and theirs >= room_of_owner) then return {-1, at - 1, wait} end
            place = #waiting + 1
        end
    end
end
if place > 0 then
    line_up(ticket, mine)
elseif runs then
    hold(mine.keys, ticket, lease)
end
for at, limit in ipairs(limits) do
    if limit[1] == 'starts' then
        redis.call('ZADD', KEYS[at + 2], time + limit[3], ticket)
        redis.call('PEXPIRE', KEYS[at + 2], limit[3])
    end
end
return {place, 0, 0}
"""
)

# ARGV[2]: MessagePack of lease, anew, of each who runs: ticket and its keys' places in KEYS; of each who waits: the same, and how
# many may run under each.
_KEEP = Script(
    _BOOK
    + """
local lease, anew, held, waiting = unpack(cmsgpack.unpack(ARGV[2]))
local function keys_at(places)
    local keys = {}
    for _, at in ipairs(places) do keys[#keys + 1] = KEYS[at] end
    return keys
end
local lost, places = {}, {}
for _, one in ipairs(held) do
    local keys = keys_at(one[2])
    if anew or holds(keys[1], one[1]) then
        hold(keys, one[1], lease)
    else
        lost[#lost + 1] = one[1]
    end
end
if #waiting > 0 then line() end
for _, one in ipairs(waiting) do
    local keys = keys_at(one[2])
    if not holds(keys[1], one[1]) then line_up(one[1], {keys = keys, most = one[3], lease = lease}) end
end
serve()
if #waiting > 0 then
    local order = {}
    for place, one in ipairs(line()) do order[one.ticket] = place end
    for _, one in ipairs(waiting) do places[#places + 1] = order[one[1]] or 0 end
end
return {lost, places}
"""
)

# ARGV[2]: MessagePack of ticket, tokens, how long those are kept, and the kind of each limit.
_LEAVE = Script(
    _BOOK
    + """
local ticket, tokens, kept, kinds = unpack(cmsgpack.unpack(ARGV[2]))
-- An answer that was lost is asked for again: what was used is counted once.
local is_first = tokens > 0 and redis.call('SET', base .. 'left:' .. ticket, 1, 'NX', 'PX', 60000)
call_up(ticket)
for at, kind in ipairs(kinds) do
    local key = KEYS[at + 2]
    if kind == 'running' then
        redis.call('ZREM', key, ticket)
    elseif kind == 'tokens' and is_first then
        redis.call('INCRBY', key, tokens)
        redis.call('PEXPIRE', key, kept)
    end
end
serve()
return 0
"""
)

# KEYS: a mark for each; ARGV: milliseconds
_MARK = Script("""
for _, key in ipairs(KEYS) do redis.call('SET', key, 1, 'PX', ARGV[1]) end
return 0
""")

_MARKED = Script("""
local found = {}
for at, key in ipairs(KEYS) do found[at] = redis.call('EXISTS', key) end
return found
""")

_pack = msgspec.msgpack.Encoder().encode


class RedisQuota:
    """A `Quota` with `Marks`.

    Args:
        store: the connections, of its own.
        lease: seconds for which a place is held without being renewed.
        prefix: what every key begins with.
    """

    def __init__(self, store: Store, *, lease: float = 10, prefix: str = "dazi") -> None:
        self._store = store
        self._base = f"{prefix}:{{quota}}:"
        self._lease = int(lease * 1000)

    async def ask(self, ask: Ask) -> Verdict:
        """Judge a start."""
        limits = [(limit.kind, limit.most, int(limit.window * 1000)) for limit in ask.limits]
        given = _pack((ask.ticket, self._lease, ask.line, ask.line_of_owner, limits))
        place, at, wait = await self._store.call(_ASK, self._keys(ask.limits), self._base, given)
        return Verdict(place) if place >= 0 else Verdict(place, at, wait / 1000)

    async def keep(self, held: Collection[Ask], waiting: Sequence[Ask], *, anew: bool = False) -> Kept:
        """Renew leases, and give what can be given."""
        some = list(held)
        lost: list[str] = []
        for start in range(0, len(some), _AT_ONCE):
            lost += (await self._keep(some[start : start + _AT_ONCE], (), anew=anew)).lost
        places = (await self._keep((), waiting, anew=False)).places if waiting else ()
        return Kept(tuple(lost), places)

    async def _keep(self, held: Sequence[Ask], waiting: Sequence[Ask], *, anew: bool) -> Kept:
        keys = self._keys({limit for ask in (*held, *waiting) for limit in ask.running})
        place = {key: at for at, key in enumerate(keys, 1)}

        def places(ask: Ask) -> list[int]:
            return [place[self._key(limit)] for limit in ask.running]

        given = _pack(
            (
                *(self._lease, anew, [(ask.ticket, places(ask)) for ask in held]),
                [(ask.ticket, places(ask), [limit.most for limit in ask.running]) for ask in waiting],
            )
        )
        lost, found = await self._store.call(_KEEP, keys, self._base, given)
        return Kept(tuple(one.decode() for one in lost), tuple(found))

    async def leave(self, ask: Ask, *, tokens: int = 0) -> None:
        """Give back a place, or stop waiting."""
        given = _pack((ask.ticket, tokens, SPENT_KEPT * 1000, [limit.kind for limit in ask.limits]))
        await self._store.call(_LEAVE, self._keys(ask.limits), self._base, given)

    async def mark(self, generations: Collection[str], *, seconds: float) -> None:
        """Remember for so many seconds that these are read."""
        await self._store.call(_MARK, [f"{self._base}read:{one}" for one in generations], int(seconds * 1000))

    async def marked(self, generations: Collection[str]) -> frozenset[str]:
        """Tell which of these are read."""
        asked = list(generations)
        found = await self._store.call(_MARKED, [f"{self._base}read:{one}" for one in asked])
        return frozenset(one for one, is_read in zip(asked, found, strict=True) if is_read)

    async def close(self) -> None:
        """Close every connection."""
        await self._store.close()

    def _keys(self, limits: Collection[Limit]) -> list[str]:
        return [f"{self._base}line", f"{self._base}order", *map(self._key, limits)]

    def _key(self, limit: Limit) -> str:
        return f"{self._base}{limit.kind}:{digest(limit.name)}"
