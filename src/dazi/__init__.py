"""Dazi: a language model's answer, typed out while it is written, and never a character lost."""
