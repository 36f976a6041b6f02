"""A real nginx, with a test's own site or with files of deploy/."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.servers import free_port, running

_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# As the documents recommend it.
RIGHT = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 75s;'


@asynccontextmanager
async def nginx(
    folder: Path, *, behind: int, location: str = RIGHT, server: str = "", tls: Path | None = None
) -> AsyncIterator[int]:
    """Run it before a port, with directives for the server and its location; gives its port.

    `tls`: a file with a certificate and its key.
    """
    if tls is not None:
        server += f"ssl_certificate {tls}; ssl_certificate_key {tls};"
    listen = "listen 8000 ssl;" if tls else "listen 8000;"
    place = f"location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_set_header Host $host; {location} }}"
    async with nginx_with(folder, f"server {{ {listen} {server} {place} }}", listen="8000") as port:
        yield port


@asynccontextmanager
async def nginx_with(folder: Path, configuration: str, *, listen: str) -> AsyncIterator[int]:
    """Run it with a file of its own, or with sites alone, listening at a free port instead of `listen`; gives that."""
    port = free_port()
    if "http {" not in configuration:
        configuration = f"daemon off; events {{}} http {{ access_log off;\n{configuration}\n}}"
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in _KINDS)
    configuration = configuration.replace("http {", f"http {{ {paths}", 1).replace("worker_processes auto;", "")
    configuration, count = re.subn(rf"listen (?:127\.0\.0\.1:)?{listen}\b", f"listen 127.0.0.1:{port}", configuration)
    assert count == 1
    pid = "" if re.search(r"^pid ", configuration, re.MULTILINE) else f"pid {folder}/nginx.pid;\n"
    file = _write(folder / "nginx.conf", pid + configuration)
    async with running("nginx", "-p", str(folder), "-e", "stderr", "-c", str(file), folder=folder, port=port):
        yield port


def _write(file: Path, content: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file
