"""The `Gateway`: start, read, wait, abort, close."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from dazi.errors import Closed, ConfigError, StoreUnavailable, TooMany, Unknown
from dazi.events import Aborted, Answer, Started
from dazi.log import (
    START,
    Cursor,
    Draft,
    Log,
    Observer,
    Opened,
    Page,
    Record,
    Restores,
    Shelf,
    Summary,
)
from dazi.quota import Marks
from dazi.service import refusals
from dazi.service.attention import Attention
from dazi.service.batch import batches_of
from dazi.service.budget import Budget
from dazi.service.keeper import Keeper
from dazi.service.owners import Owners
from dazi.service.runner import LOST, Limits, Runner
from dazi.service.telemetry import SILENT, Presence, Telemetry
from dazi.service.turns import Turn, Turns
from dazi.service.views import fold
from dazi.upstream import NOBODY, Asker, Lifecycle, Prompt, Upstream

# Seconds that cancelled upstreams get to let go of what they hold; one that swallows its cancellation is left behind.
_RELEASE = 5.0
# Seconds of one wait for an end; only how often the waiting looks up from it.
_LONG_WAIT = 60.0


class Gateway:
    """Starts generations and shows their logs; owns the tasks that run them.

    Args:
        log: where generations are kept; opened and closed with the gateway, if it can be.
        models: the upstream behind each model name, the default first.
        limits: see `Limits`.
        telemetry: who is told what runs here.
        turns: who may start when; by default everybody at once.
        marks: where the nodes that share a log tell each other of readers.
    """

    def __init__(
        self,
        log: Log,
        models: Mapping[str, Upstream],
        *,
        limits: Limits | None = None,
        telemetry: Telemetry = SILENT,
        turns: Turns | None = None,
        marks: Marks | None = None,
    ) -> None:
        if not models:
            raise ConfigError("A gateway needs at least one model. Give it one, for instance {'demo': DemoUpstream()}.")
        self._log = log
        self._models = dict(models)
        self._owners = Owners(log)
        self._limits = limits = limits or Limits()
        self._telemetry = telemetry
        self._turns = turns or Turns()
        self._running: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._keeper = Keeper(log, self._running)
        self._batches = batches_of(log, self._keeper.doubt, telemetry, window=limits.window, patience=limits.patience)
        self._budget = Budget(per_owner=self._limits.owner_characters, total=self._limits.total_characters)
        # One for each log that is being made now: a generation that will run in a moment.
        self._starts: set[asyncio.Future[None]] = set()
        self._attention = Attention(self._running, marks, unread=self._limits.unread, has_line=self._turns.has_line)
        self._farewells: list[Callable[[], None]] = []
        self._is_open = False
        self._closing = False
        # Set while a goodbye waits for what runs: what was let in before it may begin to run still.
        self._is_draining = False
        # Set with the last farewell: whoever comes or waits now is asked to go elsewhere.
        self._has_parted = False
        self._waiting: set[asyncio.Event] = set()  # for something to be said

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, the default first."""
        return tuple(self._models)

    @property
    def is_open(self) -> bool:
        """Whether `open` has run to its end."""
        return self._is_open

    @property
    def is_closing(self) -> bool:
        """Whether `close` has begun: new starts are refused."""
        return self._closing

    @property
    def has_parted(self) -> bool:
        """Whether the last farewell was said: nothing that is heard here grows any more."""
        return self._has_parted

    @property
    def running(self) -> int:
        """How many generations run now."""
        return len(self._running)

    def present(self) -> list[Presence]:
        """Tell what runs here now."""
        return [
            Presence(runner.beginning, runner.position - 1, self._attention.readers(generation))
            for generation, runner in self._running.items()
        ]

    async def open(self) -> None:
        """Make the log and every upstream ready. Raises `ConfigError` if one cannot be."""
        for part in (self._log, *self._models.values()):
            if isinstance(part, Lifecycle):
                await part.open()
        self._keeper.open()
        self._attention.open()
        self._is_open = True

    async def close(self, *, drain: float = 0) -> None:
        """Say goodbye: refuse new starts, let running generations finish for `drain` seconds, then end the rest.

        What is cut off ends `failed` with `producer_lost`. Idempotent; a second call with a shorter drain wins.
        """
        self._closing = True
        self._is_draining = drain > 0
        if self._is_draining and self._to_drain():
            self._say_farewell()
            await self._drain(drain)
        self._is_draining = False
        # Before the farewell: a reader that hears the end need not come back, to find nobody here.
        await asyncio.gather(*map(self._end_lost, tuple(self._running)))
        self._has_parted = True
        self._say_farewell()
        for grown in self._waiting:
            grown.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_RELEASE)
        await self._keeper.close()
        await self._attention.close()
        await self._turns.close()
        for part in (*self._models.values(), self._log):
            if isinstance(part, Lifecycle):
                await part.close()

    async def _drain(self, seconds: float) -> None:
        """Wait until nothing runs, nor is about to, or another goodbye has no patience."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._is_draining and (waited := self._to_drain()) and (left := until - loop.time()) > 0:
            await asyncio.wait(waited, timeout=left)

    def _to_drain(self) -> Sequence[asyncio.Future[None]]:
        return (*self._starts, *self._tasks.values())

    async def check(self) -> None:
        """Raise `Unavailable`, with the reason, if a start would be refused now for want of a store or a future."""
        self._check_future()
        self._keeper.check()
        with refusals.told(), suppress(Unknown):
            await self._log.find("", "")

    @property
    def undurable(self) -> str:
        """Why new generations are kept in memory alone, where the operator chose that; "" where they are not."""
        return self._keeper.undurable

    def is_out_of_reach(self, generation: str) -> bool:
        """Whether what has not ended will not be heard of here: the store has been in trouble for longer than patience."""
        return generation not in self._running and self._keeper.troubled > self._limits.patience

    def check_reach(self, generation: str, page: Page) -> None:
        """Raise `Unavailable` where a page has nothing new, and nothing more will be heard here."""
        if not page.records and not page.ended and self.is_out_of_reach(generation):
            raise refusals.store_unavailable(self._keeper.trouble)

    def on_closing(self, farewell: Callable[[], None]) -> None:
        """Call `farewell` when `close` begins to wait, and when it has waited."""
        self._farewells.append(farewell)

    async def start(self, owner: str, prompt: Prompt, *, key: str | None = None, fingerprint: str = "") -> Opened:
        """Start a generation, or find the one that (owner, key) already stands for.

        Raises `NotFound` (unknown model), `Conflict` (`fingerprint`, the request's, is another than under this key), `TooMany`,
        `Unavailable`.
        """
        if key is not None:
            with suppress(Unknown):
                return refusals.same_request(await self._find(owner, key), fingerprint)
        if prompt.model not in self._models:
            raise refusals.unknown_model(prompt.model, self._models)
        self._check_room()
        self._budget.check(owner)
        try:
            turn = await self._turns.enter(owner, prompt.asker)
        except TooMany:
            # Sent twice at almost the same time, it may be what holds the place itself.
            if key is not None:
                with suppress(Unknown):
                    return refusals.same_request(await self._find(owner, key), fingerprint)
            raise
        with turn:
            self._check_future()
            return await self._begin(Draft(owner, _started(prompt.model), key, fingerprint), prompt, turn)

    async def _begin(self, draft: Draft, prompt: Prompt, turn: Turn) -> Opened:
        opened = await self._create(draft)
        if not opened.created:
            return refusals.same_request(opened, draft.fingerprint)
        if self._closing and not self._is_draining:  # the goodbye came meanwhile, and has not waited
            await self._end_lost(opened.generation)
            raise refusals.shutting_down()
        runner = Runner(self._log, draft, opened, limits=self._limits, budget=self._budget, batches=self._batches)
        self._launch(runner, prompt, turn)
        return opened

    async def read(self, owner: str, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `NotFound`."""
        with refusals.told():
            page = await self._read(owner, generation, after)
        if page.owner != owner:
            raise refusals.not_found(generation)
        if not page.ended:
            self._attention.saw(generation)
        return page

    async def _read(self, owner: str, generation: str, after: Cursor) -> Page:
        try:
            await self._owners.check(generation, owner)
            return await self._log.read(generation, after)
        except Unknown:
            runner = self._running.get(generation)
            if runner is None or runner.draft.owner != owner or not isinstance(self._log, Restores):
                raise
            # It is not gone: its runner has all of it, and puts it back.
            runner.restore()
            raise StoreUnavailable("The store has lost this answer; it is being put back.") from None

    async def wait(self, owner: str, generation: str, after: Cursor, *, seconds: float) -> Page:
        """Read what follows the cursor, waiting up to `seconds`, or to the farewell, for something to. Raises `NotFound`, `Unavailable`."""
        grown = asyncio.Event()
        await self.read(owner, generation)
        stop = self.observe(generation, lambda _: grown.set())
        self._waiting.add(grown)
        try:
            page = await self.read(owner, generation, after)
            if not page.records and not page.ended and seconds > 0 and not self._has_parted:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await grown.wait()
                page = await self.read(owner, generation, after)
            self.check_reach(generation, page)
            return page
        finally:
            self._waiting.discard(grown)
            stop()

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each new record, as one more reader. Returns what ends that. Raises `NotFound`.

        For a generation that `read` has allowed.
        """
        with refusals.told():
            stop = self._log.observe(generation, observer)
        return self._attention.came(generation, stop)

    async def ended(self, owner: str, generation: str) -> None:
        """Wait until the generation has its terminal event. Raises `NotFound`, `Unavailable` (it will not be heard here)."""
        after = START
        while not (page := await self.wait(owner, generation, after, seconds=_LONG_WAIT)).ended:
            if self._has_parted:
                raise refusals.shutting_down()
            after = page.head

    def abandon(self, generation: str, *, grace: float) -> None:
        """Abort the generation in `grace` seconds, unless it has ended or somebody reads it then."""
        self._attention.abandon(generation, grace=grace)

    async def answer(self, owner: str, generation: str) -> tuple[Answer, Cursor]:
        """Fold the log: the answer as it stands, and how far that is. Raises `NotFound`."""
        page = await self.read(owner, generation)
        return fold(page.records), page.head

    async def abort(self, owner: str, generation: str) -> Record:
        """Stop a generation and its upstream; returns the terminal record that won. Raises `NotFound`."""
        await self.read(owner, generation)
        try:
            with refusals.told():
                return await self._log.end(generation, Aborted())
        except Closed:
            return (await self.read(owner, generation)).records[-1]

    async def abort_anyones(self, generation: str) -> Record:
        """Stop a generation whoever owns it: for operators. Raises `NotFound`."""
        with refusals.told():
            page = await self._log.read(generation)
        return await self.abort(page.owner, generation)

    async def anyones_answer(self, generation: str) -> Answer:
        """Fold a log whoever owns it: for operators. Raises `NotFound`."""
        with refusals.told():
            return fold((await self._log.read(generation)).records)

    async def recent(self, limit: int) -> Sequence[Summary]:
        """List the newest generations of all processes, without what was said; nothing where the log cannot."""
        if not isinstance(self._log, Shelf):
            return ()
        with refusals.told():
            return await self._log.list(limit=limit)

    async def abort_key(self, owner: str, key: str, asker: Asker = NOBODY) -> tuple[str, Record]:
        """Abort the generation that (owner, key) stands for; if none does yet, one that is aborted already will."""
        try:
            opened = await self._find(owner, key)
        except Unknown:
            with await self._turns.enter(owner, asker):  # it counts: its log is kept as long as any
                opened = await self._create(Draft(owner, _started(""), key=key))
        return opened.generation, await self.abort(owner, opened.generation)

    async def erase(self, owner: str) -> int:
        """Forget everything of an owner; what runs is aborted first. Returns how many generations that were."""
        if not isinstance(self._log, Shelf):
            raise refusals.cannot_erase()
        with refusals.told():
            return await self._log.erase(owner)

    async def _find(self, owner: str, key: str) -> Opened:
        """Find what (owner, key) stands for, also while the store has forgotten it. Raises `Unknown`."""
        try:
            return await self._log.find(owner, key)
        except StoreUnavailable as error:
            raise refusals.store_unavailable(str(error)) from None
        except Unknown:
            for runner in self._running.values() if isinstance(self._log, Restores) else ():
                if (runner.draft.owner, runner.draft.key) == (owner, key):
                    return Opened(runner.generation, runner.epoch, created=False, fingerprint=runner.draft.fingerprint)
            raise

    async def _create(self, draft: Draft) -> Opened:
        self._starts.add(made := asyncio.get_running_loop().create_future())
        try:
            with refusals.told(self._keeper.doubt):
                opened = await self._log.create(draft)
            self._owners.remember(opened.generation, draft.owner)
            return opened
        finally:
            self._starts.discard(made)
            made.set_result(None)

    async def _end_lost(self, generation: str) -> None:
        try:
            await self._log.end(generation, LOST)
        except Closed:
            pass
        except (Unknown, StoreUnavailable):  # its runner will hear of no end
            if runner := self._running.get(generation):
                runner.yield_to_others()

    def _say_farewell(self) -> None:
        for farewell in self._farewells:
            farewell()

    def _check_future(self) -> None:
        if self._closing:
            raise refusals.shutting_down()

    def _check_room(self) -> None:
        self._check_future()
        if (running := len(self._running) + len(self._starts)) >= self._limits.running:
            raise refusals.too_many(running)

    def _launch(self, runner: Runner, prompt: Prompt, turn: Turn) -> None:
        generation = runner.generation
        self._running[generation] = runner
        self._tasks[generation] = task = runner.start(self._models[prompt.model], prompt, turn)
        self._telemetry.began(runner.beginning)

        def forget(_: asyncio.Task[None]) -> None:
            del self._running[generation], self._tasks[generation]
            self._attention.forget(generation)
            self._telemetry.ended(runner.story())

        task.add_done_callback(forget)


def _started(model: str) -> Started:
    return Started(generation=secrets.token_hex(16), model=model, created=int(time.time()))
