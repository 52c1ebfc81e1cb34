"""A batch over HTTP, read: each item by itself, as the body of a submission is."""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple
from uuid import UUID

import anyio.lowlevel
import msgspec
from litestar.types import Receive, Scope
from pydantic import Field

from admission.keys import Key
from orchestrator.api import asking, bodies, problems, queries, requests, services
from orchestrator.api.between import Rules
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.codes import Code
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.requests import MOST_FAULTS, Asked
from orchestrator.api.schemas import SubmitRequest

LARGEST_BYTES = 16 * 1024 * 1024
MOST_ITEMS = 500
AT_A_TIME = 20
"""Items read before other requests have their turn."""
_items = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class BatchRequest(Strict):
    """The body of `POST /v1/search/batch`; each item is read by itself."""

    items: Annotated[
        list[SubmitRequest],
        Field(
            min_length=1,
            max_length=MOST_ITEMS,
            description="One that is invalid is refused alone, all of them when `atomic`.",
        ),
    ]


class Batch(NamedTuple):
    """Submissions that come together: what each asks for, or why it cannot be taken in.

    `whole`: all of them or none, and then each asks for something.
    """

    key: Key
    items: Sequence[Asked | Problem]
    whole: bool
    existing: Catalogue
    reservation: UUID | None


class _Beside(NamedTuple):
    whole: bool
    idempotency_key: str


async def read(scope: Scope, receive: Receive) -> Batch | Problem:
    """The batch of a request, or what is wrong with it."""
    here = services.of(scope)
    body = await bodies.read(scope, receive, largest=LARGEST_BYTES)
    if isinstance(body, Problem):
        return body
    beside, raw = _beside(scope), await _split(body)
    if isinstance(beside, list) or isinstance(raw, list):
        faults = [fault for part in (beside, raw) if isinstance(part, list) for fault in part]
        return problems.invalid(faults[:MOST_FAULTS])
    existing = await here.catalogue()
    if not existing.surfaces:
        return problems.no_surfaces()
    rules = await here.rules()
    items = []
    for place, item in enumerate(raw):
        items.append(_item(bytes(item), rules, existing))
        if place % AT_A_TIME == AT_A_TIME - 1:
            await anyio.lowlevel.checkpoint()
    if beside.whole and (problem := together(items)):
        return problem
    asked = [_named(item, beside.idempotency_key, place) for place, item in enumerate(items)]
    return Batch(scope["auth"], asked, beside.whole, existing, queries.reservation(scope))


def together(items: Sequence[Asked | Problem]) -> Problem | None:
    """The problems of the items as one, which names their places; None without any."""
    found = {place: item for place, item in enumerate(items) if isinstance(item, Problem)}
    if not found:
        return None
    codes = {problem.code for problem in found.values()}
    faults = [fault for place, problem in found.items() for fault in _placed(place, problem)]
    said = problems.invalid(faults[:MOST_FAULTS])
    code = codes.pop() if len(codes) == 1 else Code.VALIDATION_FAILED
    return said._replace(code=Code.VALIDATION_FAILED if code is Code.PAYLOAD_TOO_LARGE else code)


def _placed(place: int, problem: Problem) -> Iterator[Fault]:
    """The faults of an item, by their place in the batch."""
    if not isinstance(problem.details, list):
        yield Fault(path=f"items[{place}]", message=problem.message)
        return
    for fault in problem.details:
        inside = f".{fault.path}" if fault.path else ""
        yield Fault(path=f"items[{place}]{inside}", message=fault.message)


async def _split(body: bytes) -> tuple[msgspec.Raw, ...] | list[Fault]:
    """The items as they were sent, or all that is wrong around them."""
    fields = await bodies.fields(body)
    if isinstance(fields, Fault):
        return [fields]
    faults = [
        Fault(path=name, message="Unknown field; allowed: items.")
        for name in fields
        if name != "items"
    ]
    try:
        items = _items.decode(fields.get("items", b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        items = ()
    if not 1 <= len(items) <= MOST_ITEMS:
        faults.append(Fault(path="items", message=f"Must be a list of 1 to {MOST_ITEMS}."))
    return faults or items


def _item(raw: bytes, rules: Rules, existing: Catalogue) -> Asked | Problem:
    if len(raw) > bodies.LARGEST_BYTES:
        return problems.too_large(bodies.LARGEST_BYTES)
    asked = requests.parse(raw, rules)
    if isinstance(asked, list):
        return problems.invalid(asked)
    return asking.impossible(asked.plan, existing) or asked


def _named(item: Asked | Problem, key: str, place: int) -> Asked | Problem:
    """An item with the batch's idempotency key and its place for one, unless it has its own."""
    if not key or isinstance(item, Problem) or item.idempotency_key is not None:
        return item
    return item._replace(idempotency_key=f"{key}#{place}")


def _beside(scope: Scope) -> _Beside | list[Fault]:
    """What stands beside the body, or all that is wrong with it."""
    given, key = queries.of(scope), queries.idempotency_key(scope)
    faults = [key] if isinstance(key, Fault) else []
    for name, value in given.items():
        allowed = _ALLOWED.get(name)
        if allowed is None:
            message = "Unknown query parameter; allowed: atomic, mode."
            faults.append(Fault(path=f"?{name}", message=message))
        elif value not in allowed:
            faults.append(Fault(path=f"?{name}", message=f"Must be {' or '.join(allowed)}."))
    if faults or isinstance(key, Fault):
        return faults
    return _Beside(given.get("atomic") == "true", key)


_ALLOWED = {"atomic": ("true", "false"), "mode": ("async",)}
"""The query parameters, and what each may be: nobody waits for a batch."""
