"""The application: what is served where, and what it stands on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router

from orchestrator.api import services
from orchestrator.api.account import key, usage
from orchestrator.api.auth import authenticated
from orchestrator.api.batch import search_batch
from orchestrator.api.capacity import health, status, surfaces
from orchestrator.api.described import schema
from orchestrator.api.failures import HANDLERS
from orchestrator.api.group_results import group_results
from orchestrator.api.groups import cancel_group, group, retry_group
from orchestrator.api.jobs import read, search, search_surface
from orchestrator.api.listing import jobs
from orchestrator.api.preflight import foresee, give_back
from orchestrator.api.results import results
from orchestrator.api.stamps import stamp
from orchestrator.api.steering import cancel, clear, remove, retry
from orchestrator.api.streams import job_events, status_stream
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings


def create_app(settings: Settings) -> Litestar:
    """The API over the database at `settings.database_url`, which must be there and migrated.

    Raises `ConfigError` without one: starting the embedded server is the caller's affair.
    """
    if (url := settings.database_url) is None:
        raise ConfigError("the API needs the URL of its database")

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        async with services.opened(settings, url) as here:
            app.state["services"] = here
            yield

    keyed = Router(
        path="/",
        route_handlers=[
            *(search, search_surface, search_batch, read, results, status, foresee, give_back),
            *(cancel, remove, retry, clear, group, cancel_group, retry_group),
            *(jobs, job_events, status_stream, group_results),
            *(surfaces, key, usage),
        ],
        middleware=[authenticated],
    )
    return Litestar(
        route_handlers=[keyed, health, schema],
        lifespan=[opened],
        before_send=[stamp],
        exception_handlers=HANDLERS,
        openapi_config=None,  # `openapi` writes the document; what is served bypasses Litestar's
        logging_config=None,  # structlog is set up by the process
    )
