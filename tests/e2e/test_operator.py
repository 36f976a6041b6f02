"""The operator's page in a real browser, while a load runs."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect
from tests.conftest import Serve
from tests.puppet import Puppet, Scripted
from tests.web.wire import HELLO

from dazi.errors import UpstreamError
from dazi.settings import Settings
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.balance import Seat
from dazi.upstream.member import Bounds, Member
from dazi.upstream.pool import Pool, Rules

KEY, ADMIN = "a-key-of-a-user-123", "the-operators-own-key-9"


async def test_it_shows_what_runs_stops_it_and_tells_how_it_ended(page: Page, serve: Serve) -> None:
    puppet = Puppet()
    served = await serve({"m": puppet}, settings=Settings(api_keys=(KEY,), admin_key=ADMIN))
    headers = {"Authorization": f"Bearer {KEY}", "accept": "application/json"}
    for _ in range(3):
        await served.client.post("/v1/generations", json=HELLO, headers=headers)
    plays = [await puppet.play() for _ in range(3)]
    plays[0].say("something secret")
    await page.goto(f"{served.url}/admin")
    await expect(page.locator("#board")).to_be_hidden()
    await page.locator("#key").fill("not-the-operators-key")
    await page.locator("#login button").click()
    await expect(page.locator("#refusal")).to_contain_text("not known")
    await page.locator("#key").fill(ADMIN)
    await page.locator("#login button").click()
    await expect(page.locator("#live tbody tr")).to_have_count(3)
    await expect(page.locator("#running")).to_have_text("3")
    await page.locator("#live tbody button").first.click()
    await expect(page.locator("#live tbody tr")).to_have_count(2, timeout=15_000)
    await plays[0].wait_released()
    plays[1].finish()
    await expect(page.locator("#reasons")).to_contain_text("done", timeout=15_000)
    await expect(page.locator("#reasons")).to_contain_text("aborted")
    await expect(page.locator("#ends tbody tr")).to_have_count(2)
    assert "secret" not in await page.content()
    assert ADMIN not in page.url
    assert await page.locator("svg[data-series=running] path").get_attribute("d")
    await expect(page.locator("#health")).to_be_hidden()


class Down:
    """An upstream whose server is away."""

    async def generate(self, _prompt: Prompt, _sink: Sink) -> Finish:
        raise UpstreamError("upstream_unreachable", "Nobody is there.", retryable=True)


async def test_it_shows_which_upstream_is_left_alone_and_what_the_others_did(page: Page, serve: Serve) -> None:
    well, away = (
        Member("well", Scripted("Hi"), Bounds(concurrency=8)),
        Member("away", Down(), Bounds(failures=2, cooldown=600)),
    )
    pool = Pool([Seat(away, "m", "m"), Seat(well, "m", "m")], Rules(balance="round_robin", backoff=0))
    served = await serve({"m": pool}, settings=Settings(api_keys=(KEY,), admin_key=ADMIN))
    for _ in range(5):
        answer = await served.client.post("/v1/generations", json=HELLO, headers={"Authorization": f"Bearer {KEY}"})
        assert '"done"' in answer.text
    await page.goto(f"{served.url}/admin")
    await page.locator("#key").fill(ADMIN)
    await page.locator("#login button").click()
    first, second = page.locator("#upstreams tbody tr").nth(0), page.locator("#upstreams tbody tr").nth(1)
    await expect(first).to_contain_text(re.compile(r"left alone, \d+ s"))
    await expect(first.locator(".wrong")).to_have_count(2)
    assert await first.locator(".wrong").first.get_attribute("title") == "upstream_unreachable"
    await expect(second).to_contain_text("0 of 8")
    await expect(second).to_contain_text("asked")
    await expect(second.locator(".good")).to_have_count(5)
