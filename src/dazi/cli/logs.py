"""What a gateway's process says of itself: text for people, or JSON lines for machines.

Laws: nothing of a prompt, an answer, a key or a token is in a line (nothing below hands it over); a line that concerns a
generation names it.
"""

from __future__ import annotations

import logging

import structlog
from rich.console import Console
from rich.logging import RichHandler

from dazi.settings import Settings


def set_up_logging(settings: Settings, console: Console) -> None:
    """Let this process log as the settings say; the level can be changed later, at `/admin/log-level`."""
    handler = _json_handler() if settings.log_format == "json" else _text_handler(console)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("dazi").setLevel(settings.log_level.upper())


def _text_handler(console: Console) -> logging.Handler:
    handler = RichHandler(console=console, show_path=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _json_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=("generation",)),
                structlog.processors.TimeStamper(fmt="iso"),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    return handler
