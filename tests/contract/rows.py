"""Stored rows of one job at fixed times, of which the goldens are made."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec

from orchestrator.domain.envelope import (
    OVERDUE,
    Answer,
    Block,
    Capture,
    Cost,
    Evidence,
    Failure,
    FanOut,
    Mention,
    Model,
    Provenance,
    Seen,
    Source,
    TokenUsage,
    Warning,  # noqa: A004 - the contract's word
    WebSearch,
)
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import Attempt, ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ParentState

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
PARENT = UUID("0199f3a0-5c00-7000-8000-0242ac120002")
US = Region(country="US")
LONDON = Region(country="GB", city="London", language="en")
SURFACES: Mapping[str, Any] = {
    "chatgpt": SimpleNamespace(adapter="openai", method="official-api"),
    "site": SimpleNamespace(adapter="http", method="http"),
}
UPSTREAM = Failure(code="UPSTREAM_STATUS", message="The upstream answered 503.", retryable=True)
BROKEN = Failure(code="BAD_RESPONSE", message="The reply is not JSON.", retryable=False)


def after(seconds: float) -> datetime:
    """So many seconds after the submission."""
    return NOW + timedelta(seconds=seconds)


def plan(*regions: Region, surfaces: tuple[str, ...] = ("chatgpt",), **fields: Any) -> Plan:
    """What was asked for; two cells where nothing else is said."""
    return Plan(
        query="best running shoes",
        surfaces=surfaces,
        regions=regions or (US, LONDON),
        metadata={"campaign": "spring"},
        costs={"chatgpt": 5, "site": 1},
        **fields,
    )


def parent(state: ParentState, of: Plan | None = None, **changes: Any) -> ParentRow:
    """A parent that is in the queue, works since a second, or ended after four."""
    asked = of or plan()
    row = ParentRow(
        id=PARENT,
        key_id=1,
        state=state,
        priority=asked.priority,
        total=asked.total,
        done=asked.total if state.ended else 0,
        failed=0,
        canceled=0,
        expired=0,
        run=1,
        plan=asked,
        created_at=NOW,
        started_at=None if state.waiting else after(1),
        finished_at=after(4) if state.ended else None,
        lanes=tuple(range(1, asked.total + 1)),
        estimated=asked.estimate,
    )
    return row._replace(**changes)


def child(ordinal: int, state: ChildState, **changes: Any) -> ChildRow:
    """A child that was not claimed yet, or by its first claim after two seconds."""
    claimed = None if state is ChildState.QUEUED else after(2)
    row = ChildRow(
        parent_id=PARENT,
        ordinal=ordinal,
        state=state,
        attempt=0 if claimed is None else 1,
        run_at=None,
        started_at=claimed,
        claimed_at=claimed,
        finished_at=after(3.25) if state.ended else None,
        error=None,
        log=(),
        capture=None,
        lane_id=ordinal,
    )
    return row._replace(**changes)


def completed(ordinal: int, capture: Capture | None = None) -> ChildRow:
    """A child with its capture."""
    found = capture or seen()
    present = found.provenance.surface_present
    return child(
        ordinal,
        ChildState.COMPLETED,
        capture=msgspec.Raw(msgspec.json.encode(found)),
        response_code=200,
        charged=5 if present else 0,
    )


def failed(ordinal: int) -> ChildRow:
    """A child that failed for good at its second attempt."""
    return child(
        ordinal,
        ChildState.FAILED,
        attempt=2,
        claimed_at=after(2.75),
        error=BROKEN,
        log=(tried(1),),
        response_code=200,
    )


def canceled(ordinal: int) -> ChildRow:
    """A child that never ran."""
    return child(
        ordinal,
        ChildState.CANCELED,
        attempt=0,
        started_at=None,
        claimed_at=None,
        cancel_requested_at=after(3.25),
    )


def expired(ordinal: int) -> ChildRow:
    """A child that its deadline interrupted."""
    return child(ordinal, ChildState.EXPIRED, error=OVERDUE, finished_at=after(60.5))


def retrying(ordinal: int) -> ChildRow:
    """A child between two attempts."""
    return child(ordinal, ChildState.RETRYING, run_at=after(4.5), log=(tried(1),))


def tried(number: int) -> Attempt:
    """An attempt that failed and may be made again."""
    return Attempt(
        number=number,
        status="failed",
        code=UPSTREAM.code,
        response_code=503,
        started_at=after(2),
        ended_at=after(2.5),
    )


def seen() -> Capture:
    """A capture with something in every field."""
    text = "Most reviews name Acme Swift first."
    page = Source(
        id=1,
        url="https://example.com/shoes",
        title="Shoes of the year",
        char_ranges=((0, 35),),
        quote="Acme Swift wins.",
    )
    provenance = Provenance(
        adapter="openai",
        method="official-api",
        region=Seen(requested="US", effective="US"),
        model=Model(provider_id="gpt-5", observed_label="GPT-5", inferred=False, confidence=1.0),
        web_search=WebSearch(enabled=True, known=True),
        surface_present=True,
        captured_at="2026-01-05T09:30:03.250Z",
        usage=TokenUsage(
            input_tokens=120, output_tokens=40, estimated_cost=Cost(amount=0.0021, currency="USD")
        ),
    )
    return Capture(
        answer=Answer(
            text=text,
            markdown=f"{text} [1]",
            blocks=(Block(type="paragraph", text=text, reference_ids=(1,)),),
        ),
        evidence=Evidence(
            sources=(page,),
            fan_out=FanOut(queries=("best running shoes 2026",), provenance="observed"),
            mentions=(Mention(name="Acme", char_ranges=((18, 22),), reference_ids=(1,)),),
            shopping=({"title": "Acme Swift", "price": "129.00 USD"},),
            ads=({"title": "Run further", "url": "https://example.com/ad"},),
        ),
        provenance=provenance,
        raw={"id": "resp_1"},
    )


def absent() -> Capture:
    """A capture of a surface that showed nothing."""
    return Capture(
        answer=Answer(),
        evidence=Evidence(),
        provenance=Provenance(
            adapter="openai",
            method="official-api",
            region=Seen(requested="US", effective="US"),
            surface_present=False,
            captured_at="2026-01-05T09:30:03.250Z",
        ),
        warnings=(Warning(code="surface_absent", message="The surface showed nothing."),),
    )
