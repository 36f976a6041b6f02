from __future__ import annotations

import pytest
from tests.conftest import Serve, Served
from tests.puppet import Puppet

from dazi.settings import Settings

ALICE, BOB = "alice-k3y-N7fQ2xW9pL4v", "bob-s3cr3t-M8gR5tY1zC6d"


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def served(serve: Serve, puppet: Puppet) -> Served:
    return await serve({"m": puppet})


@pytest.fixture
async def guarded(serve: Serve, puppet: Puppet) -> Served:
    return await serve({"m": puppet}, settings=Settings(api_keys=(ALICE, BOB), hosts=("ai.example",)))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
