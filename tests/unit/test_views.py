"""The documents of jobs, in every state, from rows alone."""

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID

import msgspec
import pytest

from orchestrator.domain import cell_views, views
from orchestrator.domain.envelope import Answer, Capture, Evidence, Failure, Provenance, Seen
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import Attempt, ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.domain.times import rfc3339

NOW = datetime(2026, 1, 5, 9, 30, 0, 123_456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=2)
PARENT = UUID("0199f3a0-5c00-7000-8000-0242ac120002")
SURFACES = {"x": SimpleNamespace(adapter="http", method="http")}
FAILURE = Failure(code="BAD_RESPONSE", message="No sense.", retryable=False)


def parent(state=ParentState.QUEUED, **changes) -> ParentRow:
    plan = Plan(
        query="q",
        surfaces=("x",),
        regions=(Region(country="US"), Region(country="GB", city="Bath", language="en")),
        metadata={"k": "v"},
    )
    row = ParentRow(
        id=PARENT,
        key_id=1,
        state=state,
        priority=5,
        total=2,
        done=0,
        failed=0,
        canceled=0,
        expired=0,
        run=1,
        plan=plan,
        created_at=NOW,
        started_at=None,
        finished_at=LATER if state.ended else None,
    )
    return row._replace(**changes)


def child(state=ChildState.QUEUED, ordinal=1, **changes) -> ChildRow:
    row = ChildRow(
        parent_id=PARENT,
        ordinal=ordinal,
        state=state,
        attempt=0,
        run_at=None,
        started_at=None,
        claimed_at=None,
        finished_at=None,
        error=None,
        log=(),
        capture=None,
    )
    return row._replace(**changes)


def wire(document):
    return json.loads(msgspec.json.encode(document))


def envelope(row: ChildRow | None, of: ParentRow | None = None, ordinal=1):
    of = of or parent(ParentState.PROCESSING)
    return wire(cell_views.envelope(of, of.plan.cell(ordinal), row, SURFACES["x"]))


def test_the_read_of_a_waiting_parent_has_every_field():
    """The golden shape: nulls are there, city and language only where they were asked for."""
    job = wire(views.job_read(parent(), []))
    name = job["job"]["id"]
    assert job == {
        "job": {
            "id": name,
            "query": "q",
            "status": "queued",
            "run": 1,
            "priority": 5,
            "surfaces": ["x"],
            "regions": [
                {"country": "US"},
                {"country": "GB", "city": "Bath", "language": "en"},
            ],
            "group": None,
            "counts": {
                "waiting": 2,
                "queued": 0,
                "processing": 0,
                "completed": 0,
                "failed": 0,
                "canceled": 0,
                "expired": 0,
            },
            "position": None,
            "positionEstimated": None,
            "estimatedStartAt": None,
            "requestedAt": "2026-01-05T09:30:00.123Z",
            "startedAt": None,
            "completedAt": None,
            "cancelRequestedAt": None,
            "deadlineAt": None,
            "metadata": {"k": "v"},
            "credits": {"estimated": 0, "charged": 0},
        },
        "children": [
            {
                "id": f"{name}.x.us",
                "surface": "x",
                "region": "US",
                "status": "queued",
                "attempts": 0,
                "waiting": {"reason": "admission", "until": None},
                "error": None,
                "completedAt": None,
            },
            {
                "id": f"{name}.x.gb_bath_en",
                "surface": "x",
                "region": "GB",
                "city": "Bath",
                "language": "en",
                "status": "queued",
                "attempts": 0,
                "waiting": {"reason": "admission", "until": None},
                "error": None,
                "completedAt": None,
            },
        ],
    }


def test_the_envelope_of_a_waiting_cell_has_every_field():
    """The golden shape before the end: adapter, method and requested region, the rest null."""
    read = envelope(None, parent())
    assert read == {
        "job": {
            "id": read["job"]["id"],
            "query": "q",
            "surface": "x",
            "region": "US",
            "status": "queued",
            "run": 1,
            "attempts": 0,
            "attemptLog": [],
            "waiting": {"reason": "admission", "until": None},
            "warnings": [],
            "error": None,
            "requestedAt": "2026-01-05T09:30:00.123Z",
            "startedAt": None,
            "completedAt": None,
            "latencyMs": None,
            "cancelRequestedAt": None,
            "credits": {"estimated": 0, "charged": 0},
            "artifacts": [],
        },
        "provenance": {
            "adapter": "http",
            "method": "http",
            "model": None,
            "webSearch": None,
            "region": {"requested": "US", "effective": None},
            "surfacePresent": None,
            "capturedAt": None,
            "usage": None,
            "coalesced": None,
            "schemaVersion": None,
        },
        "answer": {"text": "", "markdown": "", "blocks": []},
        "evidence": {
            "sources": [],
            "fanOut": {"queries": [], "provenance": "none"},
            "mentions": [],
            "shopping": [],
            "ads": [],
        },
        "raw": None,
    }


@pytest.mark.parametrize("state", list(ChildState))
def test_provenance_is_null_until_the_end_and_whole_from_then_on(state):
    """Who reads of a model, a search, tokens and the version finds them in every ended cell."""
    seen = envelope(child(state))["provenance"]
    whole = wire(Provenance(adapter="http", method="http", region=Seen(requested="US")))
    if state.ended:
        assert seen == whole
    else:
        kept = ("adapter", "method", "region")
        assert seen == {name: whole[name] if name in kept else None for name in whole}


@pytest.mark.parametrize("state", [ParentState.CANCELED, ParentState.EXPIRED])
def test_a_cell_that_ended_in_the_queue_has_a_whole_provenance(state):
    """Though it never had a row."""
    assert envelope(None, parent(state))["provenance"]["schemaVersion"] == "1.0"


@pytest.mark.parametrize("state", list(ChildState))
def test_the_envelope_has_the_same_fields_in_every_state(state):
    """Whatever a child's state, no field comes or goes."""
    row = child(state, attempt=1, started_at=NOW, claimed_at=NOW, run_at=LATER)
    now, waiting = envelope(row), envelope(None, parent())
    assert now.keys() == waiting.keys()
    assert all(now[part].keys() == waiting[part].keys() for part in ("job", "provenance"))
    assert now["job"]["status"] == state.wire


@pytest.mark.parametrize("state", [ParentState.CANCELED, ParentState.EXPIRED])
def test_a_parent_that_ended_in_the_queue_shows_its_cells_ended(state):
    """Cells that never were children have their parent's end, and wait for nothing."""
    first = wire(views.job_read(parent(state), []))["children"][0]
    assert (first["status"], first["waiting"]) == (state.value, None)
    assert first["completedAt"] == "2026-01-05T09:30:02.123Z"


def test_counts_are_those_of_the_children_shown():
    """Each child is counted once, under the word it is shown with."""
    rows = [child(ChildState.RETRYING, 1, run_at=LATER), child(ChildState.COMPLETED, 2)]
    counts = wire(views.job_read(parent(ParentState.PROCESSING), rows))["job"]["counts"]
    assert {name: n for name, n in counts.items() if n} == {"queued": 1, "completed": 1}


def test_a_child_between_attempts_is_queued_and_says_until_when():
    """`waiting` is `retry` with the time of the next attempt."""
    row = child(ChildState.RETRYING, attempt=1, run_at=LATER)
    assert envelope(row)["job"]["waiting"] == {
        "reason": "retry",
        "until": "2026-01-05T09:30:02.123Z",
    }


@pytest.mark.parametrize(
    "state", [ChildState.QUEUED, ChildState.PROCESSING, ChildState.COMPLETED, ChildState.FAILED]
)
def test_a_child_that_waits_for_no_time_says_nothing(state):
    """`waiting` is null outside admission and retries."""
    assert envelope(child(state))["job"]["waiting"] is None


def test_latency_runs_from_the_first_pick_up_to_the_end():
    """Whole milliseconds, over all attempts; null before the end."""
    row = child(ChildState.COMPLETED, started_at=NOW, claimed_at=LATER)
    assert envelope(row)["job"]["latencyMs"] is None
    ended = row._replace(finished_at=NOW + timedelta(seconds=3.2504))
    assert envelope(ended)["job"]["latencyMs"] == 3250


def tried(n: int, status: str = "failed") -> tuple[Attempt, ...]:
    return tuple(
        Attempt(number=k, status=status, code="X", started_at=NOW, ended_at=LATER)
        for k in range(1, n + 1)
    )


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        (child(), []),
        (child(ChildState.PROCESSING, attempt=1, claimed_at=NOW), [1]),
        (child(ChildState.RETRYING, attempt=2, claimed_at=NOW, log=tried(2)), [1, 2]),
        (child(ChildState.QUEUED, attempt=2, claimed_at=NOW, log=tried(2)), [1, 2]),
        (child(ChildState.QUEUED, attempt=0, claimed_at=NOW), []),
        (child(ChildState.COMPLETED, attempt=1, claimed_at=NOW, log=tried(1, "lost")), [1, 1]),
        (child(ChildState.FAILED, attempt=3, claimed_at=NOW, log=tried(2)), [1, 2, 3]),
        (child(ChildState.CANCELED, attempt=2, claimed_at=NOW, log=tried(2)), [1, 2]),
        (child(ChildState.PROCESSING, attempt=25, claimed_at=NOW, log=tried(24)), range(6, 26)),
    ],
)
def test_the_log_has_each_attempt_once_and_the_last_twenty(row, numbers):
    """Stored attempts, then the one that runs or ended the child; a lost one is not counted."""
    log = envelope(row)["job"]["attemptLog"]
    assert [entry["number"] for entry in log] == list(numbers)


def test_the_last_attempt_tells_how_it_ended():
    """Status, error code, response code and times come from the child itself."""
    row = child(
        ChildState.FAILED,
        attempt=1,
        claimed_at=NOW,
        finished_at=LATER,
        error=FAILURE,
        response_code=502,
    )
    assert envelope(row)["job"]["attemptLog"] == [
        {
            "number": 1,
            "status": "failed",
            "code": "BAD_RESPONSE",
            "responseCode": 502,
            "startedAt": "2026-01-05T09:30:00.123Z",
            "endedAt": "2026-01-05T09:30:02.123Z",
        }
    ]


def test_a_capture_is_shown_as_it_was_stored():
    """Provenance, answer, evidence and raw are the capture's own."""
    capture = Capture(
        answer=Answer(text="t", markdown="m"),
        evidence=Evidence(),
        provenance=Provenance(adapter="other", method="browser", region=Seen(requested="US")),
        raw={"a": [1, 2.5]},
    )
    stored = msgspec.Raw(msgspec.json.encode(capture))
    read = envelope(child(ChildState.COMPLETED, capture=stored))
    whole = wire(capture)
    assert {part: read[part] for part in read if part != "job"} == {
        part: whole[part] for part in whole if part != "warnings"
    }


def test_a_surface_nobody_registered_has_no_adapter():
    """An Envelope is valid even when its surface is gone from the configuration."""
    of = parent()
    read = wire(cell_views.envelope(of, of.plan.cell(1), None, None))
    assert (read["provenance"]["adapter"], read["provenance"]["method"]) == (None, None)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00.000Z"),
        (None, None),
    ],
)
def test_times_are_utc_with_three_fractional_digits(moment, text):
    """RFC 3339 with `Z`, whatever zone the moment came in."""
    assert rfc3339(moment) == text
