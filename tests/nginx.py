"""A real nginx in front of a port: `async with nginx(folder, behind=8000, location="proxy_buffering on;") as port`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import which

_CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        {server}
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_set_header Host $host;
            {location}
        }}
    }}
}}
"""

# As the documents recommend it.
RIGHT = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 75s;'


@asynccontextmanager
async def nginx(
    folder: Path, *, behind: int, location: str = RIGHT, server: str = "", tls: Path | None = None
) -> AsyncIterator[int]:
    """Run it in `folder`; gives its port. `tls`: a file with a certificate and its key."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if tls is not None:
        server += f"ssl_certificate {tls}; ssl_certificate_key {tls};"
    file = _write(
        folder,
        _CONFIGURATION.format(
            folder=folder, port=port, behind=behind, location=location, server=server, tls=" ssl" if tls else ""
        ),
    )
    process = await asyncio.create_subprocess_exec(
        which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx",
        "-p",
        folder,
        "-c",
        file,
        "-e",
        folder / "error.log",
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):
                assert process.returncode is None, (folder / "error.log").read_text()
                await asyncio.sleep(0.02)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _write(folder: Path, configuration: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(configuration)
    return file


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
