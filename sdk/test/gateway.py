"""The gateway with a demo model at ten times its pace: `gateway.py PORT`."""

import sys

import uvicorn

from dazi import create_app
from dazi.upstream.demo import DemoUpstream

uvicorn.run(create_app({"demo": DemoUpstream(pace=300)}), port=int(sys.argv[1]), log_level="warning")
