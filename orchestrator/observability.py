"""Logs: one event line per unit of work, to stderr, as console text or JSON.

Tracebacks never show local variables: those of a request hold its caller's secret. What looks like
one all the same, in the words of a library or a caller, is taken out of the finished line.
"""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from orchestrator.settings import Settings

_frames = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)

_SECRET = re.compile(r"(?<=sk_live_)[\w-]+|(?<=whsec_)[\w+/=-]+|(?<=://)[^\s'\"]*(?=@)")
"""API keys, webhook secrets, and what stands before the host of a URL."""


def configure(settings: Settings) -> None:
    """Set up structlog for this process; warnings of libraries come along in the same form."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[Processor] = (
        [_frames, structlog.processors.JSONRenderer()]
        if settings.log == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *rendered, _discreet],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line is one write
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendered,
                _discreet,
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _discreet(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    return _SECRET.sub("…", str(line))
