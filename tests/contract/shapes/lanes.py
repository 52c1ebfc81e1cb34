"""A lane as operators and `GET /v1/surfaces` show it."""

from orchestrator.domain import lane_views
from orchestrator.domain.rows import LaneRow
from tests.contract.rows import after

FREE = LaneRow(
    id=1,
    surface="chatgpt",
    country="US",
    concurrency=100,
    rate=None,
    limited=None,
    adaptive=None,
    allowed=100,
    queued=0,
    processing=20,
    retrying=0,
    breaker="closed",
    open_until=None,
    paused_at=None,
    not_before=None,
)
STOPPED = FREE._replace(
    rate=0.5,
    limited=40,
    adaptive=25,
    allowed=25,
    queued=6,
    retrying=1,
    breaker="open",
    open_until=after(30),
    paused_at=after(1),
    not_before=after(60),
)

SHAPES = {
    "lane": lane_views.view(FREE),
    "lane-stopped": lane_views.view(STOPPED),
    "lane-half-open": lane_views.view(FREE._replace(breaker="half_open", processing=1)),
}
