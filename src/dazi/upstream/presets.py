"""The houses that teams use, and what is particular about each; made by hand from their documents.

What an answer looks like needs no preset: `upstream/openai` reads every known shape. A preset says what has to be *asked*
differently: the address, how thinking is switched, and how an assistant's text is continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# How a server is asked to go on from text: a mark at the last message, switches beside the messages, or neither (a trailing
# message of the assistant is understood). "": it cannot.
Continuation = Literal["", "prefix", "partial", "trailing", "continue_final_message"]
# Where a server looks for the switch that turns thinking on and off. "": it has none, or it is the caller's affair.
Thinking = Literal["", "thinking", "enable_thinking", "chat_template_kwargs", "reasoning_effort"]

_Json = dict[str, Any]  # Any: JSON, passed through


@dataclass(frozen=True, slots=True)
class Preset:
    """A house. `continuation_url` is where it continues texts, if that is another address."""

    url: str = ""
    dialect: str = "openai"
    key_env: str = ""
    continuation: Continuation = ""
    continuation_url: str = ""
    thinking: Thinking = ""


PRESETS: Mapping[str, Preset] = {
    "openai": Preset("https://api.openai.com/v1", key_env="OPENAI_API_KEY"),
    "responses": Preset("https://api.openai.com/v1", dialect="responses", key_env="OPENAI_API_KEY"),
    "anthropic": Preset(
        "https://api.anthropic.com/v1", dialect="anthropic", key_env="ANTHROPIC_API_KEY", continuation="trailing"
    ),
    "deepseek": Preset(
        "https://api.deepseek.com",
        key_env="DEEPSEEK_API_KEY",
        continuation="prefix",
        continuation_url="https://api.deepseek.com/beta",
        thinking="thinking",
    ),
    "qwen": Preset(
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        key_env="DASHSCOPE_API_KEY",
        continuation="partial",
        thinking="enable_thinking",
    ),
    "moonshot": Preset(
        "https://api.moonshot.cn/v1", key_env="MOONSHOT_API_KEY", continuation="partial", thinking="thinking"
    ),
    "zhipu": Preset("https://open.bigmodel.cn/api/paas/v4", key_env="ZHIPU_API_KEY", thinking="thinking"),
    "doubao": Preset(
        "https://ark.cn-beijing.volces.com/api/v3",
        key_env="ARK_API_KEY",
        continuation="trailing",
        thinking="thinking",
    ),
    "hunyuan": Preset(
        "https://api.hunyuan.cloud.tencent.com/v1", key_env="HUNYUAN_API_KEY", thinking="enable_thinking"
    ),
    "siliconflow": Preset(
        "https://api.siliconflow.cn/v1",
        key_env="SILICONFLOW_API_KEY",
        continuation="prefix",
        thinking="enable_thinking",
    ),
    "vllm": Preset(continuation="continue_final_message", thinking="chat_template_kwargs"),
    "sglang": Preset(continuation="continue_final_message", thinking="chat_template_kwargs"),
    "ollama": Preset("http://127.0.0.1:11434/v1", continuation="trailing", thinking="reasoning_effort"),
    "llamacpp": Preset("http://127.0.0.1:8080/v1", continuation="trailing", thinking="chat_template_kwargs"),
    "dify": Preset("https://api.dify.ai/v1", dialect="dify", key_env="DIFY_API_KEY"),
    "coze": Preset("https://api.coze.cn", dialect="coze", key_env="COZE_API_TOKEN"),
}


def continued(messages: list[_Json], said: str, how: Continuation) -> tuple[list[_Json], _Json]:
    """Return the messages, and the fields beside them, that ask a server to go on from `said`."""
    last: _Json = {"role": "assistant", "content": said}
    match how:
        case "prefix":
            last["prefix"] = True
        case "partial":
            last["partial"] = True
        case "continue_final_message":
            return [*messages, last], {"continue_final_message": True, "add_generation_prompt": False}
    return [*messages, last], {}


def switched(options: Mapping[str, Any], where: Thinking) -> _Json:
    """Put the switch of thinking, whichever of the houses' ways the caller wrote it in, where this server looks for it."""
    wanted = _wants_thinking(options)
    if not where or wanted is None:
        return dict(options)
    # An effort beside a switch of another kind goes along: most know it, and it says how much, not whether.
    rest = {name: value for name, value in options.items() if name not in {"thinking", "enable_thinking"}}
    if rest.get("reasoning_effort") == "none" and where != "reasoning_effort":
        del rest["reasoning_effort"]
    match where:
        case "thinking":
            given = options.get("thinking")
            return rest | {"thinking": given if isinstance(given, dict) else {"type": _word(is_on=wanted)}}
        case "enable_thinking":
            return rest | {"enable_thinking": wanted}
        case "chat_template_kwargs":
            kwargs = {"enable_thinking": wanted, **options.get("chat_template_kwargs", {})}
            return rest | {"chat_template_kwargs": kwargs}
    return {"reasoning_effort": "medium" if wanted else "none", **rest}


def _wants_thinking(options: Mapping[str, Any]) -> bool | None:
    """Tell whether the caller wants it; None: nothing was said."""
    if isinstance(given := options.get("enable_thinking"), bool):
        return given
    if isinstance(given := options.get("thinking"), dict) and "type" in given:
        return bool(given["type"] != "disabled")
    if options.get("reasoning_effort") == "none":
        return False
    return None


def _word(*, is_on: bool) -> str:
    return "enabled" if is_on else "disabled"
