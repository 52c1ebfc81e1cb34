"""Lists of a key's parents over HTTP: filtered, newest first, page by page."""

import base64
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, get_args
from uuid import UUID

from litestar import Request, get
from psycopg import AsyncConnection

from admission import keys
from admission.keys import Key
from orchestrator.api import moments, problems, queries, services
from orchestrator.api.problems import Fault
from orchestrator.api.replies import Reply, document
from orchestrator.api.schemas import GROUP, SURFACE
from orchestrator.domain import listed
from orchestrator.domain.many import Jobs
from orchestrator.domain.states import ParentState, ParentStatus
from orchestrator.store import groups, lanes, listing
from orchestrator.store.listing import Wanted

STATUSES: tuple[ParentStatus, ...] = get_args(ParentStatus)
METADATA = "metadata."
LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 64, 512
Value = TypeVar("Value")


class Asked(NamedTuple):
    """The filters of a list, as they were given."""

    status: str | None
    surface: str | None
    region: str | None
    group: str | None
    metadata: dict[str, str]
    since: datetime | None
    until: datetime | None
    before: UUID | None
    limit: int


@get("/v1/jobs")
async def jobs(request: Request[Any, Any, Any]) -> Reply:
    """A page of the key's parents, or of another's when an operator names it."""
    scope = request.scope
    here, given = services.of(scope), queries.of(scope)
    asked = parse(given)
    if isinstance(asked, list):
        return problems.reply(problems.invalid(asked), scope)
    async with here.reading() as connection:
        key = await _owner(connection, scope["auth"], given.get("key"))
        if key is None:
            return problems.reply(problems.key_not_found(), scope)
        wanted = await _wanted(connection, key, asked)
        if wanted is None:
            return document(Jobs(jobs=(), next_cursor=None))
        page = await listing.page(connection, wanted, limit=asked.limit)
    found = tuple(listed.job(parent, running) for parent, running in page.parents)
    more = None if page.more_before is None else cursor(page.more_before)
    return document(Jobs(jobs=found, next_cursor=more))


async def _owner(connection: AsyncConnection, key: Key, named: str | None) -> Key | None:
    """Whose jobs are looked for; None when there is no such key, which none is to a client."""
    if named is None:
        return key
    return await keys.find(connection, named) if key.role == "operator" else None


async def _wanted(connection: AsyncConnection, key: Key, asked: Asked) -> Wanted | None:
    """What is looked for; None when nothing can be like that."""
    group_id = lane_ids = None
    if asked.group is not None:
        known = await groups.find(connection, [(key.id, asked.group)])
        if (group_id := known.get((key.id, asked.group))) is None:
            return None
    if asked.surface is not None or asked.region is not None:
        lane_ids = await lanes.of(connection, surface=asked.surface, country=asked.region)
        if not lane_ids:
            return None
    states = [state for state in ParentState if asked.status in {None, state.wire}]
    return Wanted(
        key_id=key.id,
        states=states,
        group_id=group_id,
        lanes=lane_ids,
        metadata=asked.metadata or None,
        since=asked.since,
        until=asked.until,
        before=asked.before,
    )


def parse(given: dict[str, str]) -> Asked | list[Fault]:
    """The filters asked for, or all that is wrong with them."""
    metadata = {
        name.removeprefix(METADATA): value
        for name, value in given.items()
        if name.startswith(METADATA)
    }
    limit = queries.limit(given)
    since = moments.of_query(given, "createdAfter")
    until = moments.of_query(given, "createdBefore")
    before = _before(given.get("cursor"))
    parts = (limit, since, until, before, *_texts(given), *_metadata(metadata))
    faults = [part for part in parts if isinstance(part, Fault)]
    if faults:
        return faults
    region = given.get("region")
    return Asked(
        status=given.get("status"),
        surface=given.get("surface"),
        region=region.upper() if region is not None else None,
        group=given.get("group"),
        metadata=metadata,
        since=_sound(since),
        until=_sound(until),
        before=_sound(before),
        limit=_sound(limit),
    )


def _sound(part: Value | Fault) -> Value:
    """A part that was found to be none."""
    assert not isinstance(part, Fault)  # noqa: S101 - faults were returned before
    return part


def _texts(given: dict[str, str]) -> Iterator[Fault]:
    if given.get("status", STATUSES[0]) not in STATUSES:
        yield Fault(path="?status", message=f"One of {', '.join(STATUSES)}.")
    for name, pattern, message in (
        ("surface", SURFACE, f"A surface matches {SURFACE}."),
        ("region", "[A-Za-z]{2}", 'A country such as "US".'),
        ("group", GROUP, f"A group matches {GROUP}."),
    ):
        if name in given and not re.fullmatch(pattern, given[name]):
            yield Fault(path=f"?{name}", message=message)


def _metadata(given: dict[str, str]) -> Iterable[Fault]:
    for name, value in given.items():
        path = f"?{METADATA}{name}"
        if not 1 <= len(name) <= LONGEST_METADATA_KEY or "\0" in name:
            yield Fault(path=path, message=f"A key has 1 to {LONGEST_METADATA_KEY} characters.")
        if len(value) > LONGEST_METADATA_VALUE or "\0" in value:
            message = f"A value has at most {LONGEST_METADATA_VALUE} characters."
            yield Fault(path=path, message=message)


def cursor(parent: UUID) -> str:
    """The opaque text that stands for 'before this parent'."""
    return base64.urlsafe_b64encode(b"p" + parent.bytes).decode().rstrip("=")


def _before(text: str | None) -> UUID | Fault | None:
    """The parent a cursor stands for; None without one."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode() + b"==")
        before = UUID(bytes=raw[1:])
    except ValueError:  # not base64, or not as long
        before = UUID(int=0)
    if cursor(before) != text:
        return queries.no_cursor()
    return before
