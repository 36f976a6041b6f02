"""Nothing that anybody said, and nothing secret, is in what the gateway tells of itself: logs of both formats at every level, spans, metrics.

LiteLLM 2026-03-18, #24902 (a key in a URL, and so in a trace) and #22188: every library's loggers are listened to here, louder than any
setting can make them, in success and in every failure that a client, a model's server, WeChat or the store can bring about.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from tests.conftest import listening
from tests.e2e.mock_model import MockModel
from tests.safety.worlds import Server
from tests.security.raw import Answer, ask, request
from tests.waiting import until
from tests.web.test_issuer import AUDIENCE, ISSUER, OTHER, Publisher
from tests.web.test_issuer import token as company_token

from dazi.cli.connections import Connection
from dazi.cli.logs import set_up_logging, tell_fault
from dazi.errors import RequestError
from dazi.safety import Passage, Verdict
from dazi.safety.plan import Safety
from dazi.settings import Settings
from dazi.upstream import Prompt, Upstream
from dazi.upstream.custom import Yielded, from_generator
from dazi.upstream.openai import OpenAIUpstream
from dazi.web import traces
from dazi.web.app import App, create_app
from dazi.web.frames import Framer
from dazi.wechat import FakeWeChat

KEY, ADMIN_KEY, WRONG_KEY, MODEL_KEY = (
    "wombat-key-0f3c9a7e",
    "possum-key-5d1b8246",
    "numbat-key-acf01357",
    "quokka-key-9bd2468e",
)
APP, APP_SECRET, SIGNING = (
    "wx1234567890abcd",
    "bilby-app-secret-0f3c9a7e5d1b8246",
    "potoroo-signs-the-tokens-0f3c9a7e5d1b",
)
PROMPT, ANSWER, THOUGHT, ARGUMENT = "walrus-question 海象", "narwhal-answer", "dugong-thought", "manatee-argument"
# Parts of each of these, lower case, and of what escapes would make of them.
SECRETS = {
    *(
        "wombat-key",
        "possum-key",
        "numbat-key",
        "quokka-key",
        "bilby-app",
        "potoroo",
        "walrus",
        "narwhal",
        "dugong",
        "manatee",
    ),
    *("海象", "\\u6d77", "%e6%b5%b7"),
}
GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}]}


class LoudWeChat(FakeWeChat):
    """Remembers every secret that it gave away, and repeats what it was asked when it is out of order."""

    def __init__(self) -> None:
        super().__init__({APP: APP_SECRET})
        self.given: set[str] = set()
        self.is_rude = False

    def _answer(self, path: str, query: Any, body: Any) -> Any:
        if self.is_rude:
            return {"errcode": 40013, "errmsg": f"refused: {query} {body}"}
        answer = super()._answer(path, query, body)
        self.given |= {str(answer[name]) for name in ("session_key", "access_token", "openid") if name in answer}
        return answer


@dataclass
class Ears:
    """What was heard. `secrets` grows by what is handed out on the way."""

    text: io.StringIO
    exporter: InMemorySpanExporter
    secrets: set[str] = field(default_factory=lambda: set(SECRETS))
    metrics: str = ""
    is_json: bool = False

    def check(self, *, at_least: tuple[str, ...]) -> None:
        spans = [span.to_json() for span in self.exporter.get_finished_spans()]
        heard = "\n".join((self.text.getvalue(), *spans, self.metrics))
        for word in (*at_least, "dazi_generations_ended_total", "gen_ai.request.model"):
            assert word in heard, f"nobody heard {word}"
        whole = "".join(heard.lower().split())  # a terminal breaks lines anywhere
        for secret in self.secrets:
            where = whole.find(secret.lower())
            assert where < 0, whole[max(0, where - 300) : where + 100]


@pytest.fixture(params=["text", "json"])
def ears(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ears]:
    """Listen to everything, in this format."""
    root, ours = logging.getLogger(), logging.getLogger("dazi")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    ears = Ears(io.StringIO(), InMemorySpanExporter())
    ears.is_json = request.param == "json"
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ears.exporter))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(traces, "exporting", lambda: traces.Traces(provider))
    set_up_logging(Settings(log_format=request.param, log_level="debug"), Console(file=ears.text, width=300))
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(ears.text)
    root.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    yield ears
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


async def breaks(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
    yield ANSWER
    raise ValueError(f"cannot make sense of {prompt.messages}")


async def yields_nonsense(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
    yield {ANSWER: prompt}  # type: ignore[misc]  # which is the fault


async def looks_up(prompt: Prompt) -> AsyncGenerator[Yielded, None]:
    yield str({}[prompt.messages[0]["content"]])


@dataclass
class World:
    """A gateway that is listened to, and those around it."""

    app: App
    port: int
    model: MockModel
    wechat: LoudWeChat
    ears: Ears

    async def call(self, method: str, path: str, body: object = None, /, *, key: str = KEY, **headers: str) -> Answer:
        """Call by a client that logs nothing of its own."""
        fields = [("Authorization", f"Bearer {key}")] if key else []
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode() if body else b""
        if content:
            fields.append(("Content-Type", "application/json"))
        return await ask(self.port, request(method, path, fields, content))


@asynccontextmanager
async def world(ears: Ears, log: str = "memory://", **more: Any) -> AsyncIterator[World]:  # Any: other settings
    # Which is slow, as much as it says.
    asyncio.get_running_loop().set_debug(ears.is_json and log == "memory://")
    asyncio.get_running_loop().set_exception_handler(tell_fault)
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(MockModel([ANSWER, " and more"]))
        wechat = LoudWeChat()
        settings = Settings(
            api_keys=(KEY,),
            admin_key=ADMIN_KEY,
            wechat_apps=(f"{APP}:{APP_SECRET}",),
            session_secrets=(SIGNING,),
            wechat_url=f"http://127.0.0.1:{await stack.enter_async_context(listening(wechat))}",
            log=log,
            hosts=("localhost",),
            **more,
        )
        models: dict[str, Upstream] = {
            "m": OpenAIUpstream(model.url, key=MODEL_KEY),
            "away": OpenAIUpstream("http://127.0.0.1:9/v1", key=MODEL_KEY),
            **{answer.__name__: from_generator(answer) for answer in (breaks, yields_nonsense, looks_up)},
        }
        app = create_app(models, settings=settings)
        port = await stack.enter_async_context(listening(app, Connection))
        yield World(app, port, model, wechat, ears)
        await until(lambda: app.gateway.running == 0)
        ears.metrics = (
            await World(app, port, model, wechat, ears).call("GET", "/metrics", key=ADMIN_KEY)
        ).body.decode()
        await app._wechat.close()  # type: ignore[union-attr]  # there is one


async def ask_everything(there: World, key: str = KEY, model: str = "m", *, time: int = 0) -> set[str]:
    """Make every kind of call about one answer, for the `time`-th time; returns how its streams ended."""
    ends: set[str] = set()
    body = {**GOOD, "model": model, "stream": True}
    for path in ("/v1/generations", "/v1/generations?mode=replace&encoding=utf8", "/v1/chat/completions"):
        stream = await there.call(
            "POST",
            path,
            body,
            key=key,
            Idempotency_Key=f"narwhal-{time}-{len(ends)}-{path[:14]}-{model}-{there.model.status}",
        )
        ends |= {kind for kind in ("done", "failed", "error") if f'"{kind}"' in stream.body.decode()}
        generation = (stream.named("dazi-generation") or ["none"])[0]
        for rest in ("", "/events", "/events?after=1-1", "/events?after=walrus", "/events?wait=0&narwhal=1"):
            await there.call("GET", f"/v1/generations/{generation}{rest}", key=key, Accept="application/json")
        await there.call("POST", f"/v1/generations/{generation}/abort", key=key)
    return ends


SAID: list[str | bytes] = [
    ANSWER,
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"dugong-thought"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"manatee","arguments":"manatee-argument"}}]}}]}\n\n',
]
SERVERS: dict[str, tuple[list[str | bytes], int]] = {
    "an answer": (SAID, 200),
    "a refusal that quotes the request": ([], 400),
    "a wrong key, quoted": ([], 401),
    "too many, quoted": ([], 429),
    "trouble, quoted": ([], 503),
    "a redirect": ([], 302),
    "garbage": ([ANSWER, b"data: {narwhal\n\n"], 200),
    "an error inside": ([ANSWER, b'data: {"error":{"message":"about walrus","code":"narwhal said so"}}\n\n'], 200),
    "no end": ([ANSWER, b"0\r\n\r\nnarwhal"], 200),
}


async def test_whatever_a_models_server_does(ears: Ears, tmp_path: Path) -> None:
    async with world(ears, f"sqlite:///{tmp_path}/log.db" if ears.is_json else "memory://") as there:
        ends: set[str] = set()
        for pieces, status in SERVERS.values():
            there.model.pieces, there.model.status = pieces, status
            ends |= await ask_everything(there)
        for model in ("away", "breaks", "yields_nonsense", "looks_up"):
            ends |= await ask_everything(there, model=model)
        await there.call("POST", "/v1/generations/erase")
        assert ends == {"done", "failed", "error"}
    ears.check(at_least=("failed with upstream_rejected", "ValueError", "KeyError"))


BAD_BODIES = [
    b'{"messages": [{"role": "user", "content": "' + PROMPT.encode(),
    b'{"messages": "%b"}' % PROMPT.encode(),
    json.dumps({**GOOD, "walrus": 1}).encode(),
    json.dumps({**GOOD, "temperature": PROMPT}).encode(),
    json.dumps({**GOOD, "model": "narwhal-no-such-model"}).encode(),
    b"\xff\xfe" + PROMPT.encode(),
    b"[" * 5000,
]


async def test_whatever_a_client_does_wrong(ears: Ears) -> None:
    async with world(ears) as there:
        for body in BAD_BODIES:
            for path in (
                "/v1/generations",
                "/v1/generations?inband=1",
                "/v1/chat/completions",
                "/v1/wechat/sessions",
                "/login",
            ):
                assert (await there.call("POST", path, body)).status in {200, 400, 404, 413, 422}
        for key in (WRONG_KEY, f"{KEY}x", f"{KEY}.{WRONG_KEY}.x", f"eyJhbGciOiJub25lIn0.{WRONG_KEY}."):
            assert (await there.call("GET", "/v1/models", key=key)).status == 401
            assert (await there.call("POST", "/login", {"key": key})).status == 401
            assert (await there.call("GET", "/metrics", key=key)).status == 401
        await there.call("GET", "/v1/models", key="", Cookie=f"dazi_session={WRONG_KEY}|9|{PROMPT[:6]}")
        cookie = (await there.call("POST", "/login", {"key": KEY})).named("set-cookie")[0]
        ears.secrets.add(cookie.split(";")[0].rpartition("|")[2])
        await there.call("GET", "/v1/models", key="", Cookie=cookie.split(";")[0])
        for headers in ({"Host": "walrus.example"}, {"Origin": "https://narwhal.example"}, {"Upgrade": "walrus"}):
            await there.call("GET", "/v1/models", None, **headers)
        for nonsense in (
            b"walrus narwhal\r\n\r\n",
            b"GET /walrus?key=%b HTTP/9.9\r\n\r\n" % KEY.encode(),
            b"GET / HTTP/1.1\r\n: narwhal\r\n\r\n",
        ):
            await ask(there.port, nonsense)
        await ask_everything(there)
    ears.check(at_least=("Invalid HTTP request",))


async def test_whatever_wechat_does(ears: Ears) -> None:
    async with world(ears) as there:
        code, used = there.wechat.mint("anna"), there.wechat.mint("bert")
        ears.secrets |= {code, used}
        token = (await there.call("POST", "/v1/wechat/sessions", {"code": code}, key="")).json["token"]
        ears.secrets |= {token, token.split(".")[1], token.split(".")[2]}
        assert await ask_everything(there, key=token) == {"done"}
        for body in (
            {"code": used},
            {"code": used},
            {"code": "bilby-app-code"},
            {"code": used, "appid": "potoroo-app"},
        ):
            await there.call(
                "POST",
                "/v1/wechat/sessions",
                body,
                key="",
                Referer="https://servicewechat.com/narwhal/1/page-frame.html",
            )
        wechat = there.app._wechat
        assert wechat is not None
        openid = (await wechat.login(there.wechat.mint("carl"))).openid
        assert (await wechat.check(PROMPT, openid=openid)).suggest == "pass"
        for trouble in ("is_down", "is_rude"):
            setattr(there.wechat, trouble, True)
            code = there.wechat.mint("dora")
            ears.secrets.add(code)
            assert (await there.call("POST", "/v1/wechat/sessions", {"code": code}, key="")).status in {500, 503}
            with pytest.raises(RequestError):
                await wechat.check(ANSWER, openid=openid)
            setattr(there.wechat, trouble, False)
        await wechat.close()
        wechat.__init__({APP: APP_SECRET}, url="http://127.0.0.1:9")  # type: ignore[misc]  # it is not there any more
        assert (await there.call("POST", "/v1/wechat/sessions", {"code": code}, key="")).status == 503
        assert len(there.wechat.given) >= 4  # session keys, openids and an access token
        ears.secrets |= there.wechat.given
    ears.check(
        at_least=(
            "HTTP Request: GET http://127.0.0.1",
            "/sns/jscode2session",
            "/cgi-bin/stable_token",
            "/wxa/msg_sec_check",
        )
    )


def quotes(passage: Passage) -> Verdict:
    """A checker of somebody's that cannot bear narwhals, and says why."""
    if passage.kind != "prompt" and "narwhal" in passage.text:
        raise ValueError(f"not this: {passage.text}")
    return "pass"


VERDICTS: list[tuple[int, bytes] | None] = [
    (500, b"narwhal about walrus"),
    (302, b""),
    (200, b'{"verdict":"narwhal"}'),
    (200, b'{"verdict":"risky"}'),
    (200, b'{"verdict":"review"}'),
    None,
]


async def test_whatever_content_checkers_do(ears: Ears, tmp_path: Path) -> None:
    mode = "show" if ears.is_json else "hold"
    ears.secrets |= {"echidna"}
    words = tmp_path / "words.txt"
    words.write_text("manatee-argument\n", encoding="utf-8")
    checker = Server()
    async with listening(checker) as port:
        url = f"http://127.0.0.1:{port}/judge?token=echidna-token"
        rules: dict[str, Any] = {"urls": (url,), "wechat": "users", "words": (str(words),), "mode": mode}
        safety = Safety(**rules, functions=(f"{__name__}:quotes",))
        async with world(ears, safety=safety, safety_key="echidna-key-5d1b8246") as there:
            there.model.pieces = ["fine", *SAID]
            for time, checker.answer in enumerate(VERDICTS):
                assert await ask_everything(there, time=time) == {"failed", "error"}
            there.model.pieces = ["fine"]
            assert await ask_everything(there, time=-1) == {"done"}
            there.model.pieces = ["fine", *SAID[1:]]
            assert await ask_everything(there, time=-2) == {"done"}
            code = there.wechat.mint("anna")
            token = (await there.call("POST", "/v1/wechat/sessions", {"code": code}, key="")).json["token"]
            ears.secrets |= {code, token, *there.wechat.given}
            assert await ask_everything(there, key=token) == {"done"}
            assert there.wechat.calls["/wxa/msg_sec_check"]
            there.wechat.is_rude = True
            assert await ask_everything(there, key=token, time=1) == {"failed", "error"}
    ears.check(
        at_least=("'quotes' cannot judge: it raised ValueError", "'127.0.0.1' judges again", "WeChat refuses this")
    )


async def test_whatever_a_companys_issuer_does(ears: Ears) -> None:
    publisher = Publisher()
    good, expired, forged = company_token(sub="platypus"), company_token(exp=1, sub="platypus"), company_token(OTHER)
    ears.secrets |= {
        "platypus",
        "echidna",
        *(part for shown in (good, expired, forged) for part in shown.split(".")[1:]),
    }
    async with listening(publisher) as port:
        trust = {
            "jwt_jwks_url": f"http://127.0.0.1:{port}/keys?token=echidna",
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
        }
        async with world(ears, **trust) as there:
            assert await ask_everything(there, key=good) == {"done"}
            for key in (expired, forged, f"{good}x", "a.b.c"):
                assert (await there.call("GET", "/v1/models", key=key)).status == 401
        publisher.status = 500
        async with world(ears, **trust) as there:
            assert (await there.call("GET", "/v1/models", key=good)).status == 503
            await ask_everything(there)
    ears.check(at_least=("cannot be fetched",))


async def test_whatever_breaks_in_the_gateway_itself(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash may quote anything; the log tells its kind and place."""
    async with world(ears) as there:

        async def no_page(*_: object) -> None:
            raise LookupError(f"{PROMPT} {KEY}")

        with monkeypatch.context() as broken:
            broken.setattr(there.app.gateway._log, "owner", no_page)
            assert (await there.call("GET", "/v1/generations/any")).status == 500

        def no_frame(*_: object) -> bytes:
            raise RuntimeError(f"{ANSWER} of {PROMPT}")

        with monkeypatch.context() as broken:
            broken.setattr(Framer, "record", no_frame)
            broken.setattr(Framer, "frame", no_frame)
            await there.call("POST", "/v1/generations", GOOD)

        async def task() -> None:
            raise ZeroDivisionError(f"{ANSWER} in a task")

        loop = asyncio.get_running_loop()
        loop.call_soon(no_frame, PROMPT, ANSWER)
        forgotten = asyncio.create_task(task())
        await asyncio.wait([forgotten])
        del forgotten  # with its exception, which nobody asked for
        logging.getLogger("of.somebody").error("Somebody caught it", exc_info=ValueError(PROMPT))
        await ask_everything(there)
    ears.check(
        at_least=("LookupError", "RuntimeError", "ZeroDivisionError", "Somebody caught it: ValueError", "no_frame")
    )
