"""WeChat's msgSecCheck v2 as a checker.

Laws: it judges for a user of a mini program, who must have been there within two hours; for anybody else there is no verdict.
The access token is the gateway's own (`dazi.wechat`), and so are its timeouts.
"""

from __future__ import annotations

from dazi.errors import RequestError, Unchecked
from dazi.safety import Passage, Verdict
from dazi.wechat import WeChat

# A comment: what one user says and another may read. Of the four scenes there are, it is nearest to a conversation.
_SCENE = 2
_WHY = {
    "wechat_rate_limited": "WeChat takes no more questions of this mini program for now",
    "wechat_user_absent": "WeChat has not seen the user in the last two hours",
    "wechat_misconfigured": "WeChat refuses this gateway; see DAZI_WECHAT_APPS, and the IP list at mp.weixin.qq.com",
}


class WeChatChecker:
    """Asks msgSecCheck.

    Args:
        wechat: the client, with the mini programs.
        skips_others: whether one who came by no mini program passes unasked, for a gateway whose other users other
            checkers judge. Otherwise nobody can judge for them, and that is `Unchecked`.
        name: for metrics and log lines.
    """

    def __init__(self, wechat: WeChat, *, skips_others: bool = False, name: str = "wechat") -> None:
        self.name = name
        self._wechat = wechat
        self._skips_others = skips_others

    def __repr__(self) -> str:
        return f"WeChatChecker({self.name!r})"

    async def check(self, passage: Passage) -> Verdict:
        """Ask about a passage. Raises `Unchecked`."""
        asker = passage.asker
        if not asker.openid:
            if self._skips_others:
                return "pass"
            raise Unchecked("msgSecCheck judges for users of a mini program alone")
        try:
            found = await self._wechat.check(passage.text, openid=asker.openid, appid=asker.appid, scene=_SCENE)
        except RequestError as error:
            reason = _WHY.get(error.code, "WeChat does not answer as it should")
            raise Unchecked(reason, again=error.code == "wechat_unavailable") from None
        return found.suggest
