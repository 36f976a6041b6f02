"""Take the pictures of the documents anew: docs/images/*.png, of the real gateway in a real Chromium.

usage: .venv/bin/python scripts/screenshots.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
PORT = 18990
URL = f"http://127.0.0.1:{PORT}/"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUESTION = "打字机效果是怎么做到的？"


def main() -> None:
    """Serve the demo, ask, and look."""
    command = [str(Path(sys.executable).with_name("dazi")), "serve", "--model", "demo", "--port", str(PORT)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as gateway, sync_playwright() as playwright:
        try:
            wait_ready()
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            IMAGES.mkdir(parents=True, exist_ok=True)
            take(browser, "chat-phone-light", width=390, scheme="light", finished=False)
            take(browser, "chat-phone-dark", width=390, scheme="dark", finished=True)
            browser.close()
        finally:
            gateway.terminate()


def wait_ready() -> None:
    """Wait until the gateway answers."""
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{URL}health/ready", timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise SystemExit("The gateway did not start.")


def take(browser: Browser, name: str, *, width: int, scheme: str, finished: bool) -> None:
    """Ask the question and take the picture, in mid-answer or after it."""
    page = browser.new_page(
        viewport={"width": width, "height": 780},
        color_scheme=scheme,  # type: ignore[arg-type]  # its Literal of words
        locale="zh-CN",
        device_scale_factor=2,
    )
    page.goto(URL)
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    state = "ended" if finished else "streaming"
    answer = page.wait_for_selector(f".turn:last-child [data-answer][data-state={state}]", state="attached")
    while answer is not None and not finished and answer.evaluate("element => element.shownText.length") < 150:
        page.wait_for_timeout(50)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
