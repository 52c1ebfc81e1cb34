"""Orders over HTTP, and what their answers tell."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import msgspec

from admission.budget import Unaffordable
from admission.refusals import Refusal
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.preflight import Preflight
from orchestrator.store.steering import Canceled, Erased, NotCancelable, NotEnded, NotRetryable
from tests.stateful import wire
from tests.stateful.orders import (
    RESERVED,
    Cancel,
    Clear,
    Erase,
    GiveBack,
    OfGroup,
    Order,
    Reserve,
    Retried,
    Retry,
)

LONGEST_SECONDS = 120


class Client:
    """One key's, of one API process; `plans` are those of the jobs it speaks of."""

    def __init__(
        self, http: httpx.AsyncClient, headers: Mapping[str, str], plans: Mapping[UUID, Plan]
    ) -> None:
        self._http = http
        self._headers = dict(headers)
        self._plans = plans

    async def give(self, order: Order) -> Any:
        """What is told, as the store would have told it."""
        match order:
            case Cancel(_, parent, ordinal):
                return _canceled(await self._post(f"{self._job(parent, ordinal)}/cancel"))
            case Retry(_, parent, statuses, ordinal):
                path = f"{self._job(parent, ordinal)}/retry"
                return _retried(await self._post(path, {"statuses": list(statuses)}))
            case Erase(_, parent):
                return _erased(await self._delete(self._job(parent, None)))
            case OfGroup():
                return await self._of_group(order)
        return await self._of_queue(order)

    async def _of_queue(self, order: Clear | Reserve | GiveBack) -> Any:
        match order:
            case Clear():
                return (await self._delete("/v1/async/queue")).json()["cleared"]
            case Reserve(_, places):
                asked = {"jobs": places, "surfaces": [RESERVED], "reserveSeconds": LONGEST_SECONDS}
                answer = await self._post("/v1/async/preflight", asked)
                return msgspec.json.decode(answer.content, type=Preflight)
            case GiveBack(_, reservation):
                held = ids.reservation_text(reservation)
                answer = await self._delete(f"/v1/async/reservations/{held}")
                return {204: True, 404: False}[answer.status_code]

    async def _of_group(self, order: OfGroup) -> int | None:
        body = {"statuses": list(order.statuses)} if order.kind == "retry" else None
        answer = await self._post(f"/v1/groups/{order.group}/{order.kind}", body)
        return None if answer.status_code == 404 else answer.json()["matched"]

    def _job(self, parent: UUID, ordinal: int | None) -> str:
        """The path of a parent or of one cell; of one that is erased, of none."""
        job = ids.text(parent)
        if ordinal and (plan := self._plans.get(parent)):
            cell = plan.cell(ordinal)
            job = ids.child_text(job, cell.surface, cell.token)
        return f"/v1/jobs/{job}"

    async def _post(self, path: str, body: Any = None) -> httpx.Response:
        return await self._http.post(path, json=body, headers=self._headers)

    async def _delete(self, path: str) -> httpx.Response:
        return await self._http.delete(path, headers=self._headers)


def _canceled(answer: httpx.Response) -> Canceled | NotCancelable | None:
    match answer.status_code:
        case 200:
            assert answer.json()["job"]["cancelRequestedAt"]
            return Canceled()
        case 404:
            return None
    assert _code(answer) == "NOT_CANCELABLE"
    return NotCancelable()


def _retried(answer: httpx.Response) -> Retried | NotRetryable | Unaffordable | Refusal | None:
    match answer.status_code:
        case 202:
            return Retried()
        case 403:
            return wire.unaffordable(answer.json()["error"])
        case 404:
            return None
        case 429:
            return wire.refusal(answer.json()["error"], answer.headers)
    assert _code(answer) == "NOT_RETRYABLE"
    return NotRetryable(ended="has not ended" not in answer.json()["error"]["message"])


def _erased(answer: httpx.Response) -> Erased | NotEnded | None:
    """A job that has not ended, since somebody retried it, is canceled instead."""
    match answer.status_code:
        case 204:
            return Erased()
        case 404:
            return None
    assert answer.status_code in {200, 409}
    return NotEnded()


def _code(answer: httpx.Response) -> str:
    assert answer.status_code == 409, answer.text
    return str(answer.json()["error"]["code"])
