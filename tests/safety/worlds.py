"""Checkers to put to the proof, each with the part that it asks: real servers on real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import listening

from dazi.safety import Checker, Passage, Verdict
from dazi.safety.endpoint import HttpChecker
from dazi.safety.function import FunctionChecker
from dazi.safety.wechat import WeChatChecker
from dazi.safety.words import WordList
from dazi.upstream import Asker, Lifecycle
from dazi.wechat import FakeWeChat, WeChat

RISKY, REVIEW, FINE = "有一个违禁词", "有一个疑似的词", "今天天气很好"
APP, SECRET = "wx1234567890abcd", "an-app-secret-of-32-characters-x"
Scope = MutableMapping[str, Any]  # Any: ASGI


def judge(text: str) -> Verdict:
    """What all of these checkers find."""
    return "risky" if "违禁" in text else "review" if "疑似" in text else "pass"


class Server:
    """A checker's server as docs/safety.md describes it.

    `questions` is what it was asked; `answer` what it says instead of a verdict: a status and a body; `is_slow` whether it
    answers only when `released`.
    """

    def __init__(self) -> None:
        self.questions: list[dict[str, Any]] = []  # Any: JSON
        self.headers: list[dict[bytes, bytes]] = []
        self.answer: tuple[int, bytes] | None = None
        self.is_slow = False
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Scope]], send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.questions.append(json.loads(body))
        self.headers.append(dict(scope["headers"]))
        while self.is_slow:
            if (await receive())["type"] == "http.disconnect":
                self.left.set()
                return
        status, said = self.answer or (200, json.dumps({"verdict": judge(self.questions[-1]["text"])}).encode())
        headers = [(b"location", b"/elsewhere"), (b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": said})


@dataclass
class World:
    """A checker, who asks it, and what can be done to it. None: that cannot happen to this one."""

    checker: Checker
    asker: Asker = field(default_factory=lambda: Asker("local"))
    knows_review: bool = True
    go_down: Callable[[], None] | None = None
    use_up: Callable[[], None] | None = None
    get_stuck: Callable[[], None] | None = None
    # Whether a question has reached what it asks, and whether it has let go of one that was given up.
    is_asked: Callable[[], object] = lambda: True
    has_let_go: Callable[[], bool] = lambda: True


@asynccontextmanager
async def words() -> AsyncIterator[World]:
    yield World(WordList(["违禁"]), knows_review=False)


@asynccontextmanager
async def http() -> AsyncIterator[World]:
    server = Server()
    async with listening(server) as port:

        def answer(status: int) -> Callable[[], None]:
            return lambda: setattr(server, "answer", (status, b"{}"))

        checker = HttpChecker(f"http://127.0.0.1:{port}/judge", key="a-key")
        yield World(
            checker,
            go_down=answer(500),
            use_up=answer(429),
            get_stuck=lambda: setattr(server, "is_slow", True),
            is_asked=lambda: server.questions,
            has_let_go=server.left.is_set,
        )
        await checker.close()


@asynccontextmanager
async def async_function() -> AsyncIterator[World]:
    stuck, asked, left, broken = (asyncio.Event() for _ in range(4))

    async def check(passage: Passage) -> Verdict:
        asked.set()
        if broken.is_set():
            raise ValueError(passage.text)
        try:
            if stuck.is_set():
                await asyncio.Event().wait()
        finally:
            left.set()
        return judge(passage.text)

    yield World(
        FunctionChecker(check),
        go_down=broken.set,
        get_stuck=stuck.set,
        is_asked=asked.is_set,
        has_let_go=left.is_set,
    )


@asynccontextmanager
async def function() -> AsyncIterator[World]:
    stuck, asked, broken, go_on = (threading.Event() for _ in range(4))

    def check(passage: Passage) -> Verdict:
        asked.set()
        if broken.is_set():
            raise ValueError(passage.text)
        if stuck.is_set():
            go_on.wait(10)
        return judge(passage.text)

    yield World(FunctionChecker(check), go_down=broken.set, get_stuck=stuck.set, is_asked=asked.is_set)
    go_on.set()


@asynccontextmanager
async def wechat() -> AsyncIterator[World]:
    fake = FakeWeChat({APP: SECRET}, checks=40)
    async with listening(fake) as port:
        client = WeChat({APP: SECRET}, url=f"http://127.0.0.1:{port}")
        login = await client.login(fake.mint("anna"))

        def use_up() -> None:
            fake.checks = 0

        yield World(
            WeChatChecker(client),
            Asker("wx:anna", login.appid, login.openid),
            go_down=lambda: setattr(fake, "is_down", True),
            use_up=use_up,
        )
        await client.close()


WORLDS: Mapping[str, Callable[[], Any]] = {  # Any: an async context manager of a World
    "words": words,
    "http": http,
    "function": function,
    "async function": async_function,
    "wechat": wechat,
}


@asynccontextmanager
async def opened(checker: Checker) -> AsyncIterator[Checker]:
    """Open a checker, if it can be, and close it."""
    if isinstance(checker, Lifecycle):
        await checker.open()
    yield checker
    if isinstance(checker, Lifecycle):
        await checker.close()
