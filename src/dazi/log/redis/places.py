"""Where a log lies: its shard, and the names of its keys.

Laws: all keys of a log, its idempotency index among them, are of one shard, so that one script may touch them all. The
shard of a log is the last digit of its id, so it is known from the id alone. It must be known from (owner, key) as well,
before there is an id: so a draft with a key gets as its last digit the shard of (owner, key), and its other 124 bits
stay as random as they were. One script can then find or make both; with two shards there would be two steps, and a race or
a crash between them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from dazi.errors import Unknown
from dazi.log import Draft

# One for each value of a digit. Never to be changed: it says where every log lies.
SHARDS = 16
_IDS = re.compile(r"[0-9a-f]{32}\Z")


def is_id(generation: str) -> bool:
    """Whether this can be a generation's id; nothing else ever becomes part of a key."""
    return _IDS.match(generation) is not None


def check(generation: str) -> None:
    """Raise `Unknown` for what is no id."""
    if not is_id(generation):
        raise Unknown(generation)


def shard_of(generation: str) -> int:
    """Tell the shard of a log. Raises `Unknown`."""
    check(generation)
    return int(generation[-1], 16)


def placed(draft: Draft) -> tuple[Draft, int]:
    """Give the draft an id that lies in its shard; also tells that shard."""
    if draft.key is None:
        return draft, shard_of(draft.started.generation)
    shard = shard_of_key(draft.owner, draft.key)
    generation = f"{draft.started.generation[:-1]}{shard:x}"
    check(generation)
    return replace(draft, started=msgspec.structs.replace(draft.started, generation=generation)), shard


def digest(*parts: str) -> str:
    """Make a name of any text, for a key."""
    # The length in front keeps ("a", "b:c") from ("a:b", "c").
    text = f"{len(parts[0])}:{':'.join(parts)}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def shard_of_key(owner: str, key: str) -> int:
    """Tell the shard of every log that (owner, key) may stand for."""
    return int(digest(owner, key)[-1], 16)


@dataclass(frozen=True, slots=True)
class Places:
    """The names of keys, all of which begin with `prefix` and carry their shard as a cluster's hash tag."""

    prefix: str

    def key(self, shard: int, name: str) -> str:
        """Name one key of a shard."""
        return f"{self.prefix}:{{{shard}}}:{name}"

    def index(self, owner: str, key: str) -> str:
        """Name the key that tells what (owner, key) stands for."""
        return self.key(shard_of_key(owner, key), f"key:{digest(owner, key)}")

    def keys(self, shard: int, generation: str, *names: str, owner: str | None = None) -> Sequence[str]:
        """Name the two keys of a log, and others of its shard."""
        mine = (f"gen:{generation}", f"log:{generation}", *names)
        return [self.key(shard, name) for name in (mine if owner is None else (*mine, f"owner:{digest(owner)}"))]
