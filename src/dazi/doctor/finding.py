"""What the doctor found, and the lines to paste that mend it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# `fault`: streaming is broken. `warning`: it works, but not for everybody or not for long. `note`: good to know.
# `unknown`: it could not be tried.
Verdict = Literal["healthy", "note", "warning", "fault", "unknown"]


class Finding(Struct, frozen=True):
    """One check and what came of it: `check` is its stable name, `words` tell what was seen, `fix` what to do or paste."""

    check: str
    verdict: Verdict
    words: str
    fix: str = ""

    @property
    def is_trouble(self) -> bool:
        """Whether something has to be mended."""
        return self.verdict in ("fault", "warning")


def healthy(check: str, words: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(check, "healthy", words)


def unknown(check: str, words: str, fix: str = "") -> Finding:
    """Make a finding that something could not be tried."""
    return Finding(check, "unknown", words, fix)


NGINX_STREAM = """\
# nginx, in the location that passes to the gateway:
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_buffering off;        # or leave it on, but do not ignore the header X-Accel-Buffering
gzip off;
proxy_read_timeout 75s;
proxy_send_timeout 75s;"""

NGINX_HTTP_VERSION = """\
# nginx, in the location that passes to the gateway:
proxy_http_version 1.1;
proxy_set_header Connection "";"""

NGINX_COMPRESSION = """\
# nginx: compress no streams. In the location that passes to the gateway:
gzip off;
# or take text/event-stream out of gzip_types (and brotli_types)."""

NGINX_TIMEOUT = """\
# nginx, in the location that passes to the gateway (other proxies and load balancers call it idle timeout):
proxy_read_timeout 75s;
proxy_send_timeout 75s;"""

NGINX_HEADERS = """\
# nginx, in the location that passes to the gateway: do not drop or empty these headers
proxy_pass_request_headers on;
proxy_set_header Last-Event-ID $http_last_event_id;
proxy_set_header Authorization $http_authorization;"""

NGINX_ABORT = """\
# nginx, in the location that passes to the gateway: a client that leaves must be noticed
proxy_ignore_client_abort off;"""

NGINX_METHODS = """\
# nginx: let POST through to /v1/generations/…/abort, as to every other path of the gateway
location /v1/ { proxy_pass http://dazi; }"""

NGINX_CHAIN = """\
# nginx: the file must hold the server's certificate and then each intermediate one (fullchain.pem)
ssl_certificate     /etc/ssl/example.com/fullchain.pem;
ssl_certificate_key /etc/ssl/example.com/privkey.pem;
ssl_protocols       TLSv1.2 TLSv1.3;"""
