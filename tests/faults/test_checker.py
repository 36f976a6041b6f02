"""The checker sees every promise that is broken, and nothing where none is."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from tests.faults.checker import check
from tests.faults.history import Broke, Fault, History, Reading, Refused, Said, Shown, Standing

ANSWER = "你好, 👩🏽‍🚀 typed"
PIECES = ("你好", ", 👩🏽‍🚀", " typed")


def text(position: int, at: float = 0.0, *, n: int | None = None, piece: str | None = None, epoch: int = 1) -> Shown:
    piece = PIECES[position - 2] if piece is None else piece
    told = units("".join(PIECES[: position - 1])) if n is None else n
    return Shown(at or float(position), f"{epoch}-{position}", {"type": "text", "text": piece, "n": told})


def snapshot(position: int, whole: str, at: float = 0.0, *, n: int | None = None) -> Shown:
    event = {"type": "snapshot", "text": whole, "n": units(whole) if n is None else n}
    return Shown(at or float(position), f"1-{position}", event)


def end(position: int = 5, whole: str = ANSWER, *, kind: str = "done", epoch: int = 1, code: str = "") -> Shown:
    event = {"type": kind, "n": units(whole), "crc32": zlib.crc32(whole.encode())}
    return Shown(float(position), f"{epoch}-{position}", {**event, "code": code} if code else event)


def units(whole: str) -> int:
    return len(whole.encode("utf-16-le")) // 2


def started() -> Shown:
    return Shown(1.0, "1-1", {"type": "started", "generation": "g"})


def good() -> History:
    """Two readers of one answer: one in one go, one over three lines."""
    one = Reading("k/0", "k", 0.0, [started(), text(2), text(3), text(4), end()], "g", 5.0)
    other = Reading(
        *("k/1", "k", 0.0),
        [started(), text(2), Broke(2.5, "ended"), snapshot(3, "你好, 👩🏽‍🚀"), Refused(3.5, 503, "x"), text(4), end()],
        *("g", 5.0),
    )
    standings = [Standing(node, "g", "done", ANSWER) for node in ("A", "B")]
    return History("test", 1, [one, other], [Said("k", ANSWER)], [Fault(2.0, "kill", "A")], standings)


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in check(history, wait=10)}


def test_a_history_that_keeps_every_promise_has_no_violation() -> None:
    assert check(good(), wait=10) == []


Change = Callable[[History], None]


def shows(reader: int, at: slice, *items: Shown | Refused | Broke) -> Change:
    """Let a reader live through these instead of those."""
    return lambda history: history.readings[reader].items.__setitem__(at, items)


def but(target: Callable[[History], object], **facts: object) -> Change:
    """Change facts of something."""

    def change(history: History) -> None:
        for name, fact in facts.items():
            setattr(target(history), name, fact)

    return change


def asked(*answers: str) -> Change:
    """Let the model be asked again."""
    return lambda history: history.said.extend(Said("k", answer) for answer in answers)


TWICE, LAST = slice(2, 2), slice(-1, None)
SEEN_ELSEWHERE = {"different", "unproved", "unknown answer"}

BROKEN: dict[str, tuple[set[str], Change]] = {
    "a piece is left out": ({"missing", *SEEN_ELSEWHERE}, shows(0, slice(2, 3))),
    "a piece comes twice": ({"doubled", *SEEN_ELSEWHERE}, shows(0, TWICE, text(2))),
    "a piece is other text of the same length": (SEEN_ELSEWHERE, shows(0, slice(1, 2), text(2, piece="妳好"))),
    "a snapshot takes back what was shown": (
        {"missing", *SEEN_ELSEWHERE},
        shows(0, slice(3, 3), snapshot(2, "你好", 3.2)),
    ),
    "a snapshot changes what was shown": (
        {"different"},
        shows(0, TWICE, snapshot(2, "妳好", 2.2), snapshot(2, "你好", 2.3)),
    ),
    "a snapshot has a wrong length": ({"unproved"}, shows(1, slice(3, 4), snapshot(3, "你好, 👩🏽‍🚀", n=3))),
    "the end proves another text": ({"unproved", "two ends"}, shows(0, LAST, end(whole="你好, 👩🏽‍🚀 Typed"))),
    "something follows the end": (
        {"after the end", "doubled"},
        shows(0, slice(5, 5), text(4, 5.0, piece="", n=units(ANSWER))),
    ),
    "a reader hears two ends": ({"after the end", "two ends"}, shows(0, slice(5, 5), end(6))),
    "readers hear two ends": ({"two ends", "unknown answer"}, shows(0, LAST, end(kind="aborted"))),
    "an end has two ids": ({"two ends"}, shows(0, LAST, end(epoch=2))),
    "a reader has no end": ({"no end", "unknown answer"}, shows(1, LAST)),
    "an answer is gone": ({"gone", "unknown answer"}, shows(1, LAST, Refused(5.0, 404, "not_found"))),
    "a reader is refused": ({"refused"}, shows(1, slice(4, 5), Refused(3.5, 409, "conflict"))),
    "a reader waits too long": ({"waited"}, but(lambda history: history.readings[0], finished=15.5)),
    "the first news come too late": ({"waited"}, but(lambda history: history.readings[0], began=-9.5)),
    "the model is asked twice": ({"ran twice"}, asked("2")),
    "a key stands for two generations": ({"ran twice"}, but(lambda history: history.readings[0], generation="h")),
    "a node tells another text": (
        {"unknown answer", "two ends"},
        but(lambda history: history.standings[0], text="你好"),
    ),
    "a generation runs on": (
        {"no end", "unknown answer", "two ends"},
        but(lambda history: history.standings[0], status="running"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_seen(name: str) -> None:
    wanted, spoil = BROKEN[name]
    history = good()
    spoil(history)
    assert kinds(history) == wanted


def forgetful() -> History:
    """A store lost the last piece that was shown, and the process that wrote it is gone: the loss is told."""
    history = good()
    history.faults.append(Fault(3.0, "kill redis", "everysec", forgets=True))
    kept, lost = "你好", end(3, "你好", kind="failed", epoch=2, code="producer_lost")
    history.readings[0].items[3:] = [snapshot(2, kept, 4.0), lost]
    history.readings[1].items[4:] = [Refused(4.0, 404, "not_found")]
    history.standings = [Standing(node, "g", "failed", kept) for node in ("A", "B")]
    return history


def test_a_loss_that_is_told_is_none_where_the_store_may_forget() -> None:
    assert kinds(forgetful()) == set()


def unproved(code: str) -> Change:
    event = {"type": "failed", "code": code}
    return shows(0, slice(3, None), Shown(4.0, "2-4", event))


def test_the_end_of_a_lost_log_has_no_proof_and_any_other_has() -> None:
    for code, wanted in (("store_lost", set()), ("producer_lost", {"unproved"})):
        history = forgetful()
        unproved(code)(history)
        assert kinds(history) == wanted


def test_the_same_loss_is_seen_where_the_store_may_not() -> None:
    history = forgetful()
    history.faults.pop()
    assert {"missing", "gone", "no end"} & kinds(history) == {"missing", "gone"}


SILENT: dict[str, tuple[set[str], Change]] = {
    "the text goes on without what was lost": (
        {"missing", "different", "unproved"},
        shows(0, slice(2, None), text(4), end()),
    ),
    "the end comes without a word of the loss": (
        {"unproved", "doubled"},
        shows(0, slice(3, 4)),
    ),
    "a reader waits for ever": ({"no end"}, shows(0, LAST)),
    "the lost text becomes another": ({"different", "unproved"}, shows(0, slice(3, 4), snapshot(2, "妳好", 4.0))),
    "the model is asked more often than the store forgot": ({"ran twice"}, asked("2", "3")),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_loss_that_is_not_told_is_seen_where_the_store_may_forget(name: str) -> None:
    wanted, spoil = SILENT[name]
    history = forgetful()
    spoil(history)
    assert kinds(history) == wanted
