"""What a parent found, over HTTP: page by page, or all of it as a stream of lines."""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import ASGIApp, Scope

from admission.keys import Key
from orchestrator.api import problems, queries, services
from orchestrator.api.queries import LARGEST_PAGE, Wanted
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.api.stamps import header
from orchestrator.domain import cell_views, ids
from orchestrator.domain.documents import Envelope, FlatResults, Results
from orchestrator.domain.ids import ParentId
from orchestrator.store import children, parents, standing

NDJSON = "application/x-ndjson"
_encoder = msgspec.json.Encoder()


More = TypeVar("More")


class Found(NamedTuple, Generic[More]):
    """Some Envelopes, and after what there are more; None at the end."""

    envelopes: tuple[Envelope, ...]
    more_after: More | None


@get("/v1/jobs/{job:str}/results")
async def results(request: Request[Any, Any, Any]) -> ASGIApp:
    """The Envelopes of a parent's cells in their order, in whatever state each is."""
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    wanted = queries.results(queries.of(scope))
    if isinstance(wanted, list):
        return problems.reply(problems.invalid(wanted), scope)
    stream = streamed(scope)
    if stream:
        wanted = wanted._replace(limit=LARGEST_PAGE)
    job = ids.read(scope["path_params"]["job"])
    found = await _find(here, key, job.parent, wanted) if isinstance(job, ParentId) else None
    if not isinstance(job, ParentId) or found is None:
        return problems.reply(problems.job_not_found(), scope)
    if stream:
        told = _lines(here, key, job.parent, found, wanted)
        return ASGIStreamingResponse(iterator=told, media_type=NDJSON)
    after = found.more_after
    cursor = None if after is None else queries.cursor(after)
    return page(found.envelopes, cursor, flat=wanted.flat)


def streamed(scope: Scope) -> bool:
    """Whether lines are asked for, not a page."""
    return NDJSON.encode() in (header(scope, b"accept") or b"").lower()


def page(envelopes: tuple[Envelope, ...], cursor: str | None, *, flat: bool) -> Reply:
    """A page of Envelopes, or of their texts."""
    if flat:
        return document(
            FlatResults(results=tuple(map(cell_views.flat, envelopes)), next_cursor=cursor)
        )
    return document(Results(results=envelopes, next_cursor=cursor))


def lines(envelopes: tuple[Envelope, ...], *, flat: bool) -> bytes:
    """A line for each Envelope, or for its text."""
    return _encoder.encode_lines(list(map(cell_views.flat, envelopes)) if flat else envelopes)


async def _find(here: Services, key: Key, job: UUID, wanted: Wanted) -> Found[int] | None:
    existing = await here.catalogue()
    async with here.reading() as connection:
        parent = await parents.read(connection, key_id=key.id, parent=job)
        if parent is None:
            return None
        rows = await children.results(connection, job, after=wanted.after, limit=wanted.limit)
        obstacles = await standing.obstacles(connection, parent)
    last = wanted.after + wanted.limit
    cells = islice(parent.plan.cells(), wanted.after, last)
    envelopes = cell_views.envelopes(parent, cells, rows, existing.surfaces, obstacles)
    return Found(tuple(envelopes), last if last < parent.total else None)


async def _lines(
    here: Services, key: Key, job: UUID, found: Found[int] | None, wanted: Wanted
) -> AsyncIterator[bytes]:
    """Every Envelope from those found on, a line each; a parent erased meanwhile ends it.

    Nothing is held of a page while it is sent, and of the last while the next is found.
    """
    while found is not None:
        told, after, found = lines(found.envelopes, flat=wanted.flat), found.more_after, None
        yield told
        if after is None:
            return
        found = await _find(here, key, job, wanted._replace(after=after))
