"""Outcomes as the arrays that the settling statement takes."""

from collections.abc import Sequence
from typing import Any, assert_never
from uuid import UUID

import msgspec

from orchestrator.domain.envelope import Failure
from orchestrator.store.children.outcomes import Completed, Failed, GivenBack, Outcome, Retry

_COLUMNS = (
    *("parents", "ordinals", "claims", "states", "captures", "errors", "codes", "delays"),
    *("charges", "not_befores"),
)
_Row = tuple[UUID, int, int, str, str | None, str | None, int | None, float | None, int, float]


def columns(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """An array a column, by its parameter; of a child named twice the first outcome alone."""
    rows = {outcome.fence: _row(outcome) for outcome in reversed(outcomes)}
    arrays = [list(column) for column in zip(*rows.values(), strict=True)]
    return dict(zip(_COLUMNS, arrays, strict=True))


def _row(outcome: Outcome) -> _Row:
    match outcome:
        case Completed(fence, capture, code, charge):
            return (*fence, "completed", capture, None, code, None, charge, 0.0)
        case Retry(fence, failure, delay, code, not_before):
            seconds = float(delay)  # an adapter may say 30: an array takes numbers of one kind
            return (*fence, "retrying", None, _json(failure), code, seconds, 0, float(not_before))
        case Failed(fence, failure, code, not_before):
            return (*fence, "failed", None, _json(failure), code, None, 0, float(not_before))
        case GivenBack(fence):
            return (*fence, "queued", None, None, None, None, 0, 0.0)
    assert_never(outcome)


def _json(failure: Failure) -> str:
    return msgspec.json.encode(failure).decode()
