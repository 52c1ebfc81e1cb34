"""What a group found, over HTTP: its parents' results one after the other, paged or streamed."""

import base64
import re
from collections.abc import AsyncIterator
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Request, get
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import ASGIApp
from psycopg import AsyncConnection

from admission.keys import Key
from orchestrator.api import problems, queries, results, services
from orchestrator.api.problems import Fault
from orchestrator.api.queries import LARGEST_PAGE
from orchestrator.api.results import Found
from orchestrator.api.schemas import GROUP
from orchestrator.api.services import Services
from orchestrator.domain import cell_views
from orchestrator.domain.obstacles import Obstacles
from orchestrator.domain.states import ParentState
from orchestrator.store import group_results as stored
from orchestrator.store import groups, standing
from orchestrator.store.group_results import Part, Reached

UUID_BYTES = 16


class Wanted(NamedTuple):
    """Which results are asked for: at most `limit`, of the cells after the one reached."""

    limit: int
    after: Reached | None
    flat: bool


@get("/v1/groups/{group:str}/results")
async def group_results(request: Request[Any, Any, Any]) -> ASGIApp:
    """The Envelopes of a group, its oldest parent first, in whatever state each is."""
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    wanted = parse(queries.of(scope))
    if isinstance(wanted, list):
        return problems.reply(problems.invalid(wanted), scope)
    streamed = results.streamed(scope)
    if streamed:
        wanted = wanted._replace(limit=LARGEST_PAGE)
    group = scope["path_params"]["group"]
    found = await _find(here, key, group, wanted)
    if found is None:
        return problems.reply(problems.group_not_found(), scope)
    if streamed:
        lines = _lines(here, key, group, found, wanted)
        return ASGIStreamingResponse(iterator=lines, media_type=results.NDJSON)
    more = found.more_after
    return results.page(found.envelopes, None if more is None else cursor(more), flat=wanted.flat)


async def _find(here: Services, key: Key, group: str, wanted: Wanted) -> Found[Reached] | None:
    """What comes next; None when the group has no parent, or is not there."""
    if not re.fullmatch(GROUP, group):
        return None
    existing = await here.catalogue()
    async with here.reading() as connection:
        known = await groups.find(connection, [(key.id, group)])
        if (group_id := known.get((key.id, group))) is None:
            return None
        parts, more = await stored.parts(
            connection, group_id, after=wanted.after, limit=wanted.limit
        )
        rows = await stored.children(connection, parts)
        obstacles = await _obstacles(connection, parts)
    if not parts and wanted.after is None:
        return None
    envelopes = chain.from_iterable(
        cell_views.envelopes(
            part.parent,
            islice(part.parent.plan.cells(), part.after, part.last),
            rows.get(part.parent.id, ()),
            existing.surfaces,
            obstacles,
        )
        for part in parts
    )
    return Found(tuple(envelopes), more)


async def _obstacles(connection: AsyncConnection, parts: list[Part]) -> Obstacles | None:
    """What is in the way of the cells of all of them, who have one key."""
    may_wait = {ParentState.QUEUED, ParentState.PROCESSING}
    live = [part.parent for part in parts if part.parent.state in may_wait]
    if not live:
        return None
    lanes = {lane for parent in live for lane in parent.lanes}
    return await standing.obstacles(connection, live[0]._replace(lanes=tuple(lanes)))


async def _lines(
    here: Services, key: Key, group: str, found: Found[Reached] | None, wanted: Wanted
) -> AsyncIterator[bytes]:
    """Every Envelope from those found on, a line each; one page is held at a time."""
    while found is not None:
        told, after = results.lines(found.envelopes, flat=wanted.flat), found.more_after
        found = None
        yield told
        if after is None:
            return
        found = await _find(here, key, group, wanted._replace(after=after))


def parse(given: dict[str, str]) -> Wanted | list[Fault]:
    """The results asked for, or all that is wrong with how."""
    parts = (queries.limit(given), _reached(given.get("cursor")), queries.flat(given))
    limit, after, flat = parts
    if isinstance(limit, Fault) or isinstance(after, Fault) or isinstance(flat, Fault):
        return [part for part in parts if isinstance(part, Fault)]
    return Wanted(limit, after, flat)


def cursor(reached: Reached) -> str:
    """The opaque text that stands for 'after this cell'."""
    raw = b"g" + reached.parent.bytes + reached.ordinal.to_bytes(2)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _reached(text: str | None) -> Reached | Fault | None:
    """The cell a cursor stands for; None without one."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"==")
        after = Reached(UUID(bytes=raw[1 : 1 + UUID_BYTES]), int.from_bytes(raw[1 + UUID_BYTES :]))
        known = cursor(after) == text
    except (ValueError, OverflowError):  # not base64, or of another length
        known = False
    return after if known else queries.no_cursor()
