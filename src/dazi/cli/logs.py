"""What a gateway's process says of itself: text for people, or JSON lines for machines.

Laws: nothing of a prompt, an answer, a key or a token is in a line: nothing below hands it over, and of an error that nobody foresaw only
the kind and the place are told, whoever logs it, because its words may quote anything; a line that concerns a generation names it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import structlog
from rich.console import Console
from rich.logging import RichHandler

from dazi.settings import Settings

logger = logging.getLogger("dazi")


def set_up_logging(settings: Settings, console: Console) -> None:
    """Let this process log as the settings say; the level can be changed later, at `/admin/log-level`."""
    handler = _json_handler() if settings.log_format == "json" else _text_handler(console)
    handler.addFilter(_without_words)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("dazi").setLevel(settings.log_level.upper())
    # It tells each of its calls: a line for every sentence that a checker is asked about.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def tell_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # Any: asyncio's
    """Tell what nobody caught, instead of asyncio, which would tell the arguments of the call that failed, too."""
    error = context.get("exception")
    if error is None:
        logger.error("%s", context.get("message", "Something failed"))
    else:
        logger.error("A fault that nobody caught", exc_info=error)


def _without_words(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        record.msg = f"{record.getMessage()}: {kind.__name__}\n{''.join(traceback.format_tb(trace))}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return True


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
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    return handler
