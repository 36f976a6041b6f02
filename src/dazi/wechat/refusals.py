"""WeChat's error numbers as what a caller can do about them (its documents of code2Session and msgSecCheck)."""

from __future__ import annotations

from dazi.errors import Forbidden, InvalidRequest, RequestError, Unauthorized, Unavailable

_NO_SUCH_CODE = frozenset({40029, 40163})
_TOO_OFTEN = frozenset({45009, 45011})
_OUR_SETTINGS = frozenset({40013, 40125, 41002, 41004, 48001, 50002})
# The machine is not on the app's list of addresses, or waits for its administrator to let it be.
_OUR_ADDRESS = frozenset({40164, 89501, 89503, 89506, 89507})
_USER_NOT_THERE = frozenset({40003, 43104, 61010})
_MINUTE = 60


def refusal_of(number: int) -> RequestError:
    """Make the error that a number stands for."""
    if number in _NO_SUCH_CODE:
        return Unauthorized(
            "This login code is not valid, or was used already.",
            remedy="Call wx.login again, and send its code at once: it works once, for five minutes.",
            code="wechat_bad_code",
        )
    if number in _TOO_OFTEN:
        return RequestError(
            "WeChat takes no more calls for now.",
            remedy="Try again in a minute.",
            code="wechat_rate_limited",
            status=429,
            retry_after=_MINUTE,
        )
    if number == 40226:
        return Forbidden(
            "WeChat blocked this user as high-risk.", remedy="Nothing can be done here.", code="wechat_blocked"
        )
    if number in _USER_NOT_THERE:
        return Forbidden(
            "WeChat has not seen this user in the last two hours.", remedy="Log in again.", code="wechat_user_absent"
        )
    if number in _OUR_SETTINGS | _OUR_ADDRESS:
        remedy = (
            "Put this machine's address on the app's IP list (IP 白名单) at mp.weixin.qq.com."
            if number in _OUR_ADDRESS
            else "Correct the appid and the AppSecret in DAZI_WECHAT_APPS."
        )
        return RequestError(
            f"WeChat refuses this gateway (errcode {number}).",
            remedy=remedy,
            code="wechat_misconfigured",
            status=500,
        )
    return unavailable(f"errcode {number}")


def unavailable(reason: str) -> Unavailable:
    """Tell that WeChat gave no usable answer."""
    return Unavailable(
        f"WeChat does not answer as it should ({reason}).",
        remedy="Try again in a moment.",
        code="wechat_unavailable",
        retry_after=2,
    )


def unknown_app(appid: str) -> InvalidRequest:
    """Tell that an appid is not one of this gateway's."""
    return InvalidRequest(
        f"The appid {appid[:64]!r} is not known here.",
        remedy="Use one of DAZI_WECHAT_APPS.",
        code="invalid_field",
        param="appid",
        status=422,
    )
