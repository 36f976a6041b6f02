"""What a secret of the operator's must be: long enough, not uniform, and not one that everybody knows.

Laws: what stands in documentation (ours, or somebody's: `your-api-key-here`, `changeme`, `sk-1234567890`) counts for nothing, also as
a part of a longer one; a sentence about a secret never holds it.
"""

from __future__ import annotations

import re

# The log-in that `dazi dev wechat-fake` plays with: anybody may mint its codes.
FAKE_APPID, FAKE_APP_SECRET = "wxfake0000000000", "fake-app-secret-of-nobody-000000"
# What people write where a secret should stand. Taken out, the rest must still be long enough.
_COMMON = re.compile(
    r"change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|it|this|with)|your[-_ ]|insert[-_ ]|placeholder|example|default|insecure|dummy|"
    r"pass[-_ ]?(?:word|phrase|w0rd)|super[-_ ]?secret|secret[-_ ]?key|(?:api|master|admin|signing|private)[-_]?(?:key|secret)|"
    r"the-(?:app|signing)-secret|\d[-_ ]?bit[-_ ]?secret|letmein|qwerty(?:uiop)?|x{4,}|\.{3,}|\*{3,}|0?123456(?:7(?:8(?:90?)?)?)?|987654321|"
    r"abcdef(?:gh(?:ijklmnopqrstuvwxyz)?)?|deadbeef|correct[-_ ]?horse[-_ ]?battery[-_ ]?staple"
)


def weakness(secret: str, *, least: int) -> str:
    """Say why this is no secret, to follow "is"; "" if it may be one.

    Args:
        secret: as the operator gave it.
        least: characters that it must have.
    """
    if len(secret) < least:
        return f"too short (at least {least})"
    if secret == FAKE_APP_SECRET or len(_COMMON.sub("", secret.lower())) < least:
        return "too well known"
    if len(set(secret)) < max(6, least // 3):
        return "too uniform"
    return ""
