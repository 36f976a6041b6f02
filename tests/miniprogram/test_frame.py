"""The preview's frame: the phone around the program, and the panel beside it."""

from __future__ import annotations

from playwright.async_api import Page, expect
from tests.conftest import Serve

from dazi.upstream.demo import DemoUpstream


async def test_a_person_sees_the_phone_and_what_went_over_its_network(page: Page, preview: str, serve: Serve) -> None:
    served = await serve({"m": DemoUpstream(pace=2000, text="一二三")})
    await page.goto(f"{preview}?app=fixture&profile=ios&theme=light&fresh=1&cut=bytes&gateway={served.url}")
    program = page.frame_locator("iframe")
    await program.locator("#ask").click()
    await expect(program.locator("#answer")).to_have_text("一二三")
    await expect(page.locator(".title")).to_have_text("首页")
    await expect(page.locator(".back")).to_be_hidden()
    await page.locator(".requests summary").click()
    await expect(page.locator(".requests summary")).to_contain_text("POST /v1/generations 200")
    await expect(page.locator(".requests tr").first.locator("td").nth(1)).to_have_text("1")
    await page.locator("#dark").click()
    await expect(page.locator(".phone")).to_have_class("phone ios dark")
    await expect(page.locator(".bar")).to_have_css("background-color", "rgb(25, 25, 25)")
    await page.locator("#background").click()
    await expect(page.locator(".veil")).to_be_visible()
    await page.locator("#background").click()
    await expect(page.locator(".veil")).to_be_hidden()
    assert await page.evaluate("preview.app().globalData.told.map(([what]) => what)") == [
        "launch",
        "show",
        "theme",
        "hide",
        "show",
    ]
    await program.locator("#go").click()
    await page.locator(".back").click()
    await expect(page.locator(".title")).to_have_text("首页")
    assert await page.evaluate("preview.errors") == []


async def test_without_the_panel_the_phone_is_the_window(page: Page, preview: str) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{preview}?app=fixture&profile=ios&panel=0&theme=light&page=pages/second/index?from=x")
    await expect(page.frame_locator("iframe").locator("#from")).to_be_visible()
    box = await page.locator("iframe").bounding_box()
    assert box == {"x": 0, "y": 91, "width": 390, "height": 753}
    await expect(page.locator(".panel")).to_be_hidden()


async def test_tabs_keep_their_pages(page: Page, preview: str) -> None:
    await page.goto(f"{preview}?app=fixture&panel=0")
    program = page.frame_locator("iframe")
    await program.locator("#counter").click()
    tabs = page.locator(".tabs button")
    await tabs.nth(1).click()
    await expect(program.locator("#wxs")).to_be_visible()
    assert await page.evaluate("[preview.routes(), preview.page().taps]") == [["pages/language/index"], ["语言"]]
    await tabs.nth(0).click()
    await expect(program.locator("#counter")).to_have_text("count 4")
    await expect(tabs.nth(0)).to_have_attribute("aria-current", "page")
    await page.evaluate("preview.page().mark()")
    await expect(tabs).to_have_text(["首页", "话…"])
    await expect(page.locator(".dot")).to_be_visible()
    await expect(page.locator(".tabs")).to_have_css("background-color", "rgb(4, 5, 6)")
    await expect(tabs.nth(1)).to_have_css("color", "rgb(1, 2, 3)")
    await program.locator("#go").click()
    await expect(tabs).to_have_count(0)
    assert await page.evaluate("preview.errors") == []


async def test_what_cannot_be_built_or_asked_is_told_where_the_program_would_be(page: Page, preview: str) -> None:
    for address, words in [
        ("program?app=none", 'There is no mini program "none" here'),
        ("program?app=broken", "broken on purpose"),
        ("program?app=broken", "program/page.js:2"),
        ("program?profile=nokia", "profile=nokia: it is one of android,"),
        ("program?gateway=https://elsewhere.example", "only one on this machine"),
    ]:
        await page.goto(preview + address)
        await expect(page.locator(".preview-problems")).to_contain_text(words)
