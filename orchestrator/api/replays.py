"""Deliveries sent again over HTTP: one of them, or all of a time."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any

from litestar import Request, post
from pydantic import Field

from admission.keys import Key
from orchestrator.api import bodies, moments, problems, queries, records, services
from orchestrator.api.deliveries import STATUSES, view
from orchestrator.api.moments import Moment
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.domain import ids
from orchestrator.domain.deliveries import DeliveryStatus, Replayed
from orchestrator.domain.ids import EventId
from orchestrator.store import deliveries
from orchestrator.store.deliveries import DeliveryRow, Range

AnyRequest = Request[Any, Any, Any]


class ReplayRequest(Strict):
    """The body of a replay: of events from one time on, and before another."""

    since: Annotated[
        Moment, Field(validation_alias="from", description="Of events that came then or later.")
    ]
    until: Annotated[
        Moment,
        Field(validation_alias="to", description="Of events that came before; after `from`."),
    ]
    status: Annotated[
        DeliveryStatus | None, Field(description="Only deliveries of this status.")
    ] = None


@post("/v1/webhooks/deliveries/{delivery:str}/replay")
async def replay_delivery(request: AnyRequest) -> Reply:
    """Have a delivery sent again: 202 with the delivery, repeats too."""
    scope = request.scope
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    event = ids.read_delivery(scope["path_params"]["delivery"])
    found = await _replayed(services.of(scope), scope["auth"], event) if event else None
    if found is None:
        return problems.reply(problems.delivery_not_found(), scope)
    return document(view(found), status=HTTPStatus.ACCEPTED)


async def _replayed(here: Services, key: Key, event: EventId) -> DeliveryRow | None:
    async with here.pool.connection() as connection, connection.transaction():
        await deliveries.replay(connection, key_id=key.id, event=event)
        return await deliveries.one(connection, key_id=key.id, event=event)


@post("/v1/webhooks/deliveries/replay")
async def replay_deliveries(request: AnyRequest) -> Reply:
    """Have all deliveries of a time sent again: 202 with how many there are.

    Of those there are when it is asked: what comes meanwhile is sent anyway. It is stored, and
    carried out in batches by whoever has time.
    """
    scope = request.scope
    body = await bodies.read(scope, request.receive)
    asked = records.read(ReplayRequest, scope, body, across)
    if isinstance(asked, Problem):
        return problems.reply(asked, scope)
    statuses = (asked.status,) if asked.status else STATUSES
    wanted = Range(scope["auth"].id, statuses, asked.since, asked.until)
    async with services.of(scope).pool.connection() as connection, connection.transaction():
        matched = await deliveries.request(connection, wanted)
    return document(Replayed(matched=matched), status=HTTPStatus.ACCEPTED)


def across(given: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong between the times of a replay."""
    since, until = moments.read(given.get("from")), moments.read(given.get("to"))
    if since and until and until <= since:
        yield Fault(path="to", message="Must be after from.")
