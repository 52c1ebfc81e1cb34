"""Lists of a key's deliveries over HTTP: filtered, newest first, page by page."""

import base64
import struct
from datetime import datetime, timedelta
from typing import Any, NamedTuple, get_args
from uuid import UUID

from litestar import Request, get

from orchestrator.api import moments, problems, queries, services
from orchestrator.api.problems import Fault
from orchestrator.api.replies import Reply, document
from orchestrator.domain import ids
from orchestrator.domain.deliveries import Deliveries, Delivery, DeliveryStatus, kind
from orchestrator.domain.ids import EventId
from orchestrator.domain.times import rfc3339
from orchestrator.store import deliveries as store
from orchestrator.store.deliveries import DeliveryRow, Place, Wanted
from orchestrator.store.deliveries.listing import EPOCH, NEWEST

STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
_PLACE = struct.Struct(">cQ16shi")
"""A place: its mark, microseconds since 1970, the parent, and two integers as PostgreSQL's are."""
_MARK = b"d"
_MICROSECOND = timedelta(microseconds=1)


class Asked(NamedTuple):
    """The filters of a list, as they were given."""

    statuses: tuple[DeliveryStatus, ...]
    since: datetime | None
    until: datetime | None
    before: Place
    limit: int


@get("/v1/webhooks/deliveries")
async def deliveries(request: Request[Any, Any, Any]) -> Reply:
    """A page of the key's deliveries."""
    scope = request.scope
    asked = parse(queries.of(scope))
    if isinstance(asked, list):
        return problems.reply(problems.invalid(asked), scope)
    wanted = Wanted(
        scope["auth"].id, asked.statuses, asked.since or EPOCH, asked.until, asked.before
    )
    async with services.of(scope).reading() as connection:
        rows = await store.page(connection, wanted, limit=asked.limit + 1)
    shown = rows[: asked.limit]
    more = cursor(shown[-1].place) if len(rows) > len(shown) else None
    return document(Deliveries(deliveries=tuple(map(view, shown)), next_cursor=more))


def parse(given: dict[str, str]) -> Asked | list[Fault]:
    """The filters asked for, or all that is wrong with them."""
    status, limit, before = _statuses(given), queries.limit(given), _before(given)
    since = moments.of_query(given, "createdAfter")
    until = moments.of_query(given, "createdBefore")
    parts = (status, since, until, limit, before)
    if isinstance(status, Fault) or isinstance(limit, Fault) or isinstance(before, Fault):
        return [part for part in parts if isinstance(part, Fault)]
    if isinstance(since, Fault) or isinstance(until, Fault):
        return [part for part in (since, until) if isinstance(part, Fault)]
    return Asked(status, since, until, before, limit)


def view(row: DeliveryRow) -> Delivery:
    """A delivery as a client reads it."""
    event = EventId(row.parent_id, row.ordinal, row.run)
    job = ids.text(row.parent_id)
    if row.ordinal:
        cell = row.plan.cell(row.ordinal)
        job = ids.child_text(job, cell.surface, cell.token)
    return Delivery(
        id=ids.delivery_text(event),
        event_id=ids.event_text(event),
        type=kind(row.ordinal, row.state),
        job_id=job,
        url=row.plan.webhook.url if row.plan.webhook else "",
        status=row.status,
        attempts=row.attempts,
        next_attempt_at=rfc3339(row.due_at),
        last_code=row.last_code,
        created_at=rfc3339(row.created_at),
        delivered_at=rfc3339(row.delivered_at),
    )


def _statuses(given: dict[str, str]) -> tuple[DeliveryStatus, ...] | Fault:
    if "status" not in given:
        return STATUSES
    named = tuple(status for status in STATUSES if status == given["status"])
    return named or Fault(path="?status", message=f"One of {', '.join(STATUSES)}.")


def cursor(place: Place) -> str:
    """The opaque text that stands for 'before this delivery'."""
    since = (place.created_at - EPOCH) // _MICROSECOND
    raw = _PLACE.pack(_MARK, since, place.parent_id.bytes, place.ordinal, place.run)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _before(given: dict[str, str]) -> Place | Fault:
    """The place a cursor stands for; after all there are without one."""
    if "cursor" not in given:
        return NEWEST
    text = given["cursor"]
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"==")
        _, since, parent, ordinal, run = _PLACE.unpack(raw)
        created_at = EPOCH + since * _MICROSECOND
    except (ValueError, OverflowError, struct.error):  # not base64, not as long, no time
        return queries.no_cursor()
    before = Place(created_at, UUID(bytes=parent), ordinal, run)
    return before if cursor(before) == text else queries.no_cursor()
