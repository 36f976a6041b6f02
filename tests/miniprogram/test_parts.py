"""Each built-in component, each call of `wx`, each part of the language, as the base library's documents say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import expect
from tests.miniprogram.conftest import Programs
from tests.miniprogram.preview import FIXTURE, Program

_DRAG = "on => on.dispatchEvent(new TouchEvent('touchmove', { bubbles: true, touches: [new Touch({ identifier: 1, target: on, clientX: 1 })] }))"
ORDERS = FIXTURE.parent / "orders.json"


@pytest.fixture
async def parts(program: Programs) -> Program:
    return await program("fixture").open(page="pages/parts/index")


@pytest.fixture
async def calls(program: Programs) -> Program:
    return await program("fixture").open(page="pages/calls/index", theme="light")


async def told(program: Program, name: str) -> list[Any]:
    """What the handler of the component `name` got: its events' types and details."""
    return [[type_, detail] for by, type_, detail in await program.ask("preview.page().told") if by == name]


async def answer(calls: Program) -> Any:
    await expect(calls.find("#told")).not_to_have_text("")
    return json.loads(await calls.find("#told").inner_text())


async def test_choices_tell_what_was_chosen_and_a_form_all_of_it(parts: Program) -> None:
    for target in ("#switch", "#red", "#small"):
        await parts.tap(target)
    await parts.tap("#picker")
    await parts.tap(".preview-picker-item >> nth=1")
    await parts.tap(".preview-picker-confirm")
    await expect(parts.find("#picker")).to_have_attribute("role", "button")
    assert await told(parts, "switch") == [["change", {"value": True}]]
    assert await told(parts, "checkbox-group") == [["change", {"value": ["red", "blue"]}]]
    assert await told(parts, "radio-group") == [["change", {"value": "small"}]]
    assert await told(parts, "picker") == [["change", {"value": "1"}]]
    await parts.page.fill("#word input", "词")
    await parts.tap("#submit")
    chosen = {
        "word": "词",
        "lines": "",
        "on": True,
        "colours": ["red", "blue"],
        "size": "small",
        "much": 3,
        "which": "1",
    }
    assert (await told(parts, "form"))[-1] == ["submit", {"value": chosen}]
    await parts.tap("#reset")
    assert await parts.page.input_value("#word input") == ""
    await expect(parts.find("#switch")).to_have_attribute("aria-checked", "false")


async def test_fields_hold_what_they_may_and_a_textarea_grows(parts: Program) -> None:
    field = parts.find("#word input")
    await field.press("End")
    await field.press_sequentially("defg")
    assert await field.input_value() == "abcde"
    area = parts.find("#lines-in textarea")
    before = await area.evaluate("element => element.clientHeight")
    await area.fill("1\n2\n3")
    assert await area.evaluate("element => element.clientHeight") > before * 2
    assert (await told(parts, "textarea"))[-1][1]["lineCount"] == 3


async def test_a_word_that_is_being_composed_is_told_when_it_stands(program: Programs) -> None:
    fixture = await program("fixture").open()
    await fixture.find("#field input").focus()
    session = await fixture.page.context.new_cdp_session(fixture.page)
    await session.send("Input.imeSetComposition", {"text": "ni h", "selectionStart": 4, "selectionEnd": 4})
    assert await fixture.ask("preview.data().typed") == ""
    await session.send("Input.insertText", {"text": "你好"})
    await fixture.until("preview.data().typed === '你好'")


async def test_the_keyboard_is_told_and_makes_its_way(program: Programs) -> None:
    parts = await program("fixture").open(page="pages/parts/index", keyboard=1)
    await parts.find("#word input").focus()
    await expect(parts.find(".preview-keyboard")).to_be_visible()
    await parts.find("#word input").blur()
    await expect(parts.find(".preview-keyboard")).to_have_count(0)
    heights = [detail["height"] for type_, detail in await told(parts, "input") if type_ == "keyboardheightchange"]
    assert heights == [291, 0]


async def test_taps_presses_and_disabled_buttons(parts: Program) -> None:
    await parts.find("#off").click(force=True)
    await parts.tap("#busy")
    assert (await told(parts, "disabled"), [type_ for type_, _ in await told(parts, "mini")]) == ([], ["tap"])
    await parts.find("#pressed").hover()
    await parts.page.mouse.down()
    assert await parts.ask("getComputedStyle(document.querySelector('#pressed')).backgroundColor") == "rgb(9, 9, 9)"
    await parts.until("preview.page().told.some(([, type]) => type === 'longpress')")
    await parts.page.mouse.up()
    assert [type_ for type_, _ in await told(parts, "view")] == ["longpress"], (
        "who listens for a long press gets no tap"
    )
    await expect(parts.find("#pressed")).to_have_role("button")


async def test_a_scroll_view_is_scrolled_measured_and_told_of(parts: Program) -> None:
    await parts.tap("#last")
    await parts.until("preview.page().scrollTop === 60")
    measured = await parts.ask("preview.page().measured")
    assert (measured["rows"]["height"], measured["rows"]["scrollTop"]) == ("100px", 0)
    assert measured["rows"]["scrollHeight"] >= 800
    assert (measured["picture"]["width"], measured["nobody"]) == (30, None)
    await parts.ask("preview.page().setData({ top: 9999 })")
    await parts.until("preview.page().told.some(([name]) => name === 'scroll-view')")
    assert await told(parts, "scroll-view") == [["scrolltolower", {"direction": "bottom"}]]


async def test_a_page_hears_that_it_is_scrolled_and_that_it_ends(parts: Program) -> None:
    await parts.page.set_viewport_size({"width": 390, "height": 300})
    await parts.ask("scrollTo(0, 40)")
    await parts.until("preview.page().pageScrolled === 40")
    assert await parts.ask("preview.page().reached") is None
    await parts.ask("scrollTo(0, 9999)")
    await parts.until("preview.page().reached === 1")


async def test_rich_text_trusts_only_what_the_documents_list(parts: Program) -> None:
    await expect(parts.find("#rich")).to_have_text("1 < 2")
    await expect(parts.find("#rich p")).to_have_css("color", "rgb(8, 8, 8)")
    await expect(parts.find("#rich p")).to_have_css("width", "39px")
    await expect(parts.find("#rich script")).to_have_count(0)
    await parts.until("preview.page().told.some(([name, type]) => name === 'image' && type === 'load')")


async def test_calls_answer_as_wechat_does(calls: Program) -> None:
    await calls.tap("#all")
    got = await answer(calls)
    assert got == {
        "gone": "getStorage:fail data not found",
        "data": {"deep": [1]},
        "keys": ["one"],
        "removed": "",
        "clipboard": "文本",
        "hasCode": True,
        "windowWidth": 390,
        "windowHeight": 760,
        "above": 44,
        "theme": "light",
        "networkType": "wifi",
        "nowhere": 'navigateTo:fail page "pages/none/index" is not found',
        "scanned": "scanCode:fail it is not in this preview",
        "marked": "setTabBarBadge:fail not TabBar page",
        "wrong": "function",
        "can": [True, False, False, "undefined"],
        "platform": "android",
        "develop": "develop",
        "absent": ["undefined"] * 4,
    }
    assert (await calls.ask("preview.bar().title"), await calls.notes("clipboard")) == ("新", ["文本"])


async def test_dialogs_are_answered_by_a_tap(calls: Program) -> None:
    for asking, tapped, expected in [
        ("#modal", ".preview-modal-confirm", {"confirm": True, "cancel": False}),
        ("#modal", ".preview-modal-cancel", {"confirm": False, "cancel": True}),
        ("#sheet", ".preview-sheet-item >> nth=1", {"tapIndex": 1}),
        ("#sheet", ".preview-sheet-cancel", {"errMsg": "showActionSheet:fail cancel"}),
    ]:
        await calls.tap(asking)
        await calls.tap(tapped)
        await expect(calls.find("#told")).to_have_text(json.dumps(expected, separators=(",", ":")))
        await expect(calls.find(".preview-overlay")).to_have_count(0)


async def test_pictures_are_looked_at_one_after_the_other(calls: Program) -> None:
    await calls.tap("#picture")
    for _ in range(2):
        await calls.until("document.querySelector('.preview-picture-image').naturalWidth > 0")
        await calls.tap(".preview-picture")
    await expect(calls.find(".preview-picture")).to_have_count(0)


async def test_a_toast_is_seen_and_noted(calls: Program) -> None:
    await calls.tap("#toast")
    await expect(calls.find(".preview-toast")).to_contain_text("已复制")
    assert await calls.notes("toast") == ["已复制"]
    await expect(calls.find(".preview-toast")).to_have_count(0)


async def test_who_listens_hears_of_network_theme_and_keyboard(calls: Program) -> None:
    await calls.ask(
        "(preview.offline(), preview.online(), preview.theme('dark'), preview.keyboard(300), preview.keyboard(0))"
    )
    assert await calls.ask("preview.page().heard") == [
        ["network", {"isConnected": False, "networkType": "none"}],
        ["network", {"isConnected": True, "networkType": "wifi"}],
        ["theme", {"theme": "dark"}],
        ["keyboard", 300],
        ["keyboard", 0],
    ]


async def test_the_language_of_templates(program: Programs) -> None:
    page = await program("fixture").open(page="pages/language/index")
    await expect(page.find("#wxs")).to_have_text("aa true 12 X!")
    await expect(page.find(".row")).to_have_text(["0:a", "1:b"])
    await page.tap("#paths")
    await expect(page.find("#if")).to_have_text("many")
    await expect(page.find(".row")).to_have_text(["0:A", "1:b", "2:c"])
    await page.until("preview.page().called === 3")
    assert await page.ask("[preview.page().selected, preview.page().name()]") == ["题", "behavior"]
    await page.tap("#bubble")
    await page.tap("#caught")
    await page.tap("#by-wxs")
    assert await page.ask("preview.page().taps") == ["inner", "outer", "inner", "wxs tap"]
    await page.page.fill("#model input", "新题")
    await expect(page.find("#box")).to_contain_text("新题")
    counts = await page.set_data()
    assert counts["bytes"] == len('{"n":2,"list[0].name":"A","list[2]":{"id":3,"name":"c"}}')
    await page.check_clean()


async def test_what_moves(program: Programs) -> None:
    """Animations, WXS that moves elements without `setData`, a swiper of itself, a canvas, and what comes into sight."""
    page = await program("fixture").open()
    await page.ask("preview.page().move()")
    await page.until("preview.page().told[0] === '你好' && preview.page().drawn === 255")
    style = "getComputedStyle(document.querySelector({!r})).{}"
    await page.until(style.format("#animated", "transform") + " === 'matrix(2, 0, 0, 2, 30, 0)'")
    assert await page.ask(style.format("#animated", "opacity")) == "0.5"
    dragged = page.find(".dragged")
    await expect(dragged).to_have_css("width", "10px")
    await page.ask("preview.page().setData({ count: 3 })")
    await expect(dragged).to_have_css("width", "30px")
    for _ in range(2):
        await dragged.evaluate(_DRAG)
    await expect(dragged).to_have_css("margin-left", "39px")
    await expect(dragged).to_have_css("font-size", "12px")
    await expect(dragged).to_have_css("color", "rgb(4, 5, 6)")
    await page.until("preview.page().turns > 2")
    assert await page.ask("preview.page().first") == {"current": 1, "source": "autoplay", "currentItemId": "at-1"}
    await expect(page.find("#swiper .preview-dots i")).to_have_count(3)
    await page.tap("#region")
    await page.find(".preview-picker-field").last.fill("福田区")
    await page.tap(".preview-picker-confirm")
    await expect(page.find("#region")).to_have_text("福田区")
    for button in ("#share", "#phone"):
        await page.tap(button)
    assert await page.notes("share") == [{"title": "button 这里", "path": "/pages/index/index"}]
    await page.ask("scrollTo(0, 9999)")
    await page.until("preview.page().told.at(-1) === true")
    told = ["你好", "一", "一", "getPhoneNumber:fail it is not in this preview", True]
    assert await page.ask("[preview.page().told, preview.errors, preview.missing]") == [
        told,
        [],
        ['<button open-type="getPhoneNumber">'],
    ]
    await page.ask("preview.back()")
    assert (await page.ask("preview.page().told"))[-2:] == ["听见了", "show"]


async def test_a_component_is_called_in_the_base_librarys_order(program: Programs) -> None:
    page = await program("fixture").open(page="pages/orders/index")
    await page.ask("preview.page().show()")
    await page.until("preview.page().probe.noted.includes('ready')")
    await page.ask("preview.page().probe.act()")
    await page.until("preview.page().probe.noted.includes('called back')")
    await page.ask("preview.page().hide()")
    # preview/test/orders.test.ts asks the same of WeChat's older engine.
    assert await page.ask("preview.page().probe.noted") == json.loads(ORDERS.read_text("utf-8"))
