"""The speed guard: what a token costs, beside the bare pass-through in the same run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

# A later goal is 0.8. Above this something on the way of every token has gone wrong.
MOST = 1.5


def load_bench() -> ModuleType:
    path = Path(__file__).parent.parent / "bench" / "gateway.py"
    spec = importlib.util.spec_from_file_location("bench_gateway", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_a_token_costs_at_most_half_again_what_the_bare_pass_through_pays() -> None:
    bench = load_bench()
    results = bench.measure(bench.Load(streams=200, tokens=100, rounds=3))
    assert bench.ratio(results) <= MOST, bench.table(results)
