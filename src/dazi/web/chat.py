"""Pages: a few files of this package, served as they are."""

from __future__ import annotations

from functools import cache
from importlib import resources

from dazi.errors import NotFound
from dazi.web.calls import Call, Reply

# Nothing but our own files, and no inline script: an answer is untrusted text, whatever it holds.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_TYPES = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
}


@cache
def _files(folder_name: str) -> dict[str, bytes]:
    folder = resources.files("dazi.web") / folder_name
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}


async def index(_call: Call) -> Reply:
    """Serve the page."""
    return page_file("page", "index.html")


async def file(call: Call) -> Reply:
    """Serve a file of the page. Raises `NotFound`."""
    return page_file("page", call.scope["path_params"]["name"])


def page_file(folder: str, name: str) -> Reply:
    """Serve a file of a page that lies in a folder of this package. Raises `NotFound`."""
    body = _files(folder).get(name)
    if body is None:
        raise NotFound(f"The page has no file {name[:100]!r}.", remedy="Open / instead.")
    return Reply(
        200,
        body,
        [
            (b"content-type", _TYPES[name.rpartition(".")[2]]),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", _POLICY),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ],
    )
