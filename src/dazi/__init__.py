"""Dazi: a language model's answer, typed out while it is written, and never a character lost."""

from dazi.events import Reasoning, Text, ToolCall
from dazi.service import Gateway, Limits
from dazi.upstream import Finish, Prompt, Upstream
from dazi.web import create_app

__all__ = ["Finish", "Gateway", "Limits", "Prompt", "Reasoning", "Text", "ToolCall", "Upstream", "create_app"]
