"""What checkers are asked, and what follows from their verdicts.

Laws: all checkers must let a passage pass; one that finds it risky decides, whatever the others say or fail to say; a `review`
and a passage that nobody could judge follow the operator's choice. A prompt is judged before any model sees it. Nothing of
what is judged is logged, or told to the observer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from dazi.errors import ConfigError, Refused, Unchecked
from dazi.safety import Checker, Kind, Passage, Verdict
from dazi.safety.function import Function, FunctionChecker
from dazi.safety.texts import texts_of
from dazi.safety.windows import Cuts, beginning_of, end_of, windows_of
from dazi.safety.words import WordList
from dazi.upstream import Asker, Lifecycle, Prompt

logger = logging.getLogger("dazi.safety")

Choice = Literal["refuse", "pass"]
# What came of asking one checker: its verdict, or that it could not give one.
Found = Verdict | Literal["unchecked"]

# Passages of one prompt that are judged at once.
_AT_ONCE = 4
# Messages that passed and need not be judged again: a conversation comes whole with each question.
_REMEMBERED = 10_000
# Seconds that a checker which is given up has to let go; one that swallows its cancellation is left behind.
_RELEASE = 1.0
# Of those questions that may be left behind: then no more are asked.
_MOST_GIVEN_UP = 1000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one checker said of one passage, for metrics."""

    checker: str
    kind: Kind
    found: Found
    seconds: float


class Rules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows from verdicts, and how answers are cut to be judged.

    `mode`: `hold` shows only what was judged; `show` shows at once, and takes back what does not pass. `review`: what a
    verdict of `review` comes to. `unchecked`: the same for what could not be judged. `timeout`: seconds for one verdict.
    `window`, `overlap`: see `dazi.safety.windows.Cuts`. `delay`: seconds after which a window is cut anywhere.
    `longest_prompt`: characters of a prompt that are judged; a longer one is refused.
    """

    mode: Literal["hold", "show"] = "hold"
    review: Choice = "refuse"
    unchecked: Choice = "refuse"
    timeout: Annotated[float, Meta(gt=0, le=60)] = 3.0
    window: Annotated[int, Meta(ge=1, le=1000)] = 60
    overlap: Annotated[int, Meta(ge=0, le=300)] = 24
    delay: Annotated[float, Meta(ge=0, le=60)] = 1.0
    longest_prompt: Annotated[int, Meta(ge=1)] = 100_000


class Policy:
    """The content safety of a gateway.

    Args:
        checkers: who judges; a function counts as one. Raises `ConfigError` without any.
        rules: see `Rules`.

    Attributes: `observer` hears of every judgement; metrics, in a gateway.
    """

    def __init__(self, checkers: Sequence[Checker | Function], rules: Rules | None = None) -> None:
        if not checkers:
            raise ConfigError("safety: there is no checker. Give one, for instance WordList(['a word']).")
        self.observer: Callable[[Judgement], None] | None = None
        self.rules = rules = rules or Rules()
        self.cuts = Cuts(rules.window, rules.overlap)
        self._checkers = tuple(map(_checker_of, checkers))
        # Digests of what passed.
        self._passed: OrderedDict[bytes, None] = OrderedDict()
        # Checkers (two may have one name) that could not judge when they were last asked: it is logged once that one fails, and
        # that it is back.
        self._failing: set[int] = set()
        # How many have opened this policy and not closed it: each model's upstream does.
        self._users = 0
        # By checker, the questions that were given up, until they end.
        self._given_up: dict[int, set[asyncio.Task[Verdict]]] = {id(checker): set() for checker in self._checkers}
        for checker in self._checkers:
            self._check_overlap(checker)

    def __repr__(self) -> str:
        return f"Policy({self.rules.mode}, {', '.join(one.name for one in self._checkers)})"

    async def open(self) -> None:
        """Open the checkers that can be, for the first who asks."""
        self._users += 1
        if self._users == 1:
            for checker in self._checkers:
                if isinstance(checker, Lifecycle):
                    await checker.open()

    async def close(self) -> None:
        """Close them, for the last; idempotent."""
        self._users = max(0, self._users - 1)
        if not self._users:
            for checker in self._checkers:
                if isinstance(checker, Lifecycle):
                    await checker.close()

    async def admit(self, prompt: Prompt) -> None:
        """Judge a prompt. Raises `Refused` (`prompt_refused`, `safety_unavailable`)."""
        texts = {_digest(prompt.asker, text): text for text in texts_of(prompt)}
        if sum(map(len, texts.values())) > self.rules.longest_prompt:
            raise Refused(
                "prompt_refused",
                f"The question is longer than the {self.rules.longest_prompt} characters that can be checked.",
            )
        fresh = [digest for digest in texts if digest not in self._passed]
        passages = [
            Passage(text, "prompt", prompt.asker) for text in windows_of("\n".join(self._to_judge(texts)), self.cuts)
        ]
        found: set[Found] = set()
        for start in range(0, len(passages), _AT_ONCE):
            for verdicts in await asyncio.gather(*map(self._judge, passages[start : start + _AT_ONCE])):
                found |= verdicts
            if not self._allows(found):
                raise Refused("prompt_refused", "The content check refused the question.")
        if "unchecked" not in found:
            self._remember(fresh)

    def _to_judge(self, texts: Mapping[bytes, str]) -> Iterator[str]:
        """Yield what did not pass yet, and the ends of what did that touch it: a phrase may go across both."""
        before, was_fresh = "", False
        for digest, text in texts.items():
            is_fresh = digest not in self._passed
            if is_fresh and before:
                yield end_of(before, self.cuts)
            if is_fresh:
                yield text
            elif was_fresh:
                yield beginning_of(text, self.cuts)
            before, was_fresh = ("" if is_fresh else text), is_fresh

    async def passes(self, passage: Passage) -> bool:
        """Judge a passage by all checkers: whether it may be shown. Raises `Refused` (`safety_unavailable`)."""
        return self._allows(await self._judge(passage))

    async def _judge(self, passage: Passage) -> set[Found]:
        return set(await asyncio.gather(*(self._ask(checker, passage) for checker in self._checkers)))

    def _allows(self, found: set[Found]) -> bool:
        if "risky" in found or ("review" in found and self.rules.review == "refuse"):
            return False
        if "unchecked" in found and self.rules.unchecked == "refuse":
            raise Refused("safety_unavailable", "The content check could not be made.", retryable=True)
        return True

    async def _ask(self, checker: Checker, passage: Passage) -> Found:
        began = time.monotonic()
        verdict: Found = "unchecked"
        try:
            verdict = await self._in_time(checker, passage)
        except Unchecked as error:
            self._tell(checker, str(error))
        except Exception as error:  # noqa: BLE001  # somebody's own checker may raise anything, and quote the text
            self._tell(checker, f"it raised {type(error).__name__}")
        else:
            self._tell(checker, "")
        if self.observer is not None:
            self.observer(Judgement(checker.name, passage.kind, verdict, time.monotonic() - began))
        return verdict

    async def _in_time(self, checker: Checker, passage: Passage) -> Verdict:
        """Wait for a verdict as long as the rules say, also where the checker does not let itself be stopped."""
        given_up = self._given_up[id(checker)]
        if len(given_up) >= _MOST_GIVEN_UP:
            raise Unchecked(f"{_MOST_GIVEN_UP} of its questions were given up, and have not ended")
        asking = asyncio.create_task(_verdict_of(checker, passage), name="dazi content check")
        try:
            await asyncio.wait((asking,), timeout=self.rules.timeout)
            if not asking.done():
                raise Unchecked(f"it takes longer than {self.rules.timeout:g} seconds")
            if asking.cancelled():
                raise Unchecked("it gave up by itself")
            return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
                given_up.add(asking)
                asking.add_done_callback(given_up.discard)
                asking.add_done_callback(_look_at)
                await asyncio.wait((asking,), timeout=_RELEASE)

    def _tell(self, checker: Checker, trouble: str) -> None:
        if bool(trouble) == (id(checker) in self._failing):
            return
        if trouble:
            self._failing.add(id(checker))
            follows = (
                "what it should judge is refused" if self.rules.unchecked == "refuse" else "what it should judge passes"
            )
            logger.warning("The content checker %r cannot judge: %s; %s.", checker.name, trouble, follows)
        else:
            self._failing.discard(id(checker))
            logger.warning("The content checker %r judges again.", checker.name)

    def _remember(self, digests: Iterable[bytes]) -> None:
        self._passed.update(dict.fromkeys(digests))
        while len(self._passed) > _REMEMBERED:
            self._passed.popitem(last=False)

    def _check_overlap(self, checker: Checker) -> None:
        if isinstance(checker, WordList) and checker.longest > self.cuts.overlap + 1:
            raise ConfigError(
                f"safety: overlap={self.cuts.overlap} is too short for the word list {checker.name!r}, whose longest word has "
                f"{checker.longest} characters: half of it could be shown. Set it to {checker.longest - 1} or more."
            )


def _checker_of(checker: Checker | Function) -> Checker:
    return checker if isinstance(checker, Checker) else FunctionChecker(checker)


async def _verdict_of(checker: Checker, passage: Passage) -> Verdict:
    try:
        verdict = await checker.check(passage)
    except Unchecked as error:
        if not error.again:
            raise
        verdict = await checker.check(passage)
    if verdict not in get_args(Verdict):
        raise Unchecked("it gave no verdict")
    return verdict


def _look_at(question: asyncio.Task[Verdict]) -> None:
    """Look at how a question ended that nobody waits for: asyncio would tell the words of its error."""
    if not question.cancelled():
        question.exception()


def _digest(asker: Asker, text: str) -> bytes:
    return hashlib.sha256(f"{asker.owner}\n{text}".encode()).digest()
