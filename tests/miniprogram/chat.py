"""The example mini program in the preview, as a person uses it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, expect
from tests.miniprogram.preview import Program

# What the machine may add to anything here, being busy.
PATIENCE = 20.0
ANSWER = "wx-dazi-message"
_RUNNING = "[aria-label=停止]"


class Chat:
    """Its chat page. `answer` is the newest; what it shows is compared with what the model said, to the character."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.answer = program.find(ANSWER).last

    async def open(self, gateway: str, **parameters: str | int) -> None:
        await self.program.open(gateway, **parameters)

    async def ask(self, question: str) -> None:
        await self.program.page.fill("wx-textarea textarea", question)
        await self.tap("发送")

    async def tap(self, label: str) -> None:
        """Tap what is labelled so, as a screen reader would say it."""
        await self.labelled(label).last.click()

    def labelled(self, label: str) -> Locator:
        return self.program.find(f"[aria-label={label}]")

    async def shown(self) -> str:
        """What the newest answer shows, to the character."""
        return str(await self.answer.evaluate("element => element.textContent"))

    async def until_shown(self, text: str) -> None:
        """Wait until this stands at the beginning of the newest answer."""
        script = f"text => [...document.querySelectorAll('{ANSWER}')].pop()?.textContent.startsWith(text)"
        await self.program.page.wait_for_function(script, arg=text, timeout=PATIENCE * 1000)

    async def until_over(self) -> None:
        """Wait until the newest answer has ended, and all of it is typed."""
        await expect(self.program.find(_RUNNING)).to_have_count(0, timeout=60_000)
        await expect(self.program.find("[class*=typing]")).to_have_count(0, timeout=PATIENCE * 1000)

    async def until_ended(self, text: str) -> None:
        """Wait until the newest answer is over, and check that it shows exactly this."""
        await self.until_over()
        assert await self.shown() == text

    async def says(self, words: str) -> None:
        """Wait until this is on the screen."""
        await expect(self.program.find("wx-page").last).to_contain_text(words, timeout=PATIENCE * 1000)

    async def kill_and_reopen(self, gateway: str, **parameters: str | int) -> None:
        """The platform ends the program; somebody opens it again. What it has stored is there."""
        await self.program.open(gateway, **{"fresh": 0, **parameters})

    async def set_data(self) -> dict[str, Any]:
        return await self.program.set_data()
