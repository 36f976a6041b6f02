"""The log of many machines: what `RedisLog` promises, and how its parts make it."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Self

from dazi.errors import Closed, LogError, Unavailable, Unknown
from dazi.events import Aborted, End, Failed, Piece
from dazi.log import START, Append, Cursor, Draft, Observer, Opened, Page, Record, Summary, at_end
from dazi.log.redis import answers, entries, scripts
from dazi.log.redis.appends import Appends, Writing
from dazi.log.redis.followers import Followers
from dazi.log.redis.places import SHARDS, Places, check, digest, is_id, placed, shard_of, shard_of_key
from dazi.log.redis.store import Argument, Notice, Reply, Store

_FIRST_EPOCH = 1
# Milliseconds, beyond the time of an ended one, for which a running log is kept although nobody renews its lease or sweeps: a week,
# so that even a long weekend without a single gateway loses nothing.
_SAFETY = 7 * 24 * 3600 * 1000
# Logs whose head is remembered here, so as not to ask again. Forgetting one costs one question.
_REMEMBERED = 10_000
# Looks that may fail until nobody is told of appends any more.
_LOOKS = 5
_PRODUCER_LOST = Failed("producer_lost", "The server that wrote this answer was stopped.", retryable=True)


Rows = Sequence[Sequence[bytes]]
# KEYS: gen.
_OWNER = scripts.Script("return redis.call('HGET', KEYS[1], 'owner')")
# KEYS: touched.
_TOUCH = scripts.Script("return redis.call('SET', KEYS[1], 1, 'PX', 1000)")


class RedisLog:
    """A `Log` in Redis 6.2 or newer: one server, one behind Sentinel, or a cluster. Has `Leases`, `Restores` and `Shelf`.

    Laws, beside those of `dazi.log`:

    - `create` may set the last digit of a draft's id (`places` says why): `Opened.generation` is the id;
    - stored before shown holds as far as Redis's `appendfsync` does: `always` loses nothing that it has confirmed.

    Args:
        store: the connections.
        ttl: seconds that a log is kept after its end.
        lease: seconds after which a writer that does not renew is taken for lost.
        prefix: what every key begins with.
        recheck: seconds between two looks for what no notice told of.
        max_bytes: of Redis's memory, as seen at the last sweep, beyond which new logs are refused; 0 for no limit.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl: float = 86_400,
        lease: float = 10,
        prefix: str = "dazi",
        recheck: float = 1,
        max_bytes: float = 0,
    ) -> None:
        self._store = store
        self._max_bytes = max_bytes
        # What Redis used at the last sweep.
        self._used = 0
        self._ttl = int(ttl * 1000)
        self._lease = lease
        self._places = Places(prefix)
        self._safety = _SAFETY + self._ttl
        self._followers = Followers(self, recheck=recheck, grace=lease)
        # Milliseconds for which appends to a log are told of after one has looked at it who follows it from here.
        self._heard = int(_LOOKS * recheck * 1000)
        self._appends = Appends(store, self._places)
        self._heads: OrderedDict[str, Cursor] = OrderedDict()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        ttl: float = 86_400,
        lease: float = 10,
        prefix: str = "dazi",
        recheck: float = 1,
        max_bytes: float = 0,
    ) -> Self:
        """Make a log of a URL; see `Store.from_url` for its forms. Connects when first used. Raises `ConfigError`."""
        return cls(Store.from_url(url), ttl=ttl, lease=lease, prefix=prefix, recheck=recheck, max_bytes=max_bytes)

    @property
    def lease(self) -> float:
        """Seconds for which a lease holds."""
        return self._lease

    async def open(self) -> None:
        """Do nothing: a gateway starts, and says that it is not ready, also while Redis is down."""

    async def close(self) -> None:
        """Stop listening, let what is under way finish, and close every connection."""
        await self._followers.close()
        await self._store.close()

    # The log

    async def create(self, draft: Draft) -> Opened:
        """Store `started` at position 1, or find the log that (owner, key) already stands for."""
        self._check_room()
        draft, shard = placed(draft)
        generation, started = draft.started.generation, draft.started
        keys = self._places.keys(shard, generation, "leases", "expiry", "shelf", owner=draft.owner)
        made, found, fingerprint, epoch = await self._store.call(
            scripts.CREATE,
            keys if draft.key is None else [*keys, self._places.index(draft.owner, draft.key)],
            *(generation, draft.owner, draft.fingerprint, entries.started_fields(started)[1], _FIRST_EPOCH),
            *(
                self._lease_ms,
                self._safety,
                started.model,
                started.created,
                digest(draft.owner),
                self._places.key(shard, ""),
            ),
        )
        if made:
            self._appends.begin(generation)
            self._remember(generation, Cursor(_FIRST_EPOCH, 1))
        return Opened(found.decode(), int(epoch), created=bool(made), fingerprint=fingerprint.decode())

    async def find(self, owner: str, key: str) -> Opened:
        """Find the log that (owner, key) stands for. Raises `Unknown`."""
        base = self._places.key(shard_of_key(owner, key), "")
        found = await self._store.call(scripts.FIND, [self._places.index(owner, key)], base)
        if not found:
            raise Unknown(key)
        return Opened(found[0].decode(), int(found[2]), created=False, fingerprint=found[1].decode())

    async def append(self, generation: str, pieces: tuple[Piece, ...], *, previous: int, epoch: int) -> None:
        """Store pieces after `previous`. Raises `Closed`, `OutOfOrder`, `Unknown`, `StoreUnavailable`."""
        (refused,) = await self.append_all([Append(generation, pieces, previous, epoch)])
        if refused is not None:
            raise refused

    async def append_all(self, appends: Sequence[Append]) -> Sequence[LogError | None]:
        """Store them with one script, or in a cluster one for each shard; tells how each was refused."""
        writings = [Writing(one) for one in appends]
        sent = [one for one in writings if one.append.pieces and one.refused is None]
        for one in sent:
            self._followers.writes(one.append.generation)
        try:
            await self._appends.store(sent)
        except BaseException:
            for one in sent:
                self._followers.wrote(one.append.generation, ())
            raise
        for one in sent:
            self._wrote(one)
        return [one.refused for one in writings]

    def _wrote(self, one: Writing) -> None:
        generation, epoch = one.append.generation, one.append.epoch
        if one.refused is None:
            self._remember(generation, Cursor(epoch, one.batch.last))
        self._followers.wrote(generation, one.batch.records(epoch) if one.refused is None else ())

    async def end(self, generation: str, end: End, *, after: Cursor | None = None) -> Record:
        """Store the terminal event, stamped with `n` and `crc32`. Raises `Closed`, `OutOfOrder`, `Unknown`."""
        check(generation)
        return await self._end(generation, end, after=after)

    async def _end(self, generation: str, end: End, *, after: Cursor | None = None, lost: bool = False) -> Record:
        value = entries.end_value(end)
        records: Sequence[Record] = ()
        self._followers.writes(generation)
        try:
            answer, *facts = await self._store.call(
                scripts.END,
                self._places.keys(shard_of(generation), generation, "news", "leases", "expiry"),
                *(generation, value, secrets.token_hex(8), self._ttl, int(lost), *(after or ())),
            )
            if answer != b"stored":
                raise answers.refusal(generation, answer, facts, got="-".join(map(str, after or ())))
            epoch, position, n, crc32 = map(int, facts)
            record = Record(epoch, position - 1, position, entries.stamped(value, n, crc32))
            records = (record,)
            self._remember(generation, Cursor(epoch, position))
            self._appends.end(generation)
            return record
        finally:
            self._followers.wrote(generation, records)

    async def read(self, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `Unknown`."""
        return await self._read(generation, after, heard=0)

    async def _read(self, generation: str, after: Cursor, *, heard: int) -> Page:
        check(generation)
        keys = self._places.keys(shard_of(generation), generation)
        reply = await self._store.call(scripts.READ, keys, after.epoch, after.position, heard)
        page = answers.page(generation, reply, after)
        self._remember(generation, page.head)
        return page

    async def owner(self, generation: str) -> str:
        """Tell whose it is. Raises `Unknown`."""
        check(generation)
        keys = self._places.keys(shard_of(generation), generation)
        whose: bytes | None = await self._store.call(_OWNER, keys[:1])
        if whose is None:
            raise Unknown(generation)
        return whose.decode()

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each record stored from now on; returns what ends that.

        From now on is: after what this process has last seen of the log, so a caller that has read it misses nothing.
        Raises `Unknown` where the id is none.
        """
        check(generation)
        return self._followers.observe(
            generation,
            observer,
            shard=shard_of(generation),
            since=self._heads.get(generation, START),
            ours=self._appends.writes(generation),
        )

    def observe_end(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with the terminal record, once it is stored; returns what ends that. Raises `Unknown`."""
        return self.observe(generation, at_end(observer))

    # Leases

    async def renew(self, held: Mapping[str, int]) -> frozenset[str]:
        """Prolong the leases of these generations; returns those that another has ended or taken over.

        One that has vanished from the store is not among them: its writer still has it, and can restore it.
        """
        asked = [(generation, epoch) for generation, epoch in held.items() if is_id(generation)]
        answers = await asyncio.gather(*(self._renew(generation, epoch) for generation, epoch in asked))
        lost = {generation for (generation, _), answer in zip(asked, answers, strict=True) if answer == b"lost"}
        return frozenset(lost | (held.keys() - {generation for generation, _ in asked}))

    async def _renew(self, generation: str, epoch: int) -> Reply:
        keys = self._places.keys(shard_of(generation), generation, "leases", "expiry")
        return await self._store.call(scripts.RENEW, keys, generation, epoch, self._lease_ms, self._safety)

    async def sweep(self) -> tuple[str, ...]:
        """End every log whose lease ran out, and forget what has expired; returns those that it ended."""
        if self._max_bytes:
            self._used = await self._store.used()
        due = await asyncio.gather(*(self._due(shard) for shard in range(SHARDS)))
        swept = await asyncio.gather(*(self._lose(generation) for some in due for generation in some))
        return tuple(generation for generation in swept if generation)

    async def touch(self) -> None:
        """Try whether Redis, or every master of a cluster, takes anything."""
        keys = [self._places.key(shard, "touched") for shard in range(SHARDS)]
        await asyncio.gather(*(self._store.call(_TOUCH, [key]) for key in keys))

    async def _due(self, shard: int) -> Sequence[str]:
        keys = [self._places.key(shard, name) for name in ("leases", "expiry", "shelf", "swept")]
        times = (self._ttl, self._safety - self._lease_ms, max(1, self._lease_ms // 2))
        due = await self._store.call(scripts.DUE, keys, self._places.key(shard, ""), *times)
        return [one.decode() for one in due]

    async def _lose(self, generation: str) -> str:
        try:
            await self._end(generation, _PRODUCER_LOST, lost=True)
        except (Closed, Unknown):
            return ""  # ended or renewed by somebody else meanwhile
        return generation

    # Restoring

    async def forgotten(self, stored: Mapping[str, int]) -> frozenset[str]:
        """Tell which of these logs are gone, or end before these positions, which were stored."""
        of_shard: defaultdict[int, list[str]] = defaultdict(list)
        for generation in filter(is_id, stored):
            of_shard[shard_of(generation)].append(generation)
        heads = await asyncio.gather(*(self.heads(shard, some) for shard, some in of_shard.items()))
        pairs = zip(chain(*of_shard.values()), chain(*heads), strict=True)
        return frozenset(generation for generation, head in pairs if head < stored[generation])

    async def restore(self, draft: Draft, pieces: tuple[Piece, ...], *, epoch: int) -> None:
        """Store again what is missing of `started` and these pieces, at positions 1, 2, …, under this epoch.

        The whole log is written anew: what still stands was written by the same writer, and stays as it is. Raises
        `Closed` where it has an end or was erased, `OutOfOrder` where another has taken over, or more of it stands.
        """
        draft, shard = placed(draft)
        generation = draft.started.generation
        keys = [
            *self._places.keys(shard, generation, "leases", "expiry", "shelf", owner=draft.owner),
            *(self._places.key(shard, name) for name in (f"gone:{generation}", "news")),
            *([] if draft.key is None else [self._places.index(draft.owner, draft.key)]),
        ]
        batch = entries.batch(pieces, 1)
        answer, *facts = await self._store.call(scripts.RESTORE, keys, *self._restored(draft, batch, epoch))
        if answer != b"stored":
            raise answers.refusal(generation, answer, facts, got=f"{epoch}-{batch.last}")
        self._appends.begin(generation, batch.crc32(0))
        self._remember(generation, Cursor(epoch, batch.last))

    def _restored(self, draft: Draft, batch: entries.Batch, epoch: int) -> Iterator[Argument]:
        started = draft.started
        proof = (batch.n or 0, batch.crc32(0), batch.retracted or 0)
        yield from (started.generation, draft.owner, epoch, batch.last, *proof, self._lease_ms, self._safety)
        yield from (started.model, started.created, digest(draft.owner), secrets.token_hex(8), draft.fingerprint)
        for position, fields in ((1, entries.started_fields(started)), *batch.entries()):
            yield f"{position}-0"
            yield len(fields)
            yield from fields

    # The shelf

    async def list(self, *, owner: str | None = None, limit: int = 100) -> tuple[Summary, ...]:
        """List the newest logs, of one owner or of all."""
        name = "shelf" if owner is None else f"owner:{digest(owner)}"
        rows = await asyncio.gather(*(self._rows(shard, name, limit) for shard in range(SHARDS)))
        newest = sorted((row for some in rows for row in some), key=lambda row: float(row[5]), reverse=True)
        return tuple(answers.summary(row) for row in newest[:limit])

    async def _rows(self, shard: int, name: str, limit: int) -> Rows:
        rows: Rows = await self._store.call(
            scripts.SHELF, [self._places.key(shard, name)], limit, self._places.key(shard, "")
        )
        return rows

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner; what runs is ended first. Returns how many logs that were."""
        name = f"owner:{digest(owner)}"
        everything = 2**31
        rows = await asyncio.gather(*(self._rows(shard, name, everything) for shard in range(SHARDS)))
        erased = await asyncio.gather(*(self._erase(row[6].decode(), owner) for some in rows for row in some))
        return sum(erased)

    async def _erase(self, generation: str, owner: str) -> int:
        with suppress(Closed, Unknown):
            await self._end(generation, Aborted())
        shard = shard_of(generation)
        keys = self._places.keys(shard, generation, "leases", "expiry", "shelf", owner=owner)
        gone = self._places.key(shard, f"gone:{generation}")
        erased = await self._store.call(scripts.ERASE, [*keys, gone], generation, digest(owner), self._safety, owner)
        return int(erased)

    # What the followers ask

    async def follow(self, generation: str, after: Cursor) -> Page:
        """Read what follows the cursor, and let appends of the next time be told of. Raises `Unknown`."""
        return await self._read(generation, after, heard=self._heard)

    async def heads(self, shard: int, generations: Sequence[str], *, followed: int = 0) -> Sequence[int]:
        """Tell the last position of each log of a shard, 0 where there is none; the first ones go on being told of."""
        keys = [self._places.key(shard, f"gen:{generation}") for generation in generations]
        return [int(head) for head in await self._store.call(scripts.HEADS, keys, self._heard, followed)]

    async def tail(self, shard: int) -> str:
        """Tell the id of the last notice of a shard."""
        last: bytes = await self._store.call(scripts.TAIL, [self._places.key(shard, "news")])
        return last.decode()

    async def notices(self, shard: int, after: str) -> tuple[str, Sequence[Notice]]:
        """Wait for notices of a shard after an id."""
        return await self._store.notices(self._places.key(shard, "news"), after)

    # Keys, and what is remembered

    @property
    def _lease_ms(self) -> int:
        return int(self._lease * 1000)

    def _check_room(self) -> None:
        if self._max_bytes and self._used >= self._max_bytes:
            raise Unavailable(
                f"Redis is full: {self._used} bytes, limit {self._max_bytes}.",
                remedy="Try again when some answers have expired, or raise the limit.",
                code="log_full",
                retry_after=60,
            )

    def _remember(self, generation: str, head: Cursor) -> None:
        self._heads[generation] = head
        self._heads.move_to_end(generation)
        if len(self._heads) > _REMEMBERED:
            self._heads.popitem(last=False)
