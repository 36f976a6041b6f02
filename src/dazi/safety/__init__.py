"""What may be said: checkers, and the policy that asks them about every prompt and every answer.

A `Checker` judges a `Passage`: a piece of text of at most `MOST_CHARACTERS` characters. Laws, which every checker's contract
suite checks:

- the verdict is one of three words: `pass`, `review` (a person should look) or `risky`;
- what could not be judged (a server that is down, a quota that is used up) raises `Unchecked`, and never passes;
- nothing of the text is in an error, a log line or a `repr`;
- many may ask at once, and cancelling `check` lets go of what it holds.

A checker with `open` and `close` is opened before its first question and closed after its last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from dazi.upstream import NOBODY, Asker

# msgSecCheck takes no more at once, and others have limits that are like it. In UTF-16 units, the strictest way to count.
MOST_CHARACTERS = 2500

Verdict = Literal["pass", "review", "risky"]
Kind = Literal["prompt", "text", "reasoning", "tool_call"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text to be judged: where it stands, and who asks. `text` is not empty, and valid Unicode."""

    text: str = field(repr=False)
    kind: Kind
    asker: Asker = NOBODY


@runtime_checkable
class Checker(Protocol):
    """Judges passages; the module's docstring states its laws."""

    @property
    def name(self) -> str:
        """What metrics and log lines call it."""
        ...

    async def check(self, passage: Passage) -> Verdict:
        """Judge a passage. Raises `Unchecked`."""
        ...
