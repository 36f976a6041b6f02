"""WeChat's server side: who logged in, the access token, and what WeChat thinks of a text.

Laws: `session_key`, codes, secrets and tokens are never logged, kept or shown; WeChat's error numbers become the codes of
PROTOCOL.md; every call has a timeout; an access token is fetched once for all who wait for it, ahead of its end.
"""

from dazi.wechat.client import Login, Verdict, WeChat
from dazi.wechat.fake import FakeWeChat

__all__ = ["FakeWeChat", "Login", "Verdict", "WeChat"]
