"""What the exchanges have to show, and what they do."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.api.codes import Code
from tests.contract.spoken import operations
from tests.contract.spoken.operations import Operation
from tests.contract.spoken.parsing import Exchange, Reply

KEYS = {"MISSING_API_KEY", "INVALID_API_KEY_FORMAT", "INVALID_OR_EXPIRED_API_KEY"}
FAULTS = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE"}
ANYWHERE = KEYS | FAULTS | {"METHOD_NOT_ALLOWED", "RATE_LIMIT_EXCEEDED"}
BODIES = {"PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}
BUDGETS = {"INSUFFICIENT_CREDITS", "QUOTA_EXCEEDED"}
CODES = {
    "native": {code.value for code in Code},
    "cloro": ANYWHERE
    | BODIES
    | BUDGETS
    | {"VALIDATION_ERROR", "RESOURCE_NOT_FOUND", "RESOURCE_ALREADY_EXISTS"}
    | {"CONCURRENCY_LIMIT_EXCEEDED", "QUEUE_LIMIT_EXCEEDED"},
    "asyncqueue": ANYWHERE
    | BODIES
    | BUDGETS
    | {"VALIDATION_FAILED", "JOB_NOT_FOUND", "NOT_FOUND", "IDEMPOTENCY_CONFLICT"}
    | {"NOT_CANCELABLE", "QUEUE_CAPACITY_EXCEEDED"},
    "rodin": ANYWHERE | {"NOT_FOUND"},
}
"""The codes of errors a client of each system may meet, in its words."""
_FAULT = "only a fault of the server's own is told so"
_AWAY = "the database would have to be away, or the server to shut down, under all exchanges"
NOT_SHOWN = {
    ("native", "INTERNAL_SERVER_ERROR"): _FAULT,
    ("asyncqueue", "INTERNAL_SERVER_ERROR"): _FAULT,
    ("rodin", "INTERNAL_SERVER_ERROR"): _FAULT,
    ("asyncqueue", "SERVICE_UNAVAILABLE"): _AWAY,
    ("rodin", "SERVICE_UNAVAILABLE"): _AWAY,
    ("asyncqueue", "INSUFFICIENT_CREDITS"): "a queue costs nothing",
}
"""Codes that cannot be provoked from outside, and why."""


def successes() -> set[tuple[str, int]]:
    """Every operation of the OpenAPI document with each of its statuses of success."""
    return {(one.name, status) for one in operations.every() for status in one.successes}


def shown(exchanges: Iterable[Exchange]) -> Iterator[tuple[Operation, Reply]]:
    """Each operation that is asked, with a reply to it."""
    for exchange in exchanges:
        for turn in exchange.turns:
            found = operations.find(turn.request.method, turn.request.target)
            if found and not turn.sent:
                yield found, turn.reply


def codes(exchange: Exchange) -> set[str]:
    """The codes of the errors that are replies in an exchange."""
    refused = (turn.reply for turn in exchange.turns if turn.reply.status >= 400 and not turn.sent)
    return {_code(json.loads(reply.body)["error"]) for reply in refused}


def _code(error: Any) -> str:
    return str(error["code"] if isinstance(error, dict) else error)


def documented(system: str) -> set[str]:
    """The codes that the OpenAPI document has for a system that speaks natively of codes."""
    return {
        code.rpartition(".")[2]
        for one in operations.every()
        for code in one.codes
        if (code.rpartition(".")[0].casefold() or "native") == system
    }
