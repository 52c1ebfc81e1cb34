"""What the server has room for, serves and is: the snapshot, the surfaces, its health."""

from collections.abc import Callable
from typing import Any, Literal

from litestar import Request, get
from litestar.types import Scope

from admission.rate import Rate, Seen
from orchestrator import snapshot
from orchestrator.api import problems, queries, services, stamps
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.replies import Reply, document
from orchestrator.domain import lane_views
from orchestrator.domain.envelope import SCHEMA_VERSION, Method, Wire
from orchestrator.domain.lane_views import LaneView
from orchestrator.domain.rows import LaneRow
from orchestrator.store import lanes, nodes
from orchestrator.surfaces import SurfaceDescriptor

AnyRequest = Request[Any, Any, Any]
PATIENCE_SECONDS = 2.0
"""How long a health check waits for a connection."""


class SurfaceLimits(Wire):
    """The limits of a surface, as configured.

    Children of a lane at once and how often one starts, unless its country has its own; the worker
    slots a child takes, its tries, seconds a try, and the credits of a cell that shows something.
    """

    concurrency: int
    rate: str | None
    slots: int
    attempts: int
    timeout_seconds: float
    credits: int


class SurfaceView(Wire):
    """A surface that can be asked; `regions` null means every country."""

    name: str
    adapter: str
    method: Method
    regions: tuple[str, ...] | None
    limits: SurfaceLimits
    live_workers: int
    options_schema: dict[str, Any]
    lanes: tuple[LaneView, ...]


class Surfaces(Wire):
    """The answer to `GET /v1/surfaces`."""

    surfaces: tuple[SurfaceView, ...]


class Health(Wire):
    """The answer to `GET /v1/health`."""

    status: Literal["ok"] = "ok"
    schema_version: str = SCHEMA_VERSION


@get("/v1/async/status")
async def status(request: AnyRequest) -> Reply:
    """The snapshot of the key: one statement, as of one moment."""
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    async with here.pool.connection() as connection:
        taken = await snapshot.take(
            connection, key.id, node=here.presence.node_id, observe=observer(scope)
        )
    return document(taken)


def observer(scope: Scope) -> Callable[[Seen], Rate]:
    """Tells the rate of the key that asks by what the database shows; the headers say the same."""
    rates = services.of(scope).rates
    lot = rates.lot(scope["auth"])

    def observe(seen: Seen) -> Rate:
        rate = rates.observe(lot, seen)
        stamps.tell(scope, rate)
        return rate

    return observe


@get("/v1/surfaces")
async def surfaces(request: AnyRequest) -> Reply:
    """What can be asked, from where, and who serves it."""
    here = services.of(request.scope)
    existing = await here.catalogue()
    async with here.pool.connection() as connection:
        rows = await lanes.all_lanes(connection)
    return document(Surfaces(surfaces=tuple(_surfaces(existing, rows))))


@get("/v1/health")
async def health(request: AnyRequest) -> Reply:
    """Whether the database answers, and with `?ready=1` whether a worker lives."""
    async with services.of(request.scope).pool.connection(PATIENCE_SECONDS) as connection:
        serving = await nodes.serving(connection)
    if queries.of(request.scope).get("ready") == "1" and not serving:
        return problems.reply(problems.unavailable("No worker lives."), request.scope)
    return document(Health())


def _surfaces(existing: Catalogue, rows: list[LaneRow]) -> list[SurfaceView]:
    return [
        _surface(surface, existing.workers.get(surface.name, 0), rows)
        for surface in existing.surfaces.values()
    ]


def _surface(surface: SurfaceDescriptor, workers: int, rows: list[LaneRow]) -> SurfaceView:
    return SurfaceView(
        name=surface.name,
        adapter=surface.adapter,
        method=surface.method,
        regions=surface.countries,
        limits=SurfaceLimits(
            concurrency=surface.concurrency,
            rate=surface.rate,
            slots=surface.slots,
            attempts=surface.attempts,
            timeout_seconds=surface.timeout_seconds,
            credits=surface.credits,
        ),
        live_workers=workers,
        options_schema=surface.options_schema,
        lanes=tuple(lane_views.view(row) for row in rows if row.surface == surface.name),
    )
