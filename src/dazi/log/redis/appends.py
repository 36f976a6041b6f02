"""Appends on their way to Redis: those that come together go with one script, so that hardly more than their text is paid for.

Laws: every append counts for itself, and is refused for itself; sent again after a lost answer it changes nothing; all of a script's
keys have one hash tag where Redis is a cluster, and its first keys tell whose.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from dazi.errors import LogError, StoreUnavailable, Unknown
from dazi.log import Append
from dazi.log.redis import answers, entries, scripts
from dazi.log.redis.places import Places, shard_of
from dazi.log.redis.store import Reply, Store

# Appends that one script does: it takes a millisecond or two, for which Redis serves nobody else.
_TOGETHER = 128
# Logs whose proof is remembered here, so as not to ask again. Forgetting one costs one question.
_REMEMBERED = 10_000


class Writing:
    """One append, as it will lie in Redis, and what came of it: `refused`, or None once it is stored."""

    __slots__ = ("append", "batch", "refused", "shard")

    def __init__(self, append: Append) -> None:
        self.append = append
        self.refused: LogError | None = None
        try:
            self.shard = shard_of(append.generation)
        except Unknown as error:
            self.refused = error
        else:
            self.batch = entries.batch(append.pieces, append.previous)


class Appends:
    """What this process appends, and the CRC-32 of each answer that it writes, as it was stored last."""

    def __init__(self, store: Store, places: Places) -> None:
        self._store = store
        self._places = places
        # A wrong one is refused, and costs one more question.
        self._crc32: OrderedDict[str, int] = OrderedDict()

    def begin(self, generation: str, crc32: int = 0) -> None:
        """Know that this process writes a log, whose answer has this CRC-32."""
        self._crc32[generation] = crc32
        if len(self._crc32) > _REMEMBERED:
            self._crc32.popitem(last=False)

    def end(self, generation: str) -> None:
        """Know that nothing more is appended to it."""
        self._crc32.pop(generation, None)

    def writes(self, generation: str) -> bool:
        """Whether this process writes that log."""
        return generation in self._crc32

    async def store(self, writings: Sequence[Writing]) -> None:
        """Store them, or tell each of them why it could not be."""
        groups: defaultdict[int, list[Writing]] = defaultdict(list)
        for one in writings:
            groups[one.shard if self._store.is_cluster else 0].append(one)
        some = [group[at : at + _TOGETHER] for group in groups.values() for at in range(0, len(group), _TOGETHER)]
        await asyncio.gather(*map(self._store_group, some))

    async def _store_group(self, group: Sequence[Writing]) -> None:
        while group:
            token = secrets.token_hex(8)
            shards = {one.shard: at for at, one in enumerate({one.shard: one for one in group}.values(), 1)}
            after = [one.batch.crc32(self._crc32.get(one.append.generation, 0)) for one in group]
            given = [token, *(self._packed(one, shards[one.shard], crc) for one, crc in zip(group, after, strict=True))]
            news = [self._places.key(shard, "news") for shard in shards]
            try:
                reply: Reply = await self._store.call(scripts.APPEND, news, entries.packed(given))
            except StoreUnavailable as error:
                for one in group:
                    one.refused = error
                return
            refused = {int(place): (answer, facts) for place, answer, *facts in reply}
            for at, (one, crc) in enumerate(zip(group, after, strict=True)):
                if at not in refused and one.batch.n is not None:
                    self.begin(one.append.generation, crc)
            group = [group[at] for at, (answer, facts) in refused.items() if self._is_wrong(group[at], answer, facts)]

    def _packed(self, one: Writing, news: int, crc32: int) -> Sequence[object]:
        append, batch = one.append, one.batch
        before = "" if batch.n is None or batch.retracted else str(self._crc32.get(append.generation, 0))
        proof = ("", "") if batch.n is None else (str(crc32), str(batch.n))
        place = (news, append.generation, str(append.previous), str(batch.last), str(append.epoch))
        return (*place, before, *proof, str(batch.retracted or ""), *batch.raw())

    def _is_wrong(self, one: Writing, answer: bytes, facts: Sequence[bytes]) -> bool:
        """Whether only the CRC-32 was wrong, which is right now; otherwise it is refused."""
        append = one.append
        if answer == b"crc":
            self.begin(append.generation, int(facts[0]))
            return True
        one.refused = answers.refusal(append.generation, answer, facts, got=f"{append.epoch}-{append.previous}")
        return False
