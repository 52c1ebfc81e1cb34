"""Outcomes as the arrays that the settling statement takes."""

from collections.abc import Sequence
from typing import Any, assert_never
from uuid import UUID

import msgspec

from orchestrator.domain.envelope import Failure
from orchestrator.store.children.outcomes import Completed, Failed, GivenBack, Outcome, Retry

_COLUMNS = (
    *("parents", "ordinals", "claims", "states", "captures", "errors", "codes", "delays"),
    *("charges", "not_befores", "shareds"),
)
_Row = tuple[
    *tuple[UUID, int, int, str, str | None, str | None],
    *tuple[int | None, float | None, int, float, bool],
]


def columns(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """An array a column, by its parameter; of a child named twice the first outcome alone."""
    rows = {outcome.fence: _row(outcome) for outcome in reversed(outcomes)}
    arrays = [list(column) for column in zip(*rows.values(), strict=True)]
    return dict(zip(_COLUMNS, arrays, strict=True))


def _row(outcome: Outcome) -> _Row:
    match outcome:
        case Completed(fence, capture, code, charge, shared):
            return (*fence, "completed", capture, None, code, None, charge, 0.0, shared)
        case Retry(fence, failure, delay, code, not_before, shared):
            told = _json(failure)
            # An adapter may say 30: an array takes numbers of one kind.
            waits = float(delay), 0, float(not_before)
            return (*fence, "retrying", None, told, code, *waits, shared)
        case Failed(fence, failure, code, not_before, shared):
            told = _json(failure)
            return (*fence, "failed", None, told, code, None, 0, float(not_before), shared)
        case GivenBack(fence):
            return (*fence, "queued", None, None, None, None, 0, 0.0, False)
    assert_never(outcome)


def _json(failure: Failure) -> str:
    return msgspec.json.encode(failure).decode()
