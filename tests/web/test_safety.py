"""Content safety over HTTP: in every mode and dialect, by every setting, and told in words, numbers and no one's text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Serve, Served, listening
from tests.puppet import Puppet, Scripted
from tests.safety.worlds import APP, FINE, REVIEW, RISKY, SECRET, Server
from tests.waiting import until
from tests.web.wire import attach, call, start, text_of

from dazi.errors import ConfigError, Unchecked
from dazi.safety import Passage, Verdict
from dazi.safety.plan import Safety
from dazi.safety.policy import Policy, Rules
from dazi.safety.words import WordList
from dazi.settings import Settings, check
from dazi.wechat import FakeWeChat

WORD = "违禁词"
BEFORE, AFTER = "今天天气很好。", f"我们去买{WORD}吧。"
PATH = "/v1/chat/completions"
Json = dict[str, Any]  # Any: JSON


def asking(text: str, **fields: object) -> Json:
    return {"messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text(f"{WORD}\n", encoding="utf-8")
    return file


def by_words(words: Path, **rules: Any) -> Settings:  # Any: those of `Safety`
    return Settings(safety=Safety(words=(str(words),), **{"window": 4, "overlap": 3, **rules}))


async def ended(served: Served) -> None:
    await until(lambda: served.app.gateway.running == 0)


# The prompt


async def test_a_refused_question_reaches_no_model_and_is_told_in_words(
    serve: Serve, puppet: Puppet, words: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served = await serve({"m": puppet}, settings=by_words(words))
    line = await call(
        served.port,
        "POST",
        "/v1/generations",
        headers={"Content-Type": "application/json"},
        body=json.dumps(asking(f"哪里有{WORD}？")).encode(),
    )
    frames = await line.rest()
    assert [frame.type for frame in frames] == ["started", "failed"]
    end = frames[-1].event
    assert (end["code"], end["retryable"], end["n"]) == ("prompt_refused", False, 0)
    assert end["message"] == "The content check refused the question."
    assert puppet.asked == 0
    assert "The content check ended an answer: prompt_refused" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert WORD not in caplog.text
    assert "哪里" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": WORD}, {"role": "user", "content": "hi"}]},
        {"messages": [{"role": "assistant", "content": WORD}, {"role": "user", "content": "hi"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": WORD}]}]},
        {"messages": [{"role": "user", "name": WORD, "content": "hi"}]},
        {"messages": [{"role": "user", "content": "hi"}], "tools": [{"function": {"description": WORD}}]},
        {"messages": [{"role": "user", "content": "hi"}], "metadata": {WORD: "x"}},
        {"messages": [{"role": "user", "content": "hi"}], "tools": [{"properties": {"role": {"description": WORD}}}]},
        {"messages": [{"role": "user", "content": "hi"}], "tools": [{"properties": {"file": {"description": WORD}}}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "file": WORD}]}]},
        {"messages": [{"role": "user", "content": "hi"}], "tools": [{"function": {"parameters": {"type": WORD}}}]},
        {"messages": [{"role": "user", "content": "好" * 5000 + WORD}]},
        {"messages": [{"role": "user", "content": f"违{chr(0x200B)}禁*词"}]},
    ],
    ids=[
        "system",
        "assistant",
        "part",
        "name",
        "tool",
        "key",
        "role of a tool",
        "file of a tool",
        "type of a tool",
        "no file",
        "far behind",
        "disguised",
    ],
)
async def test_whatever_a_caller_sends_is_judged(serve: Serve, puppet: Puppet, words: Path, body: Json) -> None:
    served = await serve({"m": puppet}, settings=by_words(words))
    response = await served.client.post(PATH, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filter")
    assert puppet.asked == 0


async def test_an_image_is_not_read_as_words(serve: Serve, words: Path) -> None:
    served = await serve({"m": Scripted("好")}, settings=by_words(words))
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{WORD}"}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert (await served.client.post(PATH, json=body)).status_code == 200


async def test_a_question_longer_than_can_be_judged_is_refused(serve: Serve, puppet: Puppet, words: Path) -> None:
    served = await serve({"m": puppet}, settings=by_words(words, longest_prompt=100))
    response = await served.client.post(PATH, json=asking("好" * 101))
    assert (response.status_code, puppet.asked) == (400, 0)
    assert "100 characters" in response.json()["error"]["message"]


async def test_what_passed_of_a_conversation_is_not_judged_again_but_for_its_end(serve: Serve) -> None:
    asked: list[str] = []

    async def judge(passage: Passage) -> Verdict:
        asked.append(passage.text)
        return "pass"

    served = await serve({"m": Scripted("")}, safety=Policy([judge]))
    messages = [{"role": "user", "content": "一"}, {"role": "assistant", "content": "二"}]
    for latest in ("三", "四"):
        messages.append({"role": "user", "content": latest})
        await served.client.post(PATH, json={"messages": messages})
    assert asked == ["一\n二\n三", "三\n四"]


async def test_the_same_start_sent_again_hears_the_same_refusal(serve: Serve, puppet: Puppet, words: Path) -> None:
    served = await serve({"m": puppet}, settings=by_words(words))
    headers = {"idempotency-key": "k", "accept": "application/json"}
    first, again = [await served.client.post("/v1/generations", json=asking(WORD), headers=headers) for _ in range(2)]
    await ended(served)
    assert first.json()["generation"] == again.json()["generation"]
    read = (await served.client.get(f"/v1/generations/{first.json()['generation']}")).json()
    assert read["error"]["code"] == "prompt_refused"


# The answer, natively


@pytest.mark.parametrize(
    "query", ["mode=append", "mode=replace", "mode=replace&profile=plain", "mode=append&coalesce=0.04"]
)
async def test_in_hold_no_reader_sees_a_risky_window(serve: Serve, puppet: Puppet, words: Path, query: str) -> None:
    served = await serve({"m": puppet}, settings=by_words(words))
    line = await start(served.port, query)
    play = await puppet.play()
    play.say(*BEFORE)
    await line.wait_bytes(b"\\u5929\\u6c14")
    play.say(*AFTER)
    frames = await line.rest()
    assert text_of(frames) == BEFORE[:4]
    assert b"\\u8fdd" not in line.body
    assert "retract" not in {frame.type for frame in frames}
    assert (frames[-1].type, frames[-1].event["finish_reason"]) == ("done", "content_filter")
    await play.wait_released()


@pytest.mark.parametrize("query", ["mode=append", "mode=replace"])
async def test_in_show_what_was_seen_is_taken_back_in_mid_stream(
    serve: Serve, puppet: Puppet, words: Path, query: str
) -> None:
    served = await serve({"m": puppet}, settings=by_words(words, mode="show"))
    line = await start(served.port, query)
    play = await puppet.play()
    play.say(BEFORE)
    await line.wait_bytes(b"\\u5929\\u6c14")
    generation = (await line.frame()).event["generation"]
    play.say(AFTER)
    frames = await line.rest()
    assert text_of(frames) == BEFORE[:4]
    if query == "mode=append":
        (retraction,) = [frame.event for frame in frames if frame.type == "retract"]
        assert retraction == {"type": "retract", "text": BEFORE[:4], "n": 4, "reason": "content_filter"}
    assert frames[-1].event["finish_reason"] == "content_filter"
    await play.wait_released()
    # Whoever comes late, from wherever, sees nothing of it.
    for path in ("", "/events", "/events?after=1-2", "/events?mode=replace", "/events?after=1-2&wait=1"):
        headers = {"accept": "application/json"} if "wait" in path else {}
        late = await served.client.get(f"/v1/generations/{generation}{path}", headers=headers)
        assert WORD not in late.text.encode().decode("unicode_escape")
    line = await attach(served.port, generation)
    assert text_of(await line.rest()) == BEFORE[:4]


async def test_a_review_is_what_the_operator_says(serve: Serve) -> None:
    async def judge(passage: Passage) -> Verdict:
        return "review" if "疑似" in passage.text else "pass"

    for choice, reason, text in (("refuse", "content_filter", ""), ("pass", "stop", REVIEW)):
        served = await serve({"m": Scripted(REVIEW)}, safety=Policy([judge], Rules(review=choice)))  # type: ignore[arg-type]
        frames = await (await start(served.port)).rest()
        assert (text_of(frames), frames[-1].event["finish_reason"]) == (text, reason)


async def test_without_a_policy_an_answer_goes_its_own_way(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    assert served.app.gateway._models["m"] is puppet


# OpenAI's dialect


def chunks_of(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def told(chunks: list[Any]) -> tuple[str, Any]:
    """What a client of the dialect has: the text, and the finish reason or the error."""
    assert chunks[-1] == "[DONE]" or "error" in chunks[-1]
    choices = [chunk["choices"][0] for chunk in chunks if chunk != "[DONE]" and chunk.get("choices")]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, chunks[-1]["error"]["code"] if chunks[-1] != "[DONE]" else choices[-1]["finish_reason"]


@pytest.mark.parametrize("mode", ["hold", "show"])
async def test_a_stream_ends_with_content_filter_and_done(serve: Serve, puppet: Puppet, words: Path, mode: str) -> None:
    served = await serve({"m": puppet}, settings=by_words(words, mode=mode))
    asked = asyncio.create_task(served.client.post(PATH, json=asking("hi", stream=True)))
    play = await puppet.play()
    play.say(BEFORE)
    await asyncio.sleep(0.05)
    play.say(AFTER)
    response = await asked
    text, end = told(chunks_of(response.text))
    # What was shown cannot be taken back in this dialect: the finish reason says that it should be.
    assert (text, end) == (BEFORE[:4] if mode == "hold" else BEFORE + AFTER, "content_filter")
    generation = response.headers["dazi-generation"]
    late = await served.client.get(f"/v1/generations/{generation}/events?format=openai")
    assert told(chunks_of(late.text)) == (BEFORE[:4], "content_filter")
    whole = await served.client.get(
        f"/v1/generations/{generation}/events?format=openai", headers={"last-event-id": "1-2"}
    )
    assert told(chunks_of(whole.text))[1] == "content_filter"
    assert WORD not in whole.text


async def test_a_whole_completion_has_the_finish_reason(serve: Serve, words: Path) -> None:
    for mode in ("hold", "show"):
        served = await serve({"m": Scripted(BEFORE, AFTER)}, settings=by_words(words, mode=mode))
        choice = (await served.client.post(PATH, json=asking("hi"))).json()["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert WORD not in choice["message"]["content"]


async def test_what_an_upstream_takes_back_still_ends_a_stream_of_this_dialect(serve: Serve, puppet: Puppet) -> None:
    served = await serve({"m": puppet})
    body = json.dumps(asking("hi", stream=True)).encode()
    asked = asyncio.create_task(
        call(served.port, "POST", PATH, headers={"Content-Type": "application/json"}, body=body)
    )
    play = await puppet.play()
    play.say("a")
    line = await asked
    await line.wait_bytes(b'"a"')
    play.sink.retract("b", reason="upstream")  # type: ignore[attr-defined]
    play.say("c", "d")
    play.finish()
    with contextlib.suppress(json.JSONDecodeError):  # of [DONE]
        await line.rest()
    chunks = chunks_of(line.body.decode())
    assert [chunk["error"]["code"] for chunk in chunks if "error" in chunk] == ["position_lost"]
    assert told(chunks) == ("a", "position_lost")
    late = await served.client.get(f"/v1/generations/{line.headers['dazi-generation']}/events?format=openai")
    assert told(chunks_of(late.text)) == ("bcd", "stop")


# Checkers that cannot judge


@pytest.mark.parametrize("stage", ["prompt", "answer"])
async def test_a_checker_that_is_down_is_told_to_the_caller_and_the_operator(
    serve: Serve, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()

    async def down(passage: Passage) -> Verdict:
        if passage.kind == "prompt" and stage == "answer":
            return "pass"
        raise Unchecked(f"it is down for {passage.kind}")

    async with listening(server) as port:
        policy = Policy([down])
        served = await serve({"m": Scripted(FINE)}, safety=policy)
        frames = await (await start(served.port)).rest()
        assert (text_of(frames), frames[-1].event["code"]) == ("", "safety_unavailable")
        assert frames[-1].event["retryable"] is True
        assert caplog.text.count("cannot judge: it is down") == 1
        response = await served.client.post(PATH, json=asking("hi there"))
        assert (response.status_code, response.headers["x-should-retry"]) == (503, "true")
        assert port
    kind = "prompt" if stage == "prompt" else "text"
    seen = (await served.client.get("/metrics")).text
    assert f'dazi_safety_verdicts_total{{checker="down",kind="{kind}",verdict="unchecked"}} 2.0' in seen


async def test_a_slow_checker_is_not_waited_for(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    async with listening(server) as port:
        settings = Settings(safety=Safety(urls=(f"http://127.0.0.1:{port}/judge",), timeout=1.0))
        served = await serve({"m": Scripted(FINE)}, settings=settings)
        server.is_slow = True
        response = await served.client.post(PATH, json=asking("hi"))
        assert response.json()["error"]["code"] == "safety_unavailable"
        assert "longer than 1 seconds" in caplog.text
        server.is_slow = False
        assert (await served.client.post(PATH, json=asking("hi"))).json()["choices"][0]["message"]["content"] == FINE
        assert "'127.0.0.1' judges again" in caplog.text


async def test_a_hiccup_of_a_server_is_asked_about_once_more(serve: Serve) -> None:
    asked = 0

    async def judge(_: Passage) -> Verdict:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unchecked("a hiccup", again=True)
        return "pass"

    served = await serve({"m": Scripted(FINE)}, safety=Policy([judge]))
    assert (await served.client.post(PATH, json=asking("hi"))).status_code == 200


@pytest.mark.parametrize("raised", [ValueError(RISKY), KeyboardInterrupt], ids=["an error", "no verdict"])
async def test_a_checker_of_somebodys_own_may_break_and_quotes_nobody(
    serve: Serve, raised: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Own:
        name = "own"

        async def check(self, _passage: Passage) -> Verdict:
            if isinstance(raised, Exception):
                raise raised
            return RISKY  # type: ignore[return-value]

    caplog.set_level(logging.DEBUG)
    served = await serve({"m": Scripted(FINE)}, safety=Policy([Own()]))
    response = await served.client.post(PATH, json=asking("hi"))
    assert response.json()["error"]["code"] == "safety_unavailable"
    assert "'own' cannot judge" in caplog.text
    assert RISKY not in caplog.text + response.text


# Who is asked


async def test_all_checkers_must_let_pass_and_are_counted(serve: Serve, words: Path) -> None:
    server = Server()
    async with listening(server) as port:
        safety = Safety(
            words=(str(words),), urls=(f"http://127.0.0.1:{port}/",), functions=("tests.web.test_safety:no_fish",)
        )
        for said, finish in (
            (FINE, "stop"),
            (RISKY, "content_filter"),
            (WORD, "content_filter"),
            ("鱼", "content_filter"),
        ):
            served = await serve(
                {"m": Scripted(said)}, settings=Settings(safety=safety, safety_key="the-key-of-the-server")
            )
            choice = (await served.client.post(PATH, json=asking("hi"))).json()["choices"][0]
            assert (said, choice["finish_reason"]) == (said, finish)
        seen = (await served.client.get("/metrics")).text
    assert 'dazi_safety_verdicts_total{checker="no_fish",kind="text",verdict="risky"} 1.0' in seen
    assert 'dazi_safety_verdicts_total{checker="words.txt",kind="text",verdict="pass"} 1.0' in seen
    assert 'dazi_safety_seconds_count{checker="127.0.0.1"} 2.0' in seen
    assert server.headers[0][b"authorization"] == b"Bearer the-key-of-the-server"


def no_fish(passage: Passage) -> Verdict:
    return "risky" if "鱼" in passage.text else "pass"


@pytest.fixture
async def wechat() -> AsyncIterator[tuple[FakeWeChat, Settings]]:
    fake = FakeWeChat({APP: SECRET})
    async with listening(fake) as port:
        yield (
            fake,
            Settings(
                wechat_apps=(f"{APP}:{SECRET}",),
                wechat_url=f"http://127.0.0.1:{port}",
                session_secrets=("kR7vQ2mX9pL4nB6tY1zC8wD3fG5hJ0sA",),
                api_keys=("kR7vQ2mX9pL4nB6t",),
                safety=Safety(wechat="users", window=4, overlap=2),
            ),
        )


async def test_wechat_judges_for_its_users(serve: Serve, puppet: Puppet, wechat: tuple[FakeWeChat, Settings]) -> None:
    fake, settings = wechat
    served = await serve({"m": puppet}, settings=settings)
    session = (await served.client.post("/v1/wechat/sessions", json={"code": fake.mint("anna")})).json()
    anna = {"Authorization": f"Bearer {session['token']}"}
    line = await start(served.port, headers=anna)
    play = await puppet.play()
    play.say("今天天气很好。", "我们去做一件违禁的事。")
    frames = await line.rest()
    assert frames[-1].event["finish_reason"] == "content_filter"
    refused = await served.client.post(PATH, json=asking(RISKY), headers=anna)
    assert refused.json()["error"]["code"] == "content_filter"
    asked = fake.calls["/wxa/msg_sec_check"]
    assert asked >= 3
    fake.checks = 0
    used_up = await served.client.post(PATH, json=asking("a new question"), headers=anna)
    assert used_up.json()["error"]["code"] == "safety_unavailable"
    # Who came by a key is not WeChat's to judge.
    asked = fake.calls["/wxa/msg_sec_check"]
    line = await start(served.port, headers={"Authorization": "Bearer kR7vQ2mX9pL4nB6t"})
    (await puppet.play()).finish()
    assert (await line.rest())[-1].event["finish_reason"] == "stop"
    assert fake.calls["/wxa/msg_sec_check"] == asked


# Settings


@pytest.mark.parametrize(
    ("safety", "sentence"),
    [
        (Safety(words=("missing.txt",)), "No such file"),
        (Safety(urls=("ftp://x",)), "no http or https URL"),
        (Safety(urls=("https://user:hush-hush@checker.example/",)), "password"),
        (Safety(functions=("nothing",)), "package.module:function"),
        (Safety(wechat="all"), "DAZI_WECHAT_APPS"),
    ],
)
async def test_a_wrong_setting_stops_the_start_and_says_the_remedy(serve: Serve, safety: Safety, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        await serve({"m": Scripted("")}, settings=Settings(safety=safety))
    assert "hush" not in str(caught.value)


def test_an_overlap_that_would_show_half_a_word_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"overlap=2 .*'words'.* 4 characters.* Set it to 3"):
        Policy([WordList(["四个字的"])], Rules(overlap=2))
    assert Policy([WordList(["四个字的"])], Rules(overlap=3))


def test_a_policy_needs_a_checker() -> None:
    with pytest.raises(ConfigError, match="no checker"):
        Policy([])


def test_settings_without_safety_judge_nothing() -> None:
    assert not Settings().safety.is_on
    check(Settings(safety=Safety(urls=("https://checker.example/judge",))))
