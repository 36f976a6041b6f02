"""What an operator says of content safety, and the policy that it comes to.

Laws: a wrong value is refused with a sentence that names it and the remedy; without a checker there is no policy, and an
answer goes the way it would without this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dazi.errors import ConfigError
from dazi.safety import Checker
from dazi.safety.endpoint import HttpChecker
from dazi.safety.function import FunctionChecker
from dazi.safety.policy import Policy, Rules
from dazi.safety.wechat import WeChatChecker
from dazi.safety.words import WordList
from dazi.wechat import WeChat


class Safety(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The checkers, all of which must let pass, and the rules.

    `words`: files of words, one a line. `urls`: servers that judge. `functions`: Python functions that do, each as
    `package.module:function`. `wechat`: whom msgSecCheck judges for: `off`; `users` (of mini programs, while others are left
    to the other checkers); `all` (and so refuses who came by no mini program).
    """

    words: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    wechat: Literal["off", "users", "all"] = "off"

    @property
    def is_on(self) -> bool:
        """Whether anything is judged."""
        return bool(self.words or self.urls or self.functions) or self.wechat != "off"


def check(plan: Safety, *, has_apps: bool) -> None:
    """Refuse a plan that cannot be carried out. Raises `ConfigError`."""
    for url in plan.urls:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ConfigError(
                f"safety: a url of {parts.hostname or 'no host'!r} is no http or https URL, or has a password in it. "
                "Give one like https://checker.example/judge, and its key as DAZI_SAFETY_KEY."
            )
    if plan.wechat != "off" and not has_apps:
        raise ConfigError(
            f'safety: wechat={plan.wechat!r} needs a mini program. Set DAZI_WECHAT_APPS, or wechat = "off".'
        )


def build(plan: Safety, *, key: str = "", wechat: WeChat | None = None) -> Policy | None:
    """Make the policy; None where nothing is judged. Raises `ConfigError`.

    Args:
        plan: what the operator said.
        key: sent to the `urls`.
        wechat: the client that msgSecCheck is asked with.
    """
    check(plan, has_apps=wechat is not None)
    return Policy(tuple(_checkers(plan, key, wechat)), plan) if plan.is_on else None


def _checkers(plan: Safety, key: str, wechat: WeChat | None) -> Iterator[Checker]:
    for path in plan.words:
        yield WordList.from_file(Path(path), name=Path(path).name)
    for reference in plan.functions:
        yield FunctionChecker.load(reference)
    for url in plan.urls:
        yield HttpChecker(url, key=key, name=urlsplit(url).hostname or url)
    if wechat is not None and plan.wechat != "off":
        yield WeChatChecker(wechat, skips_others=plan.wechat == "users")
