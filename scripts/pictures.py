"""Take the pictures of the mini program anew, into docs/images: of the program itself, in the preview, at a real gateway.

usage: .venv/bin/python scripts/pictures.py
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from urllib.parse import urlencode

import uvicorn
from film import Film
from playwright.async_api import Browser, FloatRect, Page, async_playwright

from dazi import Prompt, Reasoning, create_app
from dazi.errors import UpstreamError
from dazi.settings import Settings
from dazi.web.app import App
from dazi.wechat import FakeWeChat

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# CSS pixels that the phone's frame takes around it.
FRAME = 12
APP, APP_SECRET = "wx0123456789abcdef", "the-secret-of-the-app"

QUESTION = "打字机效果是怎么做到的？"
THOUGHT = "先说清楚三件事：字节、位置、人看到的字。再给一段代码和一张表。"
ANSWER = """\
分三步，每一步都不丢一个字：

1. **按字节解码**：汉字有三个字节，网络可能从中间切开，没到齐的先留着。
2. **按位置续传**：每一段都有编号，断了就从断开的地方接着要。
3. **按人看的字显示**：👩🏽‍🚀 是一个字，不会只露出半个。

```js
createTypewriter(({ text, done }) => {
  this.setData(markdown.update(text))
})
```

| 断在哪里 | 会怎样 |
|---|---|
| 汉字中间 | 等到下一块 |
| 网络断开 | 从断处接着写 |

> 切开的都会接上，不多也不少。
"""


async def typing(prompt: Prompt) -> AsyncIterator[str | Reasoning]:
    """Type the answer; break it off where the question says so."""
    yield Reasoning(THOUGHT)
    await asyncio.sleep(0.6)
    for at in range(0, len(ANSWER), 2):
        yield ANSWER[at : at + 2]
        await asyncio.sleep(0.045)
        if at > 75 and "断" in str(prompt.messages[-1]["content"]):
            raise UpstreamError("truncated", "It broke off.", retryable=True)


async def main() -> None:
    """Serve, look, and write."""
    async with (
        listening(FakeWeChat({APP: APP_SECRET})) as wechat,
        listening(create_app({"m": typing}, settings=settings_of(wechat))) as gateway,
        previewing(wechat) as preview,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        pictures = Pictures(browser, preview, gateway)
        await pictures.welcome()
        await pictures.typed("light")
        await pictures.finished("dark")
        await pictures.recovered()
        await pictures.trouble()
        await pictures.panel("en-US", "preview")
        await pictures.panel("zh-CN", "preview.zh-CN")
        await pictures.animated()
        await browser.close()


def settings_of(wechat: str) -> Settings:
    """Settings of a gateway whose users come from a mini program."""
    return Settings(wechat_apps=(f"{APP}:{APP_SECRET}",), wechat_url=wechat, session_secrets=(secrets.token_urlsafe(),))


@asynccontextmanager
async def listening(app: App | FakeWeChat) -> AsyncIterator[str]:
    """Serve an app; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def previewing(wechat: str) -> AsyncIterator[str]:
    """The preview's server, whose users log in at a fake WeChat; gives its address."""
    program = str(ROOT / "examples" / "miniprogram")
    command = ["node", "--import", "tsx", "src/server/main.ts", "--port", "0", "--wechat", wechat, program]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT / "preview", stdout=PIPE)
    line = await process.stdout.readline() if process.stdout else b""
    found = re.search(rb"http://\S+/", line)
    try:
        yield found[0].decode() if found else ""
    finally:
        process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Pictures:
    """Takes them, each in a browser of its own."""

    browser: Browser
    preview: str
    gateway: str

    async def open(self, theme: str = "light", scale: float = 2) -> Page:
        """A phone with the program, which has just been installed."""
        page = await self.window(900, scale, "zh-CN")
        await load(page, self.address(theme=theme))
        return page

    async def window(self, width: int, scale: float, locale: str) -> Page:
        """A browser's window."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 960}, device_scale_factor=scale, locale=locale
        )
        return await context.new_page()

    def address(self, **parameters: str) -> str:
        """Where the preview shows the program, newly installed."""
        query = {"app": "miniprogram", "gateway": self.gateway, "profile": "ios", "fresh": 1, **parameters}
        return f"{self.preview}?{urlencode(query)}"

    async def welcome(self) -> None:
        """Nothing said yet."""
        page = await self.open()
        await self.take(page, "miniprogram-welcome")

    async def typed(self, theme: str) -> None:
        """In mid-answer."""
        page = await self.open(theme)
        await ask(page, QUESTION)
        await shown(page, "只露出")
        await self.take(page, f"miniprogram-{theme}")

    async def finished(self, theme: str) -> None:
        """After the end."""
        page = await self.open(theme)
        await ask(page, QUESTION)
        await ended(page)
        await self.take(page, f"miniprogram-{theme}")

    async def recovered(self) -> None:
        """The program was killed in mid-answer, and opened again."""
        page = await self.open()
        await ask(page, QUESTION)
        await shown(page, "按位置续传")
        await page.evaluate("preview.background()")
        await load(page, page.url.replace("fresh=1", "fresh=0"))
        await ended(page)
        await self.take(page, "miniprogram-recovered")

    async def trouble(self) -> None:
        """An answer that broke off."""
        page = await self.open()
        await ask(page, "断了会怎样？")
        await shown(page, "再问一次")
        await typed(page)
        await self.take(page, "miniprogram-trouble")

    async def panel(self, locale: str, name: str) -> None:
        """The preview as it is: phone and panel, in mid-answer, cut and gone on, with the chunks of one request."""
        page = await self.window(1280, 1.5, locale)
        await page.goto(self.address(theme="light", cut="random"))
        await page.evaluate("async () => (await preview).ready")
        await ask(page, QUESTION)
        await shown(page, "按字节解码")
        for _ in range(2):
            await page.locator("#offline").click()
            await page.wait_for_timeout(300)
        await shown(page, "只露出")
        await page.locator(".requests summary").first.click()
        await page.screenshot(path=IMAGES / f"{name}.png", clip={"x": 0, "y": 0, "width": 1280, "height": 892})
        await page.context.close()

    async def animated(self) -> None:
        """From the question to the end, as it was typed."""
        page = await self.open(scale=1.5)
        film = await Film.of(page, await place(page))
        await film.whole(for_milliseconds=700)
        await page.frame_locator("iframe").locator("wx-textarea textarea").fill(QUESTION)
        await film.whole(for_milliseconds=600)
        await page.frame_locator("iframe").locator("[aria-label=发送]").click()
        await page.wait_for_timeout(120)
        await film.whole()
        while await page.frame_locator("iframe").locator("[aria-label=停止]").count():
            await film.next()
        await ended(page)
        await film.whole(for_milliseconds=2500)
        (IMAGES / "miniprogram.webp").write_bytes(film.webp())
        await page.context.close()

    async def take(self, page: Page, name: str) -> None:
        """Take the picture."""
        clip = await place(page)
        await page.screenshot(path=IMAGES / f"{name}.png", clip=clip, omit_background=True)
        await page.context.close()


# Nothing but the phone, on nothing.
_ALONE = """
    html, body, .desk { background: transparent !important }
    .panel { display: none !important }
    .phone { box-shadow: 0 0 0 10px #303033 !important }
"""


async def load(page: Page, url: str) -> None:
    """Open the preview there, and take away what is not the phone."""
    await page.goto(url)
    await page.evaluate("async () => (await preview).ready")
    await page.add_style_tag(content=_ALONE)
    # A caret that blinks is not there half of the time.
    await page.frames[1].add_style_tag(content="*, ::after { animation-name: none !important }")


async def ask(page: Page, question: str) -> None:
    """Ask, as a person does."""
    program = page.frame_locator("iframe")
    await program.locator("wx-textarea textarea").fill(question)
    await program.locator("[aria-label=发送]").click()


async def shown(page: Page, text: str) -> None:
    """Wait until this is on the screen."""
    await page.frames[1].wait_for_function("text => document.body.textContent.includes(text)", arg=text, timeout=60_000)


async def ended(page: Page) -> None:
    """Wait until the answer is there, and typed."""
    program = page.frame_locator("iframe")
    await program.locator("[aria-label=重新生成]").last.wait_for(timeout=60_000)
    await typed(page)


async def typed(page: Page) -> None:
    """Wait until all that was said is typed."""
    await page.frame_locator("iframe").locator("[class*=typing]").wait_for(state="detached", timeout=60_000)


async def place(page: Page) -> FloatRect:
    """Where the phone is, with its frame."""
    box = await page.locator(".phone").bounding_box()
    if box is None:
        raise SystemExit("The preview shows no phone.")
    x, y = int(box["x"]) - FRAME, int(box["y"]) - FRAME
    return {"x": x, "y": y, "width": box["width"] + 2 * FRAME, "height": box["height"] + 2 * FRAME}


if __name__ == "__main__":
    for needed in ("scripts/build-miniprogram", "scripts/setup-preview"):
        subprocess.run(["bash", needed], cwd=ROOT, check=True)  # noqa: S607  # found on PATH on purpose
    asyncio.run(main())
