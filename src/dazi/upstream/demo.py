"""A model that is none: the same text for the same question, at a settable pace, for tests and talks.

Laws: the pieces are those of a real model, one to four code points, cut without regard for what belongs together (emoji
of several code points, combining marks); their concatenation depends on the prompt alone; time depends on the pace
alone and does not drift.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from dazi.errors import ConfigError
from dazi.events import Usage
from dazi.upstream import Finish, Prompt, Sink

# Lengths of the pieces, in code points, over and over.
_PIECE_LENGTHS = (2, 1, 3, 1, 4, 2, 1)
# Of a question, this much is repeated at the start of the answer.
_TOPIC_LENGTH = 24

_ANSWER = """\
你好！你问的是「{topic}」。这段话由 **demo** 模型逐字打出：它不思考，只演示打字机效果。

1. **中文**：春眠不觉晓，处处闻啼鸟。生僻字也要完整：𠮷野家、𠀋、㐂、龘。
2. **English**: every character arrives once, in order, and whole, even when the line breaks.
3. **Emoji**: 👨‍👩‍👧‍👦 一家人，👩🏽‍🚀 宇航员，🇨🇳 🇯🇵 🏴󠁧󠁢󠁳󠁣󠁴󠁿 旗帜，👍🏿 ❤️‍🔥 1️⃣ ☕️。
4. **Marks**: café, naïve, Z͑͗ạ̈l̰͋g̣̈o, 한국어, हिन्दी, ไทย, מימין לשמאל, من اليمين.

代码会原样显示：

```python
async for piece in answer:
    print(piece, end="", flush=True)  # 一个字也不丢
```

| 断开的地方 | 发生什么 |
|---|---|
| 汉字的字节中间 | 等到下一块，再显示 |
| 表情的中间 👩‍👩‍👦 | 一样 |
| 网络断开 | 从断开的位置继续 |
| 平台自己重试 | 还是同一份回答 |

> “Whatever is cut is joined again; nothing is shown twice.”

试一试：现在刷新页面，或者关掉网络再打开。文字会从这里接着打下去，不多也不少。🎉
"""

_THOUGHTS = """\
The question is about “{topic}”. 先想一想该怎么回答：
用一个列表、一段代码和一张表格，让每一种字符都出场一次。🤔 Good, that will do.
"""


@dataclass(frozen=True, slots=True)
class DemoUpstream:
    """Types a text.

    Attributes: `pace` (pieces a second; `math.inf` for as fast as it goes), `text` (what to type, exactly; without it,
    an answer that mentions the question), `thoughts` (what to think first, when asked to).

    It thinks when the model's name has `thinking` in it, or the option `reasoning_effort` asks for any.
    """

    pace: float = 30.0
    text: str | None = None
    thoughts: str | None = None

    def __post_init__(self) -> None:
        if not self.pace > 0:
            raise ConfigError(f"The demo's pace is {self.pace} pieces a second. Give a number above 0.")

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Type it, as far as `max_tokens` goes."""
        topic = _question(prompt)[:_TOPIC_LENGTH]
        text = _ANSWER.replace("{topic}", topic) if self.text is None else self.text
        thoughts = _THOUGHTS.replace("{topic}", topic) if self.thoughts is None else self.thoughts
        thought = _pieces(thoughts) if _thinks(prompt) else []
        pieces = [(sink.reasoning, piece) for piece in thought] + [(sink.text, piece) for piece in _pieces(text)]
        room = _limit(prompt, len(pieces))
        begin = asyncio.get_running_loop().time()
        for count, (push, piece) in enumerate(pieces[:room], start=1):
            await asyncio.sleep(begin + count / self.pace - asyncio.get_running_loop().time())
            push(piece)
        return Finish("length" if room < len(pieces) else "stop", _usage(prompt, room, min(room, len(thought))))


def _question(prompt: Prompt) -> str:
    """Return what the user said last, on one line."""
    said = [message.get("content") for message in prompt.messages if message.get("role") == "user"]
    content = said[-1] if said else ""
    if isinstance(content, list):  # parts; pictures have no text
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return " ".join(str(content or "").split())


def _thinks(prompt: Prompt) -> bool:
    return "thinking" in prompt.model or prompt.options.get("reasoning_effort", "none") != "none"


def _limit(prompt: Prompt, length: int) -> int:
    limits = (prompt.options.get(name) for name in ("max_tokens", "max_completion_tokens"))
    return min([length, *(limit for limit in limits if isinstance(limit, int))])


def _pieces(text: str) -> list[str]:
    return list(_cut(text))


def _cut(text: str) -> Iterator[str]:
    start = 0
    for length in cycle(_PIECE_LENGTHS):
        if start >= len(text):
            return
        yield text[start : start + length]
        start += length


def _usage(prompt: Prompt, completion: int, reasoning: int) -> Usage:
    asked = len(_pieces(_question(prompt)))
    return Usage(
        prompt_tokens=asked,
        completion_tokens=completion,
        total_tokens=asked + completion,
        reasoning_tokens=reasoning or None,
    )
