"""`GET /metrics`: the whole server as the database counts it, and the requests of this process."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from anyio import to_thread
from litestar import Request, get
from litestar.types import ASGIApp, Receive, Scope, Send
from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from orchestrator.api import services
from orchestrator.api.auth import authenticated, operators_only
from orchestrator.api.replies import Reply
from orchestrator.api.stamps import header
from orchestrator.api.traffic import BOUNDS, OTHER, Answered, Timed
from orchestrator.store import gauges
from orchestrator.store.gauges import Gauges, LaneGauges

MEDIA = b"text/plain; version=0.0.4; charset=utf-8"
"""The text format of Prometheus."""
STATES = ("waiting", "queued", "retrying", "processing")
LANE = ("surface", "country")
_LE = (*map(str, BOUNDS), "+Inf")


class _Families(NamedTuple):
    """Metrics that were made already, as the exposition takes them."""

    made: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.made


@get("/metrics")
async def metrics(request: Request[Any, Any, Any]) -> Reply:
    """Everything, as Prometheus reads it."""
    here = services.of(request.scope)
    async with here.pool.connection() as connection:
        read = await gauges.read(connection)
    # 200 lanes are 20 ms of writing, during which nobody else would be served.
    write = partial(text, read, here.traffic.timed, node=here.presence.node_id)
    return Reply(200, await to_thread.run_sync(write), media=MEDIA)


def door(app: ASGIApp) -> ASGIApp:
    """Serve `app` to operators; to anybody where the metrics are public, without a key at no cost.

    A key that is given is looked at even then: it pays, and a bad one is told so.
    """
    any_key, operators = authenticated(app), authenticated(operators_only(app))

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if not services.of(scope).settings.metrics_public:
            await operators(scope, receive, send)
        elif header(scope, b"authorization") is not None:
            await any_key(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guard


def text(read: Gauges, answered: Mapping[Answered, Timed], *, node: int) -> bytes:
    """The metrics in Prometheus' text format; `node` is the process that answered these."""
    return generate_latest(_Families([*_of_server(read), *_of_process(answered, str(node))]))


def _of_server(read: Gauges) -> Iterator[Metric]:
    yield from _of_lanes(read.lanes)
    yield _gauge(
        "parallax_queue_parents",
        "Parents in the admission queues; delayed ones may not leave yet.",
        ("state",),
        [(("queued",), read.queued), (("delayed",), read.delayed)],
    )
    yield GaugeMetricFamily(
        "parallax_sync_callers", "Sync callers who wait for their answer.", read.callers
    )
    yield _gauge(
        "parallax_nodes",
        "Live processes.",
        ("kind",),
        [((kind,), n) for kind, n in read.nodes.items()],
    )
    yield _gauge(
        "parallax_deliveries",
        "Events that webhooks were not told yet, or were not and will not be; to 10,000.",
        ("status",),
        [((status,), n) for status, n in read.undelivered.items()],
    )
    yield _gauge(
        "parallax_surface_workers",
        "Live worker processes that serve a surface.",
        ("surface",),
        [((surface,), n) for surface, n in read.workers.items()],
    )


def _of_lanes(lanes: Iterable[LaneGauges]) -> Iterator[Metric]:
    yield _gauge(
        "parallax_lane_cells",
        "Cells of a lane that have not ended; waiting ones are in an admission queue.",
        (*LANE, "state"),
        [((*lane[:2], state), getattr(lane, state)) for lane in lanes for state in STATES],
    )
    yield _gauge(
        "parallax_lane_limit",
        "Children of a lane that may run at once: the least of its limits.",
        LANE,
        [(lane[:2], lane.limit) for lane in lanes],
    )
    yield _gauge(
        "parallax_lane_breaker_open",
        "1 while nothing starts in a lane because its upstream failed again and again.",
        LANE,
        [(lane[:2], int(lane.breaker_open)) for lane in lanes],
    )
    yield _gauge(
        "parallax_lane_paused",
        "1 while nothing starts in a lane because an operator paused it.",
        LANE,
        [(lane[:2], int(lane.paused)) for lane in lanes],
    )


def _of_process(answered: Mapping[Answered, Timed], node: str) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "parallax_http_requests",
        "Responses of an API process by the template of their path.",
        labels=("node", "method", "route", "status"),
    )
    for kind, timed in sorted(answered.items()):
        labels = (node, kind.method, kind.route, str(kind.status))
        requests.add_metric(labels, sum(timed.buckets))
    yield requests
    seconds = HistogramMetricFamily(
        "parallax_http_request_seconds",
        "Time until the response began.",
        labels=("node", "route"),
    )
    for route in sorted({kind.route for kind in answered} - {OTHER}):
        of_route = [timed for kind, timed in answered.items() if kind.route == route]
        within = accumulate(map(sum, zip(*(timed.buckets for timed in of_route), strict=True)))
        total = sum(timed.seconds for timed in of_route)
        seconds.add_metric((node, route), list(zip(_LE, within, strict=True)), total)
    yield seconds


def _gauge(
    name: str,
    meaning: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], int]],
) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
