"""What commands print, made from records."""

import io
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.api.openapi.examples import SNAPSHOT
from orchestrator.cli import answers, headroom, lane_tables, moments, output, places, progress
from orchestrator.client.records import Surface
from orchestrator.domain.documents import (
    ChildJob,
    ChildSummary,
    Counts,
    Credits,
    Envelope,
    JobRead,
    ParentJob,
)
from orchestrator.domain.envelope import Answer, Evidence, Failure, Provenance, Seen, Source
from orchestrator.domain.lane_views import Breaker, LaneView, rate
from orchestrator.domain.snapshot import HeldLane, Snapshot
from orchestrator.surfaces import per_second

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def child(surface: str, region: str, status: str) -> ChildSummary:
    return ChildSummary(
        id=f"job_1.{surface}.{region.lower()}",
        surface=surface,
        region=region,
        status=status,
        attempts=1,
        waiting=None,
        error=None,
        completed_at=None,
    )


def read(*states: str, status: str = "processing") -> JobRead:
    """A parent on one surface with a child in each of these states."""
    job = ParentJob(
        id="job_1",
        query="q",
        status=status,
        run=1,
        priority=5,
        surfaces=("a",),
        regions=(),
        group=None,
        counts=Counts(processing=states.count("processing"), completed=states.count("completed")),
        position=None,
        position_estimated=None,
        estimated_start_at=None,
        requested_at="",
        started_at=None,
        completed_at=None,
        cancel_requested_at=None,
        deadline_at=None,
        metadata={},
        credits=Credits(),
    )
    return JobRead(job=job, children=tuple(child("a", "US", state) for state in states))


def envelope(
    text: str, *urls: str, error: Failure | None = None, present: bool | None = True
) -> Envelope:
    job = ChildJob(
        id="job_1.a.us",
        query="q",
        surface="a",
        region="US",
        city="New York",
        status="failed" if error else "completed",
        run=1,
        attempts=1,
        attempt_log=(),
        waiting=None,
        warnings=(),
        error=error,
        requested_at="",
        started_at=None,
        completed_at=None,
        latency_ms=None,
        cancel_requested_at=None,
        credits=Credits(),
        artifacts=(),
    )
    sources = tuple(Source(id=n, url=url) for n, url in enumerate(urls, start=1))
    provenance = Provenance(
        adapter="http", method="http", region=Seen(requested="US"), surface_present=present
    )
    return Envelope(
        job=job,
        provenance=provenance,
        answer=Answer(text=text),
        evidence=Evidence(sources=sources),
        raw=None,
    )


def printed(renderable: object, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160, force_terminal=terminal).print(renderable)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("US", {"country": "US"}),
        ("us/New York", {"country": "us", "city": "New York"}),
        ("CH/Zürich/de", {"country": "CH", "city": "Zürich", "language": "de"}),
        ("CH//de", {"country": "CH", "language": "de"}),
    ],
)
def test_a_region_is_written_as_one_word(given, expected):
    """COUNTRY, COUNTRY/CITY, COUNTRY/CITY/LANGUAGE, and an empty city in the middle."""
    assert places.region(given) == expected


def test_names_may_be_repeated_or_listed():
    """`-s a -s b,c` are three surfaces."""
    assert places.names(["a", "b, c", ""]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("30d", NOW + timedelta(days=30)),
        ("90s", NOW + timedelta(seconds=90)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T00:00Z", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T00:00+02:00", datetime(2026, 1, 31, 22, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_a_span_or_a_time(given, expected):
    """A duration counts from now; a time without a zone is UTC."""
    assert moments.moment(given, now=NOW) == expected


@pytest.mark.parametrize("given", ["", "soon", "2025-01-01", "0s", "99999999d", "9" * 400 + "d"])
def test_an_expiry_that_cannot_be_is_refused(given):
    """What is no time, in the past or beyond the calendar is told, not stored."""
    with pytest.raises(ValueError, match=r"neither|future|far"):
        moments.moment(given, now=NOW)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("0s", NOW),
        ("2026-02-01T00:00+02:00", datetime(2026, 1, 31, 22, tzinfo=UTC)),
    ],
)
def test_a_beginning_is_a_span_ago_or_a_time(given, expected):
    """A duration counts back from now; a time may be any."""
    assert moments.past(given, now=NOW) == expected


@pytest.mark.parametrize("given", ["", "soon", "99999999d"])
def test_a_beginning_that_cannot_be_is_refused(given):
    """What is no time, or before the calendar, is told."""
    with pytest.raises(ValueError, match=r"neither|far"):
        moments.past(given, now=NOW)


def test_cells_are_tallied_by_surface_and_by_region():
    """Each group counts its own cells, in order of first appearance."""
    children = [
        child("b", "US", "completed"),
        child("b", "GB", "failed"),
        child("a", "US", "processing"),
        child("a", "GB", "queued"),
    ]
    assert progress.tallies(children, "surface") == [
        progress.Tally("b", total=2, ended=2, bad=1, processing=0),
        progress.Tally("a", total=2, ended=0, bad=0, processing=1),
    ]
    assert [tally.name for tally in progress.tallies(children, "region")] == ["US", "GB"]


def test_a_log_gets_a_line_a_milestone():
    """Without a terminal progress is plain lines, a few a job, and no control codes."""
    stream = io.StringIO()
    states = ["processing"] * 20
    with progress.Board(Console(file=stream, width=160)) as board:
        for ended in range(20):
            board.show(read(*["completed"] * ended, *states[ended:]))
        board.show(read(*["completed"] * 20, status="completed"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == progress.STEPS + 1
    assert lines[0] == "processing · 0 of 20 cells ended · 20 processing"
    assert lines[-1] == "completed · 20 of 20 cells ended"
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_bars():
    """On a terminal there is a bar a surface and a bar a region."""
    stream = io.StringIO()
    with progress.Board(Console(file=stream, width=160, force_terminal=True)) as board:
        board.show(read("completed", "processing"))
    assert "by surface" in stream.getvalue()
    assert "by region" in stream.getvalue()
    assert "1/2" in stream.getvalue()


def test_answers_show_their_sources():
    """A row has the place, the answer's beginning, the first sources and how many more."""
    made = printed(
        answers.answers([envelope("word " * 100, "https://a", "https://b", "https://c")])
    )
    assert "US/New York" in made
    assert "…" in made
    assert "https://a" in made
    assert "and 1 more" in made
    assert "https://c" not in made


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            envelope("", error=Failure(code="DNS_FAILED", message="gone", retryable=False)),
            "DNS_FAI",
        ),
        (envelope("", present=False), "showed nothing"),
    ],
)
def test_a_cell_without_an_answer_says_why(shown, expected):
    """A failed cell shows its error, an absent surface that it showed nothing."""
    assert expected in printed(answers.answers([shown]))


def test_upstream_text_cannot_drive_the_terminal():
    """Control characters and markup from elsewhere are shown, never obeyed."""
    made = printed(answers.answers([envelope("a\x1b[2Jb [red]c[/red]", "https://a/\x9b")]))
    assert "\x1b" not in made
    assert "\x9b" not in made
    assert "[red]c[/red]" in made


def test_plain_keeps_what_can_be_read():
    """Letters of any script and line breaks stay; what drives a terminal does not."""
    assert (
        output.plain("Zürich 東京\nx\x00\x1b\u202e")
        == "Zürich 東京\nx" + "\N{REPLACEMENT CHARACTER}" * 3
    )


FREE = LaneView(
    surface="chatgpt",
    country="US",
    concurrency=100,
    rate="50/s",
    limit=None,
    adaptive_limit=100,
    allowed=100,
    queued=0,
    processing=20,
    paused=False,
    retry_at=None,
    breaker=Breaker(),
)
UNTIL = "2026-01-01T00:00:30.000Z"


def lane(**changes: object) -> LaneView:
    return msgspec.structs.replace(FREE, **changes)


def surface(name: str, live_workers: int, *lanes: LaneView) -> Surface:
    return Surface(
        name=name,
        adapter="simulator",
        method="simulator",
        regions=None,
        live_workers=live_workers,
        lanes=lanes,
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "ok"),
        ({"limit": 100}, "ok"),
        ({"limit": 3, "allowed": 3}, "limited to 3 at once"),
        ({"paused": True}, "paused"),
        ({"breaker": Breaker(state="open", until=UNTIL)}, f"breaker open until {UNTIL}"),
        ({"breaker": Breaker(state="half_open")}, "half-open: one probe at a time"),
        ({"retry_at": UNTIL}, f"throttled until {UNTIL}"),
        ({"adaptive_limit": 25, "allowed": 25}, "throttled to 25 at once"),
        (
            {"paused": True, "retry_at": UNTIL, "adaptive_limit": 1},
            f"paused; throttled until {UNTIL}; throttled to 1 at once",
        ),
        ({"processing": 100}, "ok"),
        ({"processing": 100, "queued": 1, "rate": None}, "full"),
        ({"processing": 99, "queued": 1, "rate": None}, "full"),
        ({"processing": 98, "queued": 1, "rate": None}, "ok"),
        ({"processing": 2, "queued": 1, "allowed": 3, "rate": None}, "ok"),
        ({"processing": 3, "queued": 1, "allowed": 3, "rate": None}, "full"),
        ({"queued": 1_234}, "1,234 queued at 50/s"),
        (
            {"processing": 3, "queued": 7, "limit": 3, "allowed": 3},
            "limited to 3 at once; full; 7 queued at 50/s",
        ),
    ],
)
def test_what_is_in_the_way_of_a_lane_is_told_in_words(changes, told):
    """All of it, what stops it first; a limit that limits nothing is no trouble, nor a rate."""
    assert lane_tables.state(lane(**changes)) == told


def test_a_lane_that_nobody_serves_is_told():
    """Where it is known which surfaces have no live worker."""
    assert lane_tables.state(lane(paused=True), {"chatgpt"}) == "paused; no live worker"
    assert lane_tables.state(FREE, {"claude"}) == "ok"


def test_a_lane_is_a_row_of_what_it_does_and_may_do():
    """Running of allowed, queued, each limit, the rate, how it is; a dash where there is none."""
    limited = lane(country="GB", limit=40, adaptive_limit=25, allowed=25, rate=None, queued=1_234)
    made = printed(lane_tables.table_of([FREE, limited]))
    us, gb = (line.split() for line in made.splitlines() if "chatgpt" in line)
    assert us[:10] == ["chatgpt", "US", "20", "of", "100", "0", "100", "-", "-", "50/s"]
    assert gb[:10] == ["chatgpt", "GB", "20", "of", "25", "1,234", "100", "40", "25", "-"]
    assert us[10:] == ["ok"]


def test_what_is_held_is_told_with_its_reason():
    """Which lane keeps how many jobs, why, and until when if that is known."""
    made = printed(
        lane_tables.held(
            [
                HeldLane(
                    surface="chatgpt",
                    region="GB",
                    parents=1_200,
                    reason="breaker_open",
                    until=UNTIL,
                ),
                HeldLane(surface="site", region="US", parents=1, reason="lane_paused", until=None),
            ]
        )
    )
    gb, us = (line.split() for line in made.splitlines() if "GB" in line or "US" in line)
    assert gb == ["chatgpt", "GB", "1,200", "breaker", "open", UNTIL]
    assert us == ["site", "US", "1", "paused", "-"]


def test_the_status_says_what_waits_for_what():
    """What is held in the queue, and of the lanes only those that do not run freely."""
    snapshot = msgspec.convert(SNAPSHOT, Snapshot)
    paused = lane(country="GB", paused=True)
    nobodys = lane(surface="site", country="FR")
    served = [surface("chatgpt", 1, FREE, paused), surface("site", 0, nobodys)]
    made = "".join(map(printed, headroom.waits(snapshot, served)))
    assert "breaker open" in made
    assert "paused" in made
    assert " US " not in made
    assert made.count("no live worker") == 1
    free = msgspec.structs.replace(
        snapshot, admission_queue=msgspec.structs.replace(snapshot.admission_queue, held=())
    )
    assert list(headroom.waits(free, [surface("chatgpt", 1, FREE)])) == []


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        *((None, None), (10.0, "10/s"), (1.5, "1.5/s"), (0.5, "30/min"), (1 / 3, "20/min")),
        *((1 / 60, "1/min"), (1 / 3600, "1/h"), (0.5 / 3600, "0.5/h")),
        *((9_999_999.0, "9999999/s"), (1e-6 / 3600, "0.000001/h"), (100.0, "100/s")),
    ],
)
def test_a_rate_is_told_by_the_shortest_time_with_a_start(starts, told):
    """As one would write it in the configuration."""
    assert rate(starts) == told


@given(
    written=st.builds(
        "{}{}/{}".format,
        st.integers(0, 9_999_999),
        st.just("") | st.text("0123456789", min_size=1, max_size=6).map(".{}".format),
        st.sampled_from(["s", "min", "h"]),
    ).filter(lambda rate: re.search("[1-9]", rate))
)
def test_every_rate_that_can_be_configured_is_told_as_it_can_be_configured(written):
    """To a millionth, without an exponent."""
    starts = per_second(written)
    assert per_second(rate(starts)) == pytest.approx(starts, rel=1e-6, abs=0)
