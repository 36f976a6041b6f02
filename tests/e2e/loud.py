"""The program `dazi`, with nothing of what any of its parts has to say left out."""

from __future__ import annotations

import logging
import sys
import warnings

from dazi.cli import main

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s %(args)s")
# No part may lower its voice.
logging.Logger.setLevel = lambda _self, _level: None  # type: ignore[assignment,method-assign]
logging.getLogger("dazi.loud").debug("everything is told")
warnings.simplefilter("always")

main()
