from __future__ import annotations

import pytest
from tests.puppet import Puppet


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()
