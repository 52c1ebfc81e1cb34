"""Which path speaks what, and what is served there."""

import re

from litestar.types import ControllerRouterHandler

from orchestrator.api.dialects import rodin, shared
from orchestrator.api.dialects.asyncqueue import errors as asyncqueue
from orchestrator.api.dialects.asyncqueue.tasks import every_task, one_task
from orchestrator.api.dialects.cloro import errors as cloro
from orchestrator.api.dialects.cloro.account import countries, credits_left
from orchestrator.api.dialects.cloro.batch import create_tasks
from orchestrator.api.dialects.cloro.monitor import monitor
from orchestrator.api.dialects.cloro.tasks import create_task, read_task
from orchestrator.api.styles import Style

HANDLERS: list[ControllerRouterHandler] = [
    *(create_task, create_tasks, read_task, monitor, countries, credits_left),
    *(every_task, one_task),
    rodin.queue_status_check,
]
_SLASHES = re.compile("/+")
_STYLES: tuple[tuple[re.Pattern[str], Style | None], ...] = (
    (re.compile("/v1/async/(status|queue)"), shared.STYLE),
    (re.compile("/v1/async/(preflight|status/stream|reservations/.*)", re.DOTALL), None),
    (re.compile("/v1/(async/.*|(monitor|countries|credits)(/.*)?)", re.DOTALL), cloro.STYLE),
    (re.compile("/v1/tasks(/.*)?", re.DOTALL), asyncqueue.STYLE),
    (re.compile("/api/v2(/.*)?", re.DOTALL), rodin.STYLE),
)
"""The first pattern that a path matches says how it speaks; None is natively."""
_FIRST = ("/v1/async", "/v1/monitor", "/v1/countries", "/v1/credits", "/v1/tasks", "/api/v2")
"""Most requests are of other paths, which are told apart sooner by this."""


def style_of(path: str) -> Style | None:
    """How a path speaks, whether or not something is served there; None: natively."""
    bare = _SLASHES.sub("/", path).rstrip("/")  # as it is routed
    if not bare.startswith(_FIRST):
        return None
    return next((style for pattern, style in _STYLES if pattern.fullmatch(bare)), None)
