"""The application: what is served where, and what it stands on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router

from orchestrator.api import services
from orchestrator.api.account import key, usage
from orchestrator.api.auth import authenticated, operators_only
from orchestrator.api.batch import search_batch
from orchestrator.api.capacity import health, status, surfaces
from orchestrator.api.deliveries import deliveries
from orchestrator.api.described import schema
from orchestrator.api.dialects import paths
from orchestrator.api.failures import HANDLERS
from orchestrator.api.group_results import group_results
from orchestrator.api.groups import cancel_group, group, retry_group
from orchestrator.api.jobs import job, search, search_surface
from orchestrator.api.lanes import limit_lane, pause_lane, resume_lane
from orchestrator.api.listing import jobs
from orchestrator.api.metrics import door, metrics
from orchestrator.api.operators import keys, nodes
from orchestrator.api.preflight import foresee, give_back
from orchestrator.api.replays import replay_deliveries, replay_delivery
from orchestrator.api.results import results
from orchestrator.api.stamps import stamp
from orchestrator.api.steering import cancel, clear, retry
from orchestrator.api.streams import job_events, status_stream
from orchestrator.api.traffic import Traffic
from orchestrator.api.webhook_secrets import revoke_webhook_secret, webhook_secrets
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings


def create_app(settings: Settings) -> Litestar:
    """The API over the database at `settings.database_url`, which must be there and migrated.

    Raises `ConfigError` without one: starting the embedded server is the caller's affair.
    """
    if (url := settings.database_url) is None:
        raise ConfigError("the API needs the URL of its database")

    traffic = Traffic()

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        async with services.opened(settings, url, traffic=traffic) as here:
            app.state["services"] = here
            yield

    made = Litestar(
        route_handlers=[*_keyed(), health, schema],
        lifespan=[opened],
        before_send=[stamp, traffic.note],
        middleware=[traffic.watched],
        exception_handlers=HANDLERS,
        openapi_config=None,  # `openapi` writes the document; what is served bypasses Litestar's
        logging_config=None,  # structlog is set up by the process
    )
    made.state["style_of"] = paths.style_of
    return made


def _keyed() -> list[Router]:
    """What takes a key: any, an operator's, and the metrics, which may be public."""
    for_any = [
        *paths.HANDLERS,
        *(search, search_surface, search_batch, job, results, status, foresee, give_back),
        *(cancel, retry, clear, group, cancel_group, retry_group),
        *(jobs, job_events, status_stream, group_results),
        *(deliveries, replay_delivery, replay_deliveries),
        *(webhook_secrets, revoke_webhook_secret),
        *(surfaces, key, usage),
    ]
    for_operators = [nodes, keys, pause_lane, resume_lane, limit_lane]
    return [
        Router("/", route_handlers=for_any, middleware=[authenticated]),
        Router("/", route_handlers=for_operators, middleware=[authenticated, operators_only]),
        Router("/", route_handlers=[metrics], middleware=[door]),
    ]
