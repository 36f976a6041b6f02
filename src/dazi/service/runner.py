"""A running generation: asks its upstream, writes its log, and ends that.

Laws: whatever happens, the log gets one terminal event, unless another has ended it or taken it over: then the runner stops
at once, and tells nothing of its own. Its upstream is cancelled before it stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dazi.errors import Closed, DaziError, GenerationError, LogError, OutOfOrder, Refused, StoreUnavailable, Unknown
from dazi.events import Aborted, Done, End, Failed, Usage, status_of
from dazi.log import AppendsNow, Cursor, Draft, Log, Opened, Record
from dazi.service.batch import Batch, Batches
from dazi.service.budget import Budget, Share, estimate
from dazi.service.telemetry import Beginning, Story
from dazi.service.turns import Turn
from dazi.service.writer import Writer, valid
from dazi.upstream import Prompt, Upstream

logger = logging.getLogger("dazi.service")

LOST = Failed("producer_lost", "The server that wrote this answer was stopped.", retryable=True)
# Tokens of one answer that are believed: a thousand times what any model can say.
_MOST_TOKENS = 10**9
_PACKAGE = Path(__file__).parent.parent
ABANDONED = Failed("abandoned", "Nobody read this answer for a while, so it was stopped.", retryable=True)
_STORE_LOST = Failed("store_lost", "The answer could not be stored any more.", retryable=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one generation, and all of this process together, may take.

    `characters`: text, reasoning and tool arguments of one generation; `owner_characters` of all that run for one owner (0: no
    limit of their own), `total_characters` of all that run. `seconds`: its length, from its turn on. `tokens`: that it may say, as
    they are estimated (0: no limit). `running`: generations at once. `unread`: seconds after which one that nobody reads is stopped (None:
    it is kept). `window`: seconds for which pieces are gathered where storing takes time. `patience`: seconds for which
    a store that cannot be reached is tried until the generation is given up.
    """

    characters: int = 4 * 1024 * 1024
    owner_characters: int = 0
    total_characters: int = 256 * 1024 * 1024
    seconds: float = 3600
    tokens: int = 0
    unread: float | None = None
    running: int = 10_000
    window: float = 0.01
    patience: float = 30


class Runner:
    """One running generation; to be made in the turn of the loop in which its log was.

    Args:
        log: where it is kept.
        draft: what its log was made of.
        opened: its log, and the lease to write it.
        limits: see `Limits`.
        budget: of this process.
        batches: of this process; None where the log is one that appends at once (`AppendsNow`).
    """

    def __init__(
        self, log: Log, draft: Draft, opened: Opened, *, limits: Limits, budget: Budget, batches: Batches | None
    ) -> None:
        self.epoch = opened.epoch
        self.generation = opened.generation
        self.draft = draft
        self._log = log
        self._limits = limits
        self._batch = None if batches is None else Batch(batches, draft, opened, self._refused)
        self._share = Share(budget, draft.owner, limit=limits.characters, tokens=limits.tokens)
        self._writer = Writer(self._sink(), opened.generation, opened.epoch, share=self._share)
        self._unwatch: Callable[[], None] = lambda: None
        # For lines of the log.
        self._named = {"generation": self.generation}
        self._beginning = Beginning(self.generation, draft.owner, draft.started.model, time.monotonic())
        # The terminal event, once it is stored, whoever wrote it.
        self._last: Record | None = None
        # How the log ends if the task is cancelled; None once that is not for this runner to say.
        self._end: End | None = LOST
        # Set once the log refused a piece or has ended: nothing that the upstream returns then decides the end.
        self._is_refused = False
        # Set once the end is being told: a cancellation would only cut that short.
        self._is_ending = False

    def start(self, upstream: Upstream, prompt: Prompt, turn: Turn) -> asyncio.Task[None]:
        """Run in a task of its own, once its turn comes, which is given back; cancelled when somebody else ends the log."""
        turn.is_taken = True
        self._turn = turn
        self._asked = _length(prompt) if turn.counts_tokens else 0
        self._task = asyncio.create_task(self._run(upstream, prompt), name=f"dazi generation {self.generation}")
        # Watched from here, not from inside the task: an abort may come before the task's first step.
        self._unwatch = self._log.observe_end(self.generation, self._hear_end)
        return self._task

    @property
    def beginning(self) -> Beginning:
        """Whose it is, and since when it runs."""
        return self._beginning

    @property
    def position(self) -> int:
        """The last position written, at least."""
        return self._writer.position

    @property
    def is_waiting(self) -> bool:
        """Whether its turn has not come yet."""
        return self._turn.place > 0

    def story(self) -> Story:
        """Tell how it went, once it is over."""
        end = self._last.event if self._last is not None else None
        began, first = self._beginning.began, self._writer.first
        return Story(
            beginning=self._beginning,
            status=status_of(end) if isinstance(end, End) else "lost",
            code=_code_of(end),
            seconds=time.monotonic() - began,
            first_token=None if first is None else first - began,
            pieces=self._writer.pieces,
            characters=self._writer.n,
            usage=getattr(end, "usage", None),
        )

    def abort(self, end: End | None = None) -> None:
        """Let the task itself end the log, as aborted unless another end is given."""
        self._end = end or Aborted()
        self._task.cancel()

    @property
    def stored(self) -> int:
        """The last position that the log has confirmed, where that takes time; 0 elsewhere."""
        return 0 if self._batch is None else self._batch.stored

    def restore(self) -> None:
        """Store again what the store has forgotten."""
        if self._batch is not None and not self._is_ending:
            self._batch.restore()

    def yield_to_others(self) -> None:
        """Stop without a word: the log has ended, or another has taken it over."""
        self._stop(None)

    def _stop(self, end: End | None) -> None:
        self._end = end
        self._is_refused = True
        self._leave()
        if self._batch is not None:
            self._batch.close()
        if not self._is_ending:
            self._task.cancel()

    def _sink(self) -> AppendsNow:
        # Without batches it is one that appends at once; to ask it each time would cost as much as two tokens.
        return cast("AppendsNow", self._log) if self._batch is None else self._batch

    def _hear_end(self, record: Record) -> None:
        self._last = record
        self.yield_to_others()

    def _refused(self, error: LogError) -> None:
        """Hear from the batch that nothing more can be stored."""
        self._stop(_STORE_LOST if isinstance(error, StoreUnavailable) else None)

    async def _run(self, upstream: Upstream, prompt: Prompt) -> None:
        try:
            if self._batch is not None and await self._has_ended():
                self._end = None
                return
            end = await self._answer(upstream, prompt)
            if not self._is_refused:
                self._end = end
        finally:
            # Cancelled by anybody but the log's own end, the loop's shutdown say, the end is still told.
            self._unwatch()
            self._unwatch = lambda: None  # which held this runner, as this runner held it
            self._is_ending = True
            self._leave()
            try:
                if self._turn.is_counted:
                    # First: who hears the end may ask again at once.
                    await self._turn.left()
                await self._tell_end()
            finally:
                self._share.release()

    async def _has_ended(self) -> bool:
        """Whether another node ended the log after it was made, and before this one observed it."""
        try:
            return (await self._log.read(self.generation, Cursor(self.epoch, 1))).ended
        except Unknown:
            return True
        except StoreUnavailable:
            return False

    def _leave(self) -> None:
        """Give its turn back, and tell what it has used; nothing where it never came."""
        if self._turn.is_counted:
            self._turn.leave(tokens=0 if self._turn.place else self._tokens())

    def _tokens(self) -> int:
        """Tell how many tokens were used, as the upstream counted or else as they can be guessed."""
        usage: Usage | None = getattr(self._end, "usage", None)
        if usage is not None:
            return usage.total_tokens or usage.prompt_tokens + usage.completion_tokens
        return estimate(0, self._asked) + estimate(self._writer.pieces, self._writer.characters)

    async def _answer(self, upstream: Upstream, prompt: Prompt) -> End | None:
        deadline = asyncio.timeout(self._limits.seconds)
        try:
            if self._turn.place and not await self._turn_comes():
                sentence = f"The answer waited {self._turn.patience:g} seconds for its turn, in vain."
                return Failed("queue_timeout", sentence, retryable=True)
            async with deadline:
                finish = await upstream.generate(prompt, self._writer)
            self._writer.flush()
        except GenerationError as error:
            failed = Failed(valid(error.code), valid(error.message), retryable=error.retryable)
            if isinstance(error, Refused):
                logger.info("The content check ended an answer: %s", failed.code, extra=self._named)
            else:
                logger.warning("%r failed with %s%s", upstream, failed.code, _sentence(error), extra=self._named)
            return failed
        except LogError:
            # Refused before the cancellation that follows came through: who ends this log, if anybody, is known already.
            return self._end
        except Exception as error:  # noqa: BLE001  # a custom upstream may raise anything; its generation must still end
            if deadline.expired():
                return Failed(
                    "time_limit", f"The answer took longer than {self._limits.seconds:g} seconds.", retryable=False
                )
            _report(error, self._named)
            return Failed("internal", "The upstream failed in a way the gateway does not know.", retryable=True)
        return Done(valid(finish.reason), usage=_sane(finish.usage))

    async def _turn_comes(self) -> bool:
        """Wait for its turn, telling its place meanwhile, as long as one may wait."""
        turn = self._turn
        try:
            async with asyncio.timeout(turn.patience):
                self._writer.queued(turn.place)
                while await turn.moved():
                    self._writer.queued(turn.place)
        except TimeoutError:
            return False
        self._writer.queued(0)
        return True

    async def _tell_end(self) -> None:
        """End the log, after everything that was said, unless another has."""
        if self._batch is not None and self._end is not None:
            with suppress(LogError):
                await self._batch.drain()
            self._batch.close()
        if (end := self._end) is None:
            return
        try:
            self._last = await (self._log.end(self.generation, end) if self._batch is None else self._batch.end(end))
        except (Closed, Unknown):
            pass
        except (OutOfOrder, StoreUnavailable) as error:
            # Its lease runs out, and whoever sweeps the store next ends it.
            logger.warning("Generation %s ended without a word in its log: %s", self.generation, error)


def _sane(usage: Usage | None) -> Usage | None:
    """Return what a server counted, as numbers that can be: everybody who counts on counts them."""
    if usage is None:
        return None
    counts = {name: value for name in usage.__struct_fields__ if (value := getattr(usage, name)) is not None}
    return Usage(**{name: min(max(value, 0), _MOST_TOKENS) for name, value in counts.items()})


def _length(prompt: Prompt) -> int:
    """Count the characters of a prompt's texts."""
    contents = [message.get("content") for message in prompt.messages]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    texts = [*contents, *(part.get("text") for part in parts)]
    return sum(len(text) for text in texts if isinstance(text, str))


def _code_of(event: object) -> str:
    match event:
        case Failed(code=code):
            return code
        case Done(finish_reason=reason):
            return reason
        case _:
            return ""


def _report(error: Exception, named: dict[str, str]) -> None:
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("An upstream raised %s%s\n%s", type(error).__name__, _sentence(error), place, extra=named)


def _sentence(error: Exception) -> str:
    """Return what may be logged of an error: ours, and the system's behind it. Any other may quote what somebody said."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = isinstance(error, DaziError | TypeError) and bool(frames)
    if not is_ours or not Path(frames[-1].filename).is_relative_to(_PACKAGE):
        return ""
    return f": {error}" + (f" ({error.__cause__})" if isinstance(error.__cause__, OSError) else "")
