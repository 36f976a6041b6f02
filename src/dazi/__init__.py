"""Dazi: a language model's answer, typed out while it is written, and never a character lost."""

from dazi.service import Gateway, Limits
from dazi.web import create_app

__all__ = ["Gateway", "Limits", "create_app"]
