"""The operator's page in a real browser, while a load runs."""

from __future__ import annotations

from playwright.async_api import Page, expect
from tests.conftest import Serve
from tests.puppet import Puppet
from tests.web.wire import HELLO

from dazi.settings import Settings

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
