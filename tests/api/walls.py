"""The matrix of walls, generated: every way to name what a key owns, and everything to name."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from orchestrator.api import deliveries, group_results, listing, openapi, queries
from orchestrator.api.openapi.operation import JSON, Operation
from orchestrator.api.openapi.operations import OPERATIONS
from orchestrator.api.openapi.parameters import PARAMETERS
from orchestrator.domain import ids
from orchestrator.domain.dialects import asyncqueue, cloro
from orchestrator.domain.ids import EventId
from orchestrator.store.deliveries import Place
from orchestrator.store.group_results import Reached

NOBODYS = {"surface": "chatgpt", "country": "US", "provider": "chatgpt"}
"""Path parameters that name what belongs to no key, and a name that exists. The rest is owned."""

OWNER = "quagga-key"
"""The name of the key whose things the others must not see."""

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
VALUES = {
    "cursor": queries.cursor(1),
    "listCursor": listing.cursor(UUID(int=1)),
    "groupCursor": group_results.cursor(Reached(UUID(int=1), 1)),
    "deliveryCursor": deliveries.cursor(Place(deliveries.EPOCH, UUID(int=1), 1, 1)),
    "toldAfter": "2026-01-05T09:30:00Z",
    "toldBefore": "2026-01-05T09:30:00+01:00",
    "createdAfter": "2026-01-05T09:30:00Z",
    "createdBefore": "2026-01-05T09:30:00+01:00",
    "region": "US",
    "ofSurface": "chatgpt",
    "ofKey": OWNER,
    "Prefer": "respond-async",
}
"""Good values of parameters whose schema does not tell one."""

NEVER = "job_06h00r4h1trtr7pjt7b69j1f04"
NEVER_RESERVED = ids.RESERVATION + NEVER.removeprefix(ids.PREFIX)
NEVER_TOLD = ids.delivery_text(EventId(UUID(int=1), 0, 1))
NEVER_SIGNED = ids.WEBHOOK_SECRET + NEVER.removeprefix(ids.PREFIX)
NEVER_QUEUED = asyncqueue.PREFIX + NEVER.removeprefix(ids.PREFIX)
NEVER_A_TASK = str(UUID(int=7))
NO_GROUP = "quokka-group"
ABSENT = {
    "unknown group": NO_GROUP,
    "unknown parent": NEVER,
    "unknown child": f"{NEVER}.chatgpt.us",
    "unknown reservation": NEVER_RESERVED,
    "unknown delivery": NEVER_TOLD,
    "unknown secret": NEVER_SIGNED,
    "unknown task": NEVER_A_TASK,
    "unknown task of a queue": NEVER_QUEUED,
    "a word": "x",
    "the prefix": "job_",
    "no letters of ids": "job_" + "z" * 26,
    "spare bits set": "job_" + "v" * 26,
    "upper case": NEVER.upper(),
    "a dot too many": f"{NEVER}.",
    "half a child": f"{NEVER}.chatgpt",
    "a child too long": f"{NEVER}.chatgpt.us.us",
    "NUL": f"{NEVER[:-1]}%00",
    "a space": f"{NEVER}%20",
    "not UTF-8": "%ff%fe",
    "not ASCII": "%F0%9F%98%80",
    "very long": "a" * 5000,
}
"""Ids of nothing: well-formed ones that never existed, and malformed ones."""

BODIES = openapi.document()["paths"]
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MOVING = {"x-ratelimit-remaining", "x-ratelimit-reset", "x-latency-ms"}


class Way(NamedTuple):
    """One way to ask for what a path names."""

    method: str
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    json: Any

    async def ask(self, client: httpx.AsyncClient, owned: str = "") -> httpx.Response:
        """The answer when the path names this where it names something a key owns."""
        return await client.request(
            self.method,
            self.path.format(**dict.fromkeys(parameters(self.path), owned) | NOBODYS),
            params=self.query,
            headers={"X-Request-ID": "walls", **self.headers},
            json=self.json,
        )


def parameters(path: str) -> set[str]:
    """The names in braces of a path."""
    return set(re.findall(r"\{(\w+)\}", path))


def owned(operation: Operation) -> set[str]:
    """Which of its path parameters name something a key owns."""
    return parameters(operation.path) - NOBODYS.keys()


def plain(operation: Operation) -> Way:
    """The operation as it is meant, with its example as the body, and without waiting."""
    headers = {"Prefer": "respond-async"}
    return Way(operation.method.upper(), operation.path, {}, headers, _body(operation))


def good_ways(operation: Operation) -> Iterator[Way]:
    """The operation as it is meant: plain, with each parameter, and in each media type."""
    way = plain(operation)
    yield way
    for name, value in ((name, _good(name)) for name in operation.parameters):
        match PARAMETERS[name].place:
            case "query":
                yield way._replace(query={PARAMETERS[name].name or name: value})
            case "header":
                yield way._replace(headers={**way.headers, name: str(value)})
    for media in {media for answer in operation.answers.values() for media in answer.documents}:
        yield way._replace(headers={**way.headers, "Accept": media})


def odd_ways(operation: Operation) -> Iterator[Way]:
    """The same path as nobody should ask it: bad values, a bad body, every other method."""
    way = plain(operation)
    for name in operation.parameters:
        if PARAMETERS[name].place == "query":
            yield way._replace(query={PARAMETERS[name].name or name: "\x00"})
    if way.json is not None:
        yield way._replace(json=[])
    for method in METHODS:
        if method != way.method:
            yield way._replace(method=method, json=None)


def told(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer that could tell one id from another: not the time, nor what is counted."""
    headers = [pair for pair in answer.headers.multi_items() if pair[0] not in _MOVING]
    return answer.status_code, _TIME.sub(b"", answer.content), headers


def _good(name: str) -> Any:
    schema = PARAMETERS[name].schema
    known = (VALUES.get(name), schema.get("const"), schema.get("minimum"), *schema.get("enum", ()))
    return next((value for value in known if value is not None), "1")


def _body(operation: Operation) -> Any:
    if not operation.body:
        return None
    return BODIES[operation.path][operation.method]["requestBody"]["content"][JSON]["example"]


NAMING = [operation for operation in OPERATIONS if owned(operation)]
"""The operations that name what a key owns."""

ENDLESS = {"watchStatus"}
"""What these answer has no end; the tests of streams say what each shows."""

OTHERS = [o for o in OPERATIONS if not owned(o) and o.name not in ENDLESS]
"""The operations that answer from what they know of their caller."""

OPERATORS = {"listNodes", "listKeys", "readMetrics", "pauseLane", "resumeLane", "limitLane"}
"""What only operators are told, of all keys, and may do; to a client these are no paths."""

OTHER_KEY = "key"
"""The query parameter by which an operator names another key, and sees what it has."""


def beyond(operation: Operation, way: Way) -> bool:
    """Whether an operator who asks so is let through the wall."""
    return operation.name in OPERATORS or OTHER_KEY in way.query


RESERVATION = "reservation"
SECRET = "webhook secret"
GROUP = "quagga-group"
TASK = "task"
QUEUED = "task of a queue"
ID_KINDS = {
    kind
    for kind in vars(ids).values()
    if isinstance(kind, type) and issubclass(kind, tuple) and kind.__module__ == ids.__name__
} | {RESERVATION, SECRET, GROUP, TASK, QUEUED}
"""Every kind of public id there is."""


def kind(named: str) -> Any:
    """Which of them this is; None when it is none."""
    if ids.read_reservation(named):
        return RESERVATION
    if ids.read_webhook_secret(named):
        return SECRET
    if named in {GROUP, NO_GROUP}:
        return GROUP
    if cloro.read(named):
        return TASK
    if asyncqueue.read(named):
        return QUEUED
    read = ids.read(named) or ids.read_delivery(named)
    return read and type(read)
