"""Take the pictures of the documents anew: docs/images/*.png, of the real gateway in a real Chromium, while a load runs.

The dashboard's pictures are those of its queries, answered by a real Prometheus and drawn here: Grafana itself is not needed.

usage: .venv/bin/python scripts/screenshots.py [chat] [admin] [dashboard]
"""

from __future__ import annotations

import html
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PORT, PROMETHEUS = 18990, 18991
URL = f"http://127.0.0.1:{PORT}/"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUESTION = "打字机效果是怎么做到的？"
# Seconds of load before the pictures of the operator's side.
LOAD = 75
# Models of several houses, played by custom upstreams: one of them fails often, and rests.
MODELS = """
import asyncio, random
from dazi import create_app
from dazi.errors import UpstreamError
from dazi.events import Usage
from dazi.safety.plan import Safety
from dazi.settings import Settings
from dazi.upstream import Finish
from dazi.upstream.balance import Seat
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.member import Bounds, Member
from dazi.upstream.pool import Pool, Rules

class House:
    def __init__(self, fails, wait):
        self.fails, self.wait = fails, wait
    async def generate(self, prompt, sink):
        await asyncio.sleep(random.expovariate(1 / self.wait))
        if random.random() < self.fails:
            raise UpstreamError(random.choice(["upstream_timeout", "upstream_unavailable"]), "It does not answer.", retryable=True)
        pieces = random.randint(60, 240)
        for _ in range(pieces):
            sink.text("打字")
            await asyncio.sleep(random.expovariate(20))
        return Finish("stop", Usage(prompt_tokens=40, completion_tokens=pieces, total_tokens=40 + pieces))

houses = {"deepseek": House(0.02, 0.4), "qwen": House(0.05, 0.6), "own": House(0.9, 0.2)}
members = [Member(name, house, Bounds(concurrency=64, failures=4, cooldown=20)) for name, house in houses.items()]
app = create_app(
    {"chat": Pool([Seat(member, "chat", "m") for member in members], Rules(backoff=0)), "demo": DemoUpstream()},
    settings=Settings(
        log="sqlite:///pictures.db", fsync="normal", running_total=32, queue=3, safety=Safety(words=("words.txt",), mode="show")
    ),
)
"""


def main() -> None:
    """Take those that are named, or all."""
    wanted = set(sys.argv[1:]) or {"chat", "admin", "dashboard"}
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        if "chat" in wanted:
            with running(
                [str(Path(sys.executable).with_name("dazi")), "serve", "--model", "demo", "--port", str(PORT)]
            ):
                take_chat(browser, "chat-phone-light", scheme="light", finished=False)
                take_chat(browser, "chat-phone-dark", scheme="dark", finished=True)
        if wanted & {"admin", "dashboard"}:
            take_operators(browser, wanted)
        browser.close()


@contextmanager
def running(command: list[str], folder: Path | None = None, url: str = f"{URL}health/ready") -> Iterator[None]:
    """Run a server until the block is left."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            wait_ready(url)
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def wait_ready(url: str) -> None:
    """Wait until a server answers."""
    for _ in range(400):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{url} does not answer.")


def take_chat(browser: Browser, name: str, *, scheme: str, finished: bool) -> None:
    """Ask the question and take the picture, in mid-answer or after it."""
    page = tab(browser, width=390, height=780, scheme=scheme)
    page.goto(URL)
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    state = "ended" if finished else "streaming"
    answer = page.wait_for_selector(f".turn:last-child [data-answer][data-state={state}]", state="attached")
    while answer is not None and not finished and answer.evaluate("element => element.shownText.length") < 150:
        page.wait_for_timeout(50)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def tab(browser: Browser, *, width: int, height: int, scheme: str = "light") -> Page:
    """Open a tab as a person in China would."""
    return browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]  # its Literal of words
        locale="zh-CN",
        device_scale_factor=2 if width < 800 else 1,
    )


def take_operators(browser: Browser, wanted: set[str]) -> None:
    """Put a load on a gateway, and look at the operator's page and at what the dashboard asks."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pictures.py").write_text(MODELS, "utf-8")
        (folder / "words.txt").write_text("never said\n")
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 2s}}\nscrape_configs: [{{job_name: dazi, static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]}}]\n"
        )
        uvicorn = [sys.executable, "-m", "uvicorn", "pictures:app", "--port", str(PORT), "--log-level", "error"]
        prometheus = [
            *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        ]
        with running(uvicorn, folder), running(prometheus, folder, f"http://127.0.0.1:{PROMETHEUS}/-/ready"), load():
            page = tab(browser, width=1180, height=1400)
            page.goto(f"{URL}admin")
            page.wait_for_timeout(LOAD * 1000)
            if "admin" in wanted:
                page.evaluate(
                    "const rows = document.querySelectorAll('#live tbody tr:nth-child(n+9)'); rows.forEach(row => row.hidden = true)"
                )
                page.screenshot(path=IMAGES / "admin.png")
            if "dashboard" in wanted:
                draw_dashboard(tab(browser, width=1180, height=200))


@contextmanager
def load() -> Iterator[None]:
    """Let some forty people ask, wait, leave and come back, until the block is left."""
    over = threading.Event()
    people = [threading.Thread(target=ask_on, args=(over, random.Random(number))) for number in range(40)]  # noqa: S311  # a load
    for person in people:
        person.start()
    try:
        yield
    finally:
        over.set()
        for person in people:
            person.join()


def ask_on(over: threading.Event, rng: random.Random) -> None:
    """Ask, and read on; sometimes leave and come back, sometimes stop it."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "?"}]}
    with httpx.Client(base_url=URL, trust_env=False, timeout=60) as client:
        while not over.wait(rng.uniform(0, 4)):
            try:
                one(client, body, rng)
            except httpx.HTTPError:
                continue


def one(client: httpx.Client, body: dict[str, Any], rng: random.Random) -> None:
    """Ask once; who is refused, because too many wait, tries again later."""
    begun = client.post("v1/generations", json=body, headers={"Accept": "application/json"})
    if begun.status_code != 202:
        return
    path = begun.json()["events"]
    if rng.random() < 0.3:
        with client.stream("GET", f"{path}?max={rng.randint(1, 3)}") as stream:
            stream.read()
    if rng.random() < 0.1:
        client.post(f"{path.removesuffix('events')}abort")
    client.get(f"{path}?after=1-1")


Points = list[tuple[float, float]]


def draw_dashboard(page: Page) -> None:
    """Ask Prometheus what the dashboard asks, and draw the answers in its grid."""
    panels = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))["panels"]
    drawn = "".join(panel_of(panel) for panel in panels)
    style = """body { margin: 0; padding: 16px; background: #f4f5f5; font: 12px system-ui, sans-serif; color: #24292e }
      main { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px } section { background: #fff; border: 1px solid #d8d9da; border-radius: 2px; padding: 8px }
      h2 { font-size: 13px; margin: 0 0 4px; font-weight: 500 } svg { width: 100%; height: 110px; display: block } p { margin: 2px 0 0; color: #6e7b8b; height: 28px; overflow: hidden }"""
    page.set_content(f"<style>{style}</style><main>{drawn}</main>")
    page.screenshot(path=IMAGES / "dashboard.png", full_page=True)


COLOURS = ("#07a35a", "#3871dc", "#e0752d", "#c4162a", "#8f3bb8", "#b8a100")


def panel_of(panel: dict[str, Any]) -> str:
    """Draw one panel."""
    series = [line for target in panel["targets"] for line in lines_of(target["expr"])]
    top = max((value for _, points in series for _, value in points), default=1.0) or 1.0
    paths, names = "", ""
    for (name, points), colour in zip(series, COLOURS * 4, strict=False):
        paths += f'<path d="{path_of(points, top)}" fill="none" stroke="{colour}" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
        names += f'<span style="color:{colour}">■</span> {html.escape(name)} {points[-1][1]:.3g} &nbsp;'
    grid = "".join(
        f'<path d="M0 {y}H300" stroke="#eee" vector-effect="non-scaling-stroke"/>' for y in (0, 25, 50, 75, 100)
    )
    unit = {"s": " s", "reqps": "/s"}.get(panel["fieldConfig"]["defaults"].get("unit", ""), "")
    return (
        f"<section><h2>{html.escape(panel['title'])} <small style='color:#9aa'>≤ {top:.3g}{unit}</small></h2>"
        f'<svg viewBox="0 0 300 100" preserveAspectRatio="none">{grid}{paths}</svg><p>{names}</p></section>'
    )


def lines_of(query: str) -> list[tuple[str, Points]]:
    """Ask Prometheus for the last minute of a query."""
    end = time.time()
    asked = {"query": query.replace("$__rate_interval", "15s"), "start": end - 60, "end": end, "step": 2}
    with urllib.request.urlopen(
        f"http://127.0.0.1:{PROMETHEUS}/api/v1/query_range?{urllib.parse.urlencode(asked)}", timeout=10
    ) as answer:
        found = json.load(answer)["data"]["result"]
    lines = [(name_of(one["metric"]), [(at, float(value)) for at, value in one["values"]]) for one in found]
    return [(name, points) for name, line in lines if (points := [point for point in line if math.isfinite(point[1])])]


def name_of(labels: dict[str, str]) -> str:
    """Name a line by its labels."""
    return ", ".join(value for name, value in labels.items() if name != "le") or "all"


def path_of(points: Points, top: float) -> str:
    """Write a line as SVG does, over the last minute."""
    end = points[-1][0]
    return "".join(
        f"{'L' if number else 'M'}{300 - (end - at) * 5:.1f} {100 - 95 * value / top:.1f}"
        for number, (at, value) in enumerate(points)
    )


if __name__ == "__main__":
    main()
