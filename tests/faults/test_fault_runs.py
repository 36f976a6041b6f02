"""Gateways killed, stopped and replaced, stores killed and emptied, lines cut: what any client was shown stays, or its loss is told."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.faults.checker import check
from tests.faults.world import Plan, World, keep

SEED = int(os.environ.get("SEED", "1"))

SHORT = [
    Plan("sqlite", ("kill", "pause 0.3", "pause 3"), lease=1.5, every=100),
    Plan("always", ("kill", "kill redis", "pause 3"), lease=1.5, every=100, cuts_redis=True),
    Plan("none", ("kill redis", "kill"), lease=1.5, every=100),
]
REDIS = ("always", "everysec", "none")
LONG = [
    *(Plan(log, ("kill",) * 5, every=every) for log in ("sqlite", "always") for every in (7, 41, 170)),
    *(Plan(log, ("pause 0.3", "pause 3", "pause 0.3"), every=90) for log in ("sqlite", *REDIS)),
    *(Plan(log, ("kill redis",) * 4, every=every) for log in REDIS for every in (41, 170)),
    *(Plan(log, ("kill redis", "kill", "pause 0.3", "kill redis", "pause 3"), cuts_redis=True) for log in REDIS),
    Plan("sqlite", ("kill", "pause 3", "kill", "roll", "pause 0.3"), slots=8, readers=3, every=400),
    Plan("always", ("kill", "pause 3", "kill redis", "roll", "kill redis"), slots=8, readers=3, every=400),
]
ROLLING = [Plan(log, ("roll", "roll"), slots=6, every=200) for log in ("sqlite", "always")]


Run = Callable[[Plan], Awaitable[dict[str, int]]]


@pytest.fixture
def run(tmp_path: Path, record_property: Callable[[str, object], None]) -> Run:
    """Run a plan and judge it; gives the counts, which the closing summary shows too."""

    async def run(plan: Plan) -> dict[str, int]:
        async with World(plan, tmp_path, SEED) as world:
            history = await world.run()
        counts = history.counts()
        record_property("counts", f"seed {SEED}, " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        broken = [str(violation) for violation in check(history, wait=plan.wait)]
        # What nobody foresaw is a fault, though no reader may have noticed it this time.
        broken += [f"{name} was surprised" for name, words in world.said.items() if "Traceback" in words]
        if broken:
            shown = "\n".join(broken[:20])
            pytest.fail(f"{plan.name}, seed {SEED}: see {keep(world, tmp_path)}\n{shown}", pytrace=False)
        return counts

    return run


@pytest.mark.parametrize("plan", SHORT, ids=lambda plan: plan.name)
async def test_what_was_shown_stays_or_its_loss_is_told(plan: Plan, run: Run) -> None:
    counts = await run(plan)
    assert counts["faults"] == len(plan.faults)
    assert counts["broken lines"] > 10
    assert counts["ends done"] > 0


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", LONG, ids=lambda plan: plan.name)
async def test_at_length_what_was_shown_stays_or_its_loss_is_told(plan: Plan, run: Run) -> None:
    await run(plan)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", ROLLING, ids=lambda plan: plan.name)
async def test_a_rolling_restart_under_load_loses_no_answer(plan: Plan, run: Run) -> None:
    counts = await run(plan)
    assert counts["ends done"] == counts["readers"]
