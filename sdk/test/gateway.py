"""The gateway with a demo model at ten times its pace; prints its port, which is one that was free."""

import socket
import sys

import uvicorn

from dazi import create_app
from dazi.upstream.demo import DemoUpstream

listener = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listener.getsockname()[1]}\n")
sys.stdout.flush()
app = create_app({"demo": DemoUpstream(pace=300)})
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
