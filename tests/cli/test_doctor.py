from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.conftest import Serve

from dazi.upstream.demo import DemoUpstream


async def test_a_healthy_gateway_is_told_so_with_status_0(serve: Serve, run: Run) -> None:
    served = await serve({"demo": DemoUpstream()})
    ran = await run("doctor", served.url, "--wait", "1")
    assert ran.status == 0
    assert "Nothing has to be mended." in ran.out
    assert "✓ resume" in ran.out


async def test_findings_come_as_json_with_status_1(serve: Serve, run: Run) -> None:
    served = await serve({"demo": DemoUpstream()})
    ran = await run("doctor", served.url, "--wait", "1", "--origin", "https://elsewhere.example.com", "--json")
    assert ran.status == 1
    findings = [json.loads(line) for line in ran.out.splitlines()]
    faults = [finding for finding in findings if finding["verdict"] == "fault"]
    assert [fault["check"] for fault in faults] == ["cors"]
    assert "DAZI_ORIGINS=https://elsewhere.example.com" in faults[0]["fix"]


async def test_a_wrong_url_is_told_with_status_2(run: Run) -> None:
    ran = await run("doctor", "chat.example.com")
    assert ran.status == 2
    assert "no http or https URL" in ran.err
