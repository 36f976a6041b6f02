from __future__ import annotations

from email.utils import formatdate

import pytest

from dazi.doctor import judgement
from dazi.doctor.recording import Recording

NOON = 1_900_000_000.0


def recording(*chunks: tuple[float, bytes], ending: str = "ended", seconds: float = 1.0, **headers: str) -> Recording:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Recording(200, "HTTP/1.1", named, 0.1, list(chunks), ending, seconds)  # type: ignore[arg-type]


def test_pieces_that_come_as_they_are_sent_are_not_buffered() -> None:
    assert judgement.arrival([(7.0 + tick / 10, tick / 10) for tick in range(20)]).verdict == "healthy"


def test_one_late_piece_is_no_buffer() -> None:
    late = [(tick / 10 + (0.5 if tick == 9 else 0), tick / 10) for tick in range(20)]
    assert judgement.arrival(late).verdict == "healthy"


def test_pieces_that_come_together_are() -> None:
    finding = judgement.arrival([(2.0 + tick / 1000, tick / 10) for tick in range(20)])
    assert finding.verdict == "fault"
    assert "in 1 lots" in finding.words


def test_two_pieces_tell_nothing() -> None:
    assert judgement.arrival([(0.1, 0.0), (0.2, 0.1)]).verdict == "unknown"


@pytest.mark.parametrize(("cut_after", "verdict"), [(4.0, "fault"), (14.0, "fault"), (60.0, "note")])
def test_a_silent_line_that_is_cut_is_judged_by_the_heartbeats(cut_after: float, verdict: str) -> None:
    found = judgement.silence(recording((1.0, b"data: {}\n\n"), ending="cut", seconds=1 + cut_after), seconds=90)
    assert found.verdict == verdict
    assert f"about {cut_after:.0f} s" in found.words


def test_a_silent_line_that_ends_as_planned_is_left_alone() -> None:
    whole = recording((1.0, b"data: {}\n\n"), (21.0, b'data: {"type": "end"}\n\n'), seconds=21)
    assert judgement.silence(whole, seconds=20).verdict == "healthy"


@pytest.mark.parametrize(("date", "verdict"), [(20.0, "healthy"), (-3600.0, "warning"), (86_400.0, "warning")])
def test_a_clock_that_is_wrong_is_named(date: float, verdict: str) -> None:
    found = judgement.clock(recording(date=formatdate(NOON + date, usegmt=True)), now=NOON)
    assert found.verdict == verdict


def test_a_date_that_is_none_is_not_judged() -> None:
    assert judgement.clock(recording(date="yesterday")).verdict == "unknown"


def test_heartbeats_that_come_together_are_late() -> None:
    together = recording((3.0, b": 1\n\n: 2\n\n: 3\n\n"))
    assert judgement.heartbeats(together, expected=3, every=1).verdict == "fault"
