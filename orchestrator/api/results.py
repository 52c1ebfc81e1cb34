"""What a parent found, over HTTP: page by page, or all of it as a stream of lines."""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import ASGIApp

from admission.keys import Key
from orchestrator.api import problems, queries, services
from orchestrator.api.queries import LARGEST_PAGE, Wanted
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.api.stamps import header
from orchestrator.domain import ids, views
from orchestrator.domain.documents import Envelope, FlatResults, Results
from orchestrator.domain.ids import ParentId
from orchestrator.store import children, parents

NDJSON = "application/x-ndjson"
_encoder = msgspec.json.Encoder()


class _Found(NamedTuple):
    """Some of a parent's Envelopes; `more_after` is their last ordinal, None at the end."""

    envelopes: tuple[Envelope, ...]
    more_after: int | None


@get("/v1/jobs/{job:str}/results")
async def results(request: Request[Any, Any, Any]) -> ASGIApp:
    """The Envelopes of a parent's cells in their order, in whatever state each is."""
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    wanted = queries.results(queries.of(scope))
    if isinstance(wanted, list):
        return problems.reply(problems.invalid(wanted), scope)
    streamed = NDJSON.encode() in (header(scope, b"accept") or b"").lower()
    if streamed:
        wanted = wanted._replace(limit=LARGEST_PAGE)
    job = ids.read(scope["path_params"]["job"])
    found = await _find(here, key, job.parent, wanted) if isinstance(job, ParentId) else None
    if not isinstance(job, ParentId) or found is None:
        return problems.reply(problems.job_not_found(), scope)
    if streamed:
        lines = _lines(here, key, job.parent, found, wanted)
        return ASGIStreamingResponse(iterator=lines, media_type=NDJSON)
    return _page(found, flat=wanted.flat)


async def _find(here: Services, key: Key, job: UUID, wanted: Wanted) -> _Found | None:
    async with here.reading() as connection:
        parent = await parents.read(connection, key_id=key.id, parent=job)
        if parent is None:
            return None
        rows = await children.results(connection, job, after=wanted.after, limit=wanted.limit)
    existing = await here.catalogue()
    last = wanted.after + wanted.limit
    cells = islice(parent.plan.cells(), wanted.after, last)
    envelopes = views.envelopes(parent, cells, rows, existing.surfaces)
    return _Found(tuple(envelopes), last if last < parent.total else None)


def _page(found: _Found, *, flat: bool) -> Reply:
    after = found.more_after
    cursor = None if after is None else queries.cursor(after)
    if flat:
        texts = tuple(map(views.flat, found.envelopes))
        return document(FlatResults(results=texts, next_cursor=cursor))
    return document(Results(results=found.envelopes, next_cursor=cursor))


async def _lines(
    here: Services, key: Key, job: UUID, first: _Found, wanted: Wanted
) -> AsyncIterator[bytes]:
    """Every Envelope from the first found on, a line each; a parent erased meanwhile ends it."""
    found: _Found | None = first
    while found is not None:
        shown = map(views.flat, found.envelopes) if wanted.flat else found.envelopes
        yield _encoder.encode_lines(list(shown))
        if found.more_after is None:
            return
        found = await _find(here, key, job, wanted._replace(after=found.more_after))
