"""A film of a page, as an animated WebP whose frames hold only what has changed; Chromium encodes them."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from time import monotonic

from playwright.async_api import CDPSession, FloatRect, Page

# CSS pixels: the phone's bars at the top, two lines of text, and what is below an answer.
_BAR = 90
_LAST_LINES = 90
_FOOT = 70


@dataclass(slots=True)
class Shot:
    """A frame: how far down it is, in pixels of the picture, its WebP, and how long it stands."""

    y: int
    data: bytes
    milliseconds: int = 0


class Film:
    """What a phone shows, frame by frame."""

    def __init__(self, page: Page, session: CDPSession, clip: FloatRect, scale: float) -> None:
        self._page = page
        self._session = session
        self._clip = clip
        self._scale = scale
        self._shots: list[Shot] = []
        self._taken = 0.0
        self._answer = (0.0, 0.0)

    @classmethod
    async def of(cls, page: Page, clip: FloatRect) -> Film:
        """A film of this part of a page."""
        session = await page.context.new_cdp_session(page)
        await session.send("Emulation.setDefaultBackgroundColorOverride", {"color": {"r": 0, "g": 0, "b": 0, "a": 0}})
        return cls(page, session, clip, float(await page.evaluate("devicePixelRatio")))

    async def whole(self, for_milliseconds: int = 0) -> None:
        """Take all of it; it stands so long, or until the next frame."""
        self._answer = await self._measure()
        await self._take(0, self._clip["height"])
        if for_milliseconds:
            self._shots[-1].milliseconds = for_milliseconds
            self._taken = 0.0

    async def next(self) -> None:
        """Take what may have changed: all that moves with the list, or what is around the answer's end."""
        top, bottom = await self._measure()
        has_moved = top != self._answer[0]
        begin = _BAR if has_moved else self._answer[1] - _LAST_LINES
        self._answer = (top, bottom)
        await self._take(begin, self._clip["height"] if has_moved else bottom + _FOOT)

    async def _measure(self) -> tuple[float, float]:
        """Where the newest answer begins and ends, from the clip's top on."""
        script = """() => {
            const answer = [...document.querySelectorAll('wx-dazi-message')].pop()
            const { top, bottom } = answer ? answer.getBoundingClientRect() : { top: 0, bottom: 0 }
            return [top, bottom]
        }"""
        top, bottom = await self._page.frames[1].evaluate(script)
        box = await self._page.locator("iframe").bounding_box()
        above = (box["y"] if box else 0) - self._clip["y"]
        return top + above, bottom + above

    async def _take(self, top: float, bottom: float) -> None:
        # A frame's place is told in steps of two pixels.
        step = 2 * 3 / self._scale
        top = max(0, top // step * step)
        bottom = min(self._clip["height"], bottom)
        clip = {
            "x": self._clip["x"],
            "y": self._clip["y"] + top,
            "width": self._clip["width"],
            "height": bottom - top,
            "scale": self._scale,
        }
        taken = await self._session.send(
            "Page.captureScreenshot", {"format": "webp", "quality": 82, "clip": clip, "captureBeyondViewport": False}
        )
        now = monotonic()
        if self._shots and self._taken:
            self._shots[-1].milliseconds = round((now - self._taken) * 1000)
        self._taken = now
        self._shots.append(Shot(round(top * self._scale), base64.b64decode(taken["data"])))

    def webp(self) -> bytes:
        """Put it together, as developers.google.com/speed/webp/docs/riff_container says."""
        width, height = (round(self._clip[side] * self._scale) for side in ("width", "height"))
        header = chunk(b"VP8X", bytes([0b10010, 0, 0, 0]) + three(width - 1) + three(height - 1))
        frames = b"".join(map(animation_frame, self._shots))
        body = b"WEBP" + header + chunk(b"ANIM", bytes(6)) + frames
        return b"RIFF" + struct.pack("<I", len(body)) + body


def animation_frame(shot: Shot) -> bytes:
    """A still picture's chunks, with where and how long."""
    width, height, chunks = parts(shot.data)
    # Do not blend: what is here takes the place of what was.
    where = three(0) + three(shot.y // 2) + three(width - 1) + three(height - 1)
    return chunk(b"ANMF", where + three(shot.milliseconds) + bytes([0b10]) + chunks)


def parts(data: bytes) -> tuple[int, int, bytes]:
    """Size, and the chunks that hold the picture."""
    kept, width, height, at = b"", 0, 0, 12
    while at < len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        content = data[at + 8 : at + 8 + size]
        if name == b"VP8 ":
            width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 6))
        elif name == b"VP8L":
            bits = struct.unpack_from("<I", content, 1)[0]
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if name in {b"VP8 ", b"VP8L", b"ALPH"}:
            kept += chunk(name, content)
        at += 8 + size + size % 2
    return width, height, kept


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of RIFF, padded to an even length."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def three(value: int) -> bytes:
    """A number of 24 bits."""
    return value.to_bytes(3, "little")
