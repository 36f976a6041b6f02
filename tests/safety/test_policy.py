"""The policy, whatever its checkers do: it asks all of them, waits for none too long, and tells nothing of what was said."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.safety.worlds import FINE, RISKY, judge
from tests.waiting import until

from dazi.errors import GenerationError, Unchecked
from dazi.safety import Passage, Verdict, policy
from dazi.safety.policy import Policy, Rules
from dazi.upstream import Asker, Prompt

PASSAGE = Passage(FINE, "text")


class Own:
    """A checker of somebody's."""

    name = "own"

    def __init__(self) -> None:
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def check(self, _passage: Passage) -> Verdict:
        return "pass"


class Deaf(Own):
    """Goes on when it is told to stop, until it is `released`; then it quotes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.is_asked = False

    async def check(self, passage: Passage) -> Verdict:
        self.is_asked = True
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError(passage.text)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Rules:
    """Rules by which nobody is waited for long."""
    monkeypatch.setattr(policy, "_RELEASE", 0.05)
    return Rules(timeout=0.05)


async def test_a_checker_that_does_not_let_itself_be_stopped_is_left_behind(
    quick: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = Deaf()
    asked = Policy([deaf], quick)
    with pytest.raises(GenerationError) as caught:
        await asyncio.wait_for(asked.passes(Passage(RISKY, "text")), 5)
    assert caught.value.code == "safety_unavailable"
    assert "longer than 0.05 seconds" in caplog.text
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    deaf.released.set()
    await until(lambda: not left_behind(asked))
    await asyncio.sleep(0)
    assert (told, RISKY in caplog.text) == ([], False)


def left_behind(asked: Policy) -> int:
    return sum(map(len, asked._given_up.values()))


async def test_not_more_than_so_many_are_left_behind(quick: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "_MOST_GIVEN_UP", 3)
    deaf = Deaf()
    asked = Policy([deaf, lambda passage: judge(passage.text)], Rules(timeout=quick.timeout, unchecked="pass"))
    await asyncio.gather(*(asked.passes(PASSAGE) for _ in range(3)))
    deaf.is_asked = False
    assert await asked.passes(PASSAGE)
    assert (deaf.is_asked, left_behind(asked)) == (False, 3)
    # The others judge on.
    assert not await asked.passes(Passage(RISKY, "text"))
    deaf.released.set()
    await until(lambda: not left_behind(asked))
    assert await asked.passes(PASSAGE)
    assert deaf.is_asked


@pytest.mark.usefixtures("quick")
async def test_an_answer_that_is_stopped_waits_for_no_deaf_checker() -> None:
    deaf = Deaf()
    asking = asyncio.create_task(Policy([deaf], Rules(timeout=60)).passes(PASSAGE))
    await until(lambda: deaf.is_asked)
    asking.cancel()
    done, _ = await asyncio.wait((asking,), timeout=5)
    assert done
    assert asking.cancelled()
    deaf.released.set()


async def test_a_checker_that_gives_up_by_itself_has_not_judged() -> None:
    async def check(_passage: Passage) -> Verdict:
        raise asyncio.CancelledError

    with pytest.raises(GenerationError, match="could not be made"):
        await Policy([check]).passes(PASSAGE)


@pytest.mark.parametrize("rubbish", ["PASS", "", None, True, 0, ["pass"], {"verdict": "pass"}, Exception("pass")])
async def test_rubbish_is_no_verdict(rubbish: object) -> None:
    class Rubbish(Own):
        async def check(self, _passage: Passage) -> Verdict:
            return rubbish  # type: ignore[return-value]  # which is the fault

    with pytest.raises(GenerationError, match="could not be made"):
        await Policy([Rubbish()]).passes(PASSAGE)


async def test_one_that_finds_it_risky_decides_whatever_becomes_of_the_others(quick: Rules) -> None:
    def raises(_: Passage) -> Verdict:
        raise Unchecked("it is down")

    deaf = Deaf()
    assert not await Policy([deaf, raises, lambda _: "risky"], quick).passes(PASSAGE)
    deaf.released.set()


async def test_of_two_with_one_name_the_one_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Own):
        async def check(self, _passage: Passage) -> Verdict:
            raise Unchecked("it is down")

    caplog.set_level(logging.INFO)
    asked = Policy([Own(), Broken()], Rules(unchecked="pass"))
    for _ in range(5):
        assert await asked.passes(PASSAGE)
    assert len(caplog.records) == 1


async def test_its_checkers_are_opened_once_and_closed_by_the_last_who_opened_it() -> None:
    own = Own()
    asked = Policy([own])
    for _ in range(3):
        await asked.open()
    for closed in (0, 0, 1, 2):
        await asked.close()
        assert (own.opened, own.closed) == (1, closed)
    await asked.open()
    assert own.opened == 2


def asking(*texts: str, owner: str = "anna") -> Prompt:
    return Prompt("m", [{"role": "user", "content": text} for text in texts], asker=Asker(owner))


@pytest.mark.parametrize("halves", [("好的违", "禁词吗"), ("a bad", "word b"), ("违", "禁")])
@pytest.mark.parametrize("first", [0, 1])
async def test_a_phrase_across_what_passed_and_what_is_new_is_found(halves: tuple[str, str], first: int) -> None:
    def judge(passage: Passage) -> Verdict:
        return "risky" if any(f"{a}\n{b}" in passage.text for a, b in [halves]) else "pass"

    asked = Policy([judge])
    await asked.admit(asking("前面", "x" * 3000, halves[first], "后面"))
    with pytest.raises(GenerationError, match="refused"):
        await asked.admit(asking("前面", *halves, "后面"))


async def test_what_passed_for_one_is_judged_for_another() -> None:
    heard: list[str] = []

    def judge(passage: Passage) -> Verdict:
        heard.append(passage.asker.owner)
        return "pass"

    asked = Policy([judge])
    for owner in ("anna", "bert", "anna"):
        await asked.admit(asking("hi", owner=owner))
    assert heard == ["anna", "bert"]
