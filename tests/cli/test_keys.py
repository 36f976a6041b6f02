from __future__ import annotations

import hashlib

import pytest
from starlette.datastructures import Headers
from tests.cli.conftest import Run

from dazi.errors import ConfigError, Unauthorized
from dazi.web.guard import Keys


async def test_a_new_key_is_known_by_its_hash_alone(run: Run) -> None:
    key, line = (await run("keys", "new")).out.split()
    assert line == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    keys = Keys((line,))
    assert keys.owner_of(Headers({"authorization": f"Bearer {key}"})) == Keys((key,)).owner_of_key(key)
    with pytest.raises(Unauthorized):
        keys.owner_of_key(line)


async def test_each_is_another(run: Run) -> None:
    assert (await run("keys", "new")).out != (await run("keys", "new")).out


@pytest.mark.parametrize("entry", ["sha256:", "sha256:abc", f"sha256:{'g' * 64}", f"sha256:{'A' * 64}"])
def test_a_hash_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="dazi keys new"):
        Keys((entry,))
