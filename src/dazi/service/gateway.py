"""The `Gateway`: start, read, wait, abort, close."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dazi.errors import Closed, ConfigError, Conflict, GenerationError, NotFound, Unavailable, Unknown
from dazi.events import Aborted, Answer, Done, End, Failed, Started
from dazi.log import START, Cursor, Draft, ImmediateLog, Observer, Opened, Page, Record
from dazi.service.views import fold
from dazi.service.writer import Writer
from dazi.upstream import Lifecycle, Prompt, Upstream

logger = logging.getLogger("dazi.service")

# Seconds of one wait for an end; only how often the waiting looks up from it.
_LONG_WAIT = 60.0
_LOST = Failed("producer_lost", "The server that wrote this answer was stopped.", retryable=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one generation, and all of this process together, may take.

    `characters`: text, reasoning and tool arguments of one generation. `seconds`: its length. `running`: generations
    at once.
    """

    characters: int = 4 * 1024 * 1024
    seconds: float = 3600
    running: int = 1000


@dataclass(slots=True)
class _Run:
    """A running generation: its task, what stops watching its log for an end by others, and how it ends if cancelled."""

    task: asyncio.Task[None]
    unwatch: Callable[[], None]
    end: End = _LOST

    def abort(self) -> None:
        """Let the task itself end the log as aborted."""
        self.end = Aborted()
        self.task.cancel()


class Gateway:
    """Starts generations and shows their logs; owns the tasks that run them.

    Args:
        log: where generations are kept.
        models: the upstream behind each model name, the default first.
        limits: see `Limits`.
    """

    def __init__(self, log: ImmediateLog, models: Mapping[str, Upstream], *, limits: Limits | None = None) -> None:
        if not models:
            raise ConfigError("A gateway needs at least one model. Give it one, for instance {'demo': DemoUpstream()}.")
        self._log = log
        self._models = dict(models)
        self._limits = limits or Limits()
        self._running: dict[str, _Run] = {}
        # How many read each generation now.
        self._readers: Counter[str] = Counter()
        self._farewells: list[Callable[[], None]] = []
        self._closing = False

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, the default first."""
        return tuple(self._models)

    @property
    def is_closing(self) -> bool:
        """Whether `close` has begun: new starts are refused."""
        return self._closing

    @property
    def running(self) -> int:
        """How many generations run now."""
        return len(self._running)

    async def open(self) -> None:
        """Make every upstream ready. Raises `ConfigError` if one cannot be."""
        for upstream in self._models.values():
            if isinstance(upstream, Lifecycle):
                await upstream.open()

    async def close(self, *, drain: float = 0) -> None:
        """Say goodbye: refuse new starts, let running generations finish for `drain` seconds, then end the rest.

        What is cut off ends `failed` with `producer_lost`. Idempotent; a second call with a shorter drain wins.
        """
        self._closing = True
        if drain and self._running:
            self._say_farewell()
            await asyncio.wait([run.task for run in self._running.values()], timeout=drain)
        # Before the farewell: a reader that hears the end need not come back, to find nobody here.
        for generation in tuple(self._running):
            with suppress(Closed):
                await self._log.end(generation, _LOST)
        self._say_farewell()
        await asyncio.gather(*(run.task for run in self._running.values()), return_exceptions=True)
        for upstream in self._models.values():
            if isinstance(upstream, Lifecycle):
                await upstream.close()

    def on_closing(self, farewell: Callable[[], None]) -> None:
        """Call `farewell` when `close` begins to wait, and when it has waited."""
        self._farewells.append(farewell)

    async def start(self, owner: str, prompt: Prompt, *, key: str | None = None, fingerprint: str = "") -> Opened:
        """Start a generation, or find the one that (owner, key) already stands for.

        Args:
            owner: whom it will belong to.
            prompt: what to answer.
            key: the idempotency key.
            fingerprint: of the request; another one under the same key is a `Conflict`.

        Raises `NotFound` (unknown model), `Conflict`, `Unavailable`.
        """
        if key is not None:
            with suppress(Unknown):
                return _same_request(await self._log.find(owner, key), fingerprint)
        upstream = self._upstream_of(prompt.model)
        self._check_room()
        started = Started(generation=secrets.token_hex(16), model=prompt.model, created=int(time.time()))
        opened = await self._log.create(Draft(owner, started, key=key, fingerprint=fingerprint))
        if not opened.created:
            return _same_request(opened, fingerprint)
        self._launch(opened, upstream, prompt)
        return opened

    async def read(self, owner: str, generation: str, after: Cursor = START) -> Page:
        """Read what follows the cursor, without waiting. Raises `NotFound`."""
        try:
            page = await self._log.read(generation, after)
        except Unknown:
            raise _not_found(generation) from None
        if page.owner != owner:
            raise _not_found(generation)
        return page

    async def wait(self, owner: str, generation: str, after: Cursor, *, seconds: float) -> Page:
        """Read what follows the cursor, waiting up to `seconds` for something to. Raises `NotFound`."""
        grown = asyncio.Event()
        await self.read(owner, generation)
        stop = self.observe(generation, lambda _: grown.set())
        try:
            page = await self.read(owner, generation, after)
            if not page.records and not page.ended and seconds > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(grown.wait(), seconds)
                page = await self.read(owner, generation, after)
            return page
        finally:
            stop()

    def observe(self, generation: str, observer: Observer) -> Callable[[], None]:
        """Call `observer` with each new record, as one more reader. Returns what ends that. Raises `NotFound`.

        For a generation that `read` has allowed.
        """
        try:
            stop = self._log.observe(generation, observer)
        except Unknown:
            raise _not_found(generation) from None
        self._readers[generation] += 1

        def leave() -> None:
            stop()
            self._readers[generation] -= 1
            if not self._readers[generation]:
                del self._readers[generation]

        return leave

    async def ended(self, owner: str, generation: str) -> None:
        """Wait until the generation has its terminal event. Raises `NotFound`."""
        after = START
        while not (page := await self.wait(owner, generation, after, seconds=_LONG_WAIT)).ended:
            after = page.head

    def abandon(self, generation: str, *, grace: float) -> None:
        """Abort the generation in `grace` seconds, unless it has ended or somebody reads it then."""
        if generation in self._running:
            asyncio.get_running_loop().call_later(grace, self._abort_unread, generation)

    def _abort_unread(self, generation: str) -> None:
        run = self._running.get(generation)
        if run is not None and not self._readers[generation]:
            run.abort()

    async def answer(self, owner: str, generation: str) -> tuple[Answer, Cursor]:
        """Fold the log: the answer as it stands, and how far that is. Raises `NotFound`."""
        page = await self.read(owner, generation)
        return fold(page.records), page.head

    async def abort(self, owner: str, generation: str) -> Record:
        """Stop a generation and its upstream; returns the terminal record that won. Raises `NotFound`."""
        await self.read(owner, generation)
        try:
            return await self._log.end(generation, Aborted())
        except Closed:
            page = await self.read(owner, generation)
            return page.records[-1]

    async def abort_key(self, owner: str, key: str) -> tuple[str, Record]:
        """Abort the generation that (owner, key) stands for; if none does yet, one that is aborted already will."""
        tombstone = Started(generation=secrets.token_hex(16), model="", created=int(time.time()))
        opened = await self._log.create(Draft(owner, tombstone, key=key))
        return opened.generation, await self.abort(owner, opened.generation)

    def _say_farewell(self) -> None:
        for farewell in self._farewells:
            farewell()

    def _upstream_of(self, model: str) -> Upstream:
        try:
            return self._models[model]
        except KeyError:
            raise NotFound(
                f"There is no model {model!r} here.",
                remedy=f"Use one of: {', '.join(self._models)}.",
                code="unknown_model",
                param="model",
            ) from None

    def _check_room(self) -> None:
        if self._closing:
            raise Unavailable(
                "The server is shutting down.", remedy="Try again in a moment.", code="shutting_down", retry_after=2
            )
        if len(self._running) >= self._limits.running:
            raise Unavailable(
                f"{len(self._running)} generations are running, which is the limit.",
                remedy="Try again when some have ended.",
                code="too_many_generations",
                retry_after=2,
            )

    def _launch(self, opened: Opened, upstream: Upstream, prompt: Prompt) -> None:
        """Run the generation in a task of its own, and cancel that when somebody else ends the log."""
        generation = opened.generation
        task = asyncio.create_task(self._run(opened, upstream, prompt), name=f"dazi generation {generation}")

        def watch(record: Record) -> None:
            if record.event.ends:
                task.cancel()

        # Watched from here, not from inside the task: an abort may come before the task's first step.
        run = self._running[generation] = _Run(task, self._log.observe(generation, watch))

        def forget(_: asyncio.Task[None]) -> None:
            run.unwatch()
            del self._running[generation]

        task.add_done_callback(forget)

    async def _run(self, opened: Opened, upstream: Upstream, prompt: Prompt) -> None:
        """Run one generation to its terminal event."""
        generation = opened.generation
        writer = Writer(self._log, generation, opened.epoch, limit=self._limits.characters)
        run = self._running[generation]
        try:
            run.end = await self._answer(upstream, prompt, writer)
        finally:
            # Cancelled by anybody but the log's own end, the loop's shutdown say, the end is still told.
            run.unwatch()
            with suppress(Closed):
                await self._log.end(generation, run.end)

    async def _answer(self, upstream: Upstream, prompt: Prompt, writer: Writer) -> End:
        deadline = asyncio.timeout(self._limits.seconds)
        try:
            async with deadline:
                finish = await upstream.generate(prompt, writer)
            writer.flush()
        except GenerationError as error:
            return Failed(error.code, error.message, retryable=error.retryable)
        except Closed:
            # Somebody ended the log before the cancellation that follows came through; this end is too late, too.
            return _LOST
        except Exception as error:  # noqa: BLE001  # a custom upstream may raise anything; its generation must still end
            if deadline.expired():
                return Failed(
                    "time_limit", f"The answer took longer than {self._limits.seconds:g} seconds.", retryable=False
                )
            _report(error)
            return Failed("internal", "The upstream failed in a way the gateway does not know.", retryable=True)
        return Done(finish.reason, usage=finish.usage)


def _same_request(opened: Opened, fingerprint: str) -> Opened:
    # A tombstone (an abort that overtook its start) has no fingerprint and stands for any request.
    if opened.fingerprint not in ("", fingerprint):
        raise Conflict(
            "This Idempotency-Key was used for another request.",
            remedy="Use a fresh key for each question, and the same body when you send one again.",
            param="Idempotency-Key",
        )
    return opened


def _not_found(generation: str) -> NotFound:
    return NotFound(
        f"There is no generation {generation!r}.",
        remedy="It may have expired; start a new one.",
    )


def _report(error: Exception) -> None:
    # Where it happened and what kind it was, never its message: that may quote the prompt or the answer.
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("An upstream raised %s\n%s", type(error).__name__, place)
