"""What a retry is asked for: a body that may be left out."""

from typing import Annotated, Literal

from litestar.types import Receive, Scope
from pydantic import Field, ValidationError

from orchestrator.api import bodies, problems, queries
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.store.steering import RETRYABLE

RetryStatus = Literal["failed", "expired", "canceled"]


class RetryRequest(Strict):
    """The body of a retry: how the cells ended that are to run again; all three when left out."""

    statuses: Annotated[
        list[RetryStatus] | None,
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    ] = None

    @property
    def ends(self) -> tuple[str, ...]:
        """Each end once."""
        return tuple(dict.fromkeys(self.statuses)) if self.statuses else RETRYABLE


async def read(scope: Scope, receive: Receive) -> RetryRequest | Problem:
    """What is asked for, or all that is wrong with it; no body is all three ends."""
    body = await bodies.read_any(scope, receive)
    if isinstance(body, Problem):
        return body
    asked = _parse(body) if body.strip() else RetryRequest()
    faults = queries.unknown(scope) + (asked if isinstance(asked, list) else [])
    if faults or isinstance(asked, list):
        return problems.invalid(faults)
    return asked


def _parse(body: bytes) -> RetryRequest | list[Fault]:
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message="The body must be a JSON object, or left out.")]
    try:
        asked = RetryRequest.model_validate(decoded.value)
    except ValidationError as error:
        return [*decoded.faults, *(_fault(detail["loc"]) for detail in error.errors())]
    if asked.statuses and len(set(asked.statuses)) < len(asked.statuses):
        return [Fault(path="statuses", message="Each at most once.")]
    return asked


def _fault(place: tuple[int | str, ...]) -> Fault:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    path = path.removeprefix(".")
    if place[0] != "statuses":
        return Fault(path=path, message="Unknown field; allowed: statuses.")
    message = "A list with some of failed, expired, canceled, each at most once."
    return Fault(path=path, message=message)
