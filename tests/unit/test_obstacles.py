"""Why a cell waits: the first thing in its way, and until when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.domain.obstacles import LaneNow, Obstacles

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SOON, LATER, PAST = (NOW + timedelta(seconds=n) for n in (5, 60, -5))
LANE = 7
FREE = LaneNow(
    served=True,
    paused=False,
    open_until=None,
    not_before=None,
    next_token_at=None,
    limit=4,
    processing=0,
    async_limit=3,
    async_processing=0,
)
IN_THE_WAY: list[tuple[dict[str, Any], tuple[str, datetime | None]]] = [
    ({"served": False}, ("no_worker", None)),
    ({"paused": True}, ("lane_paused", None)),
    ({"open_until": LATER}, ("breaker_open", LATER)),
    ({"not_before": SOON}, ("lane_rate", SOON)),
    ({"next_token_at": SOON}, ("lane_rate", SOON)),
    ({"processing": 4, "async_processing": 3}, ("lane_full", None)),
    ({}, ("key_concurrency", None)),
]
"""What can be in the way of a ready child whose key runs all it may, the most lasting first."""


def obstacles(lane: LaneNow, *, key_full: bool = False, async_full: bool = False) -> Obstacles:
    return Obstacles(now=NOW, lanes={LANE: lane}, key_full=key_full, async_full=async_full)


@pytest.mark.parametrize("first", range(len(IN_THE_WAY)))
def test_the_most_lasting_obstacle_is_told(first):
    """Of several at once the one that would still be there when the others are gone."""
    told = IN_THE_WAY[first][1]
    all_of_them: dict[str, Any] = {}
    for changes, _ in reversed(IN_THE_WAY[first:]):
        all_of_them |= changes
    lane = FREE._replace(**all_of_them)
    assert obstacles(lane, key_full=True).to(LANE, sync=True) == told


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"open_until": PAST},
        {"not_before": PAST},
        {"next_token_at": NOW},
        {"processing": 3, "async_processing": 2},
    ],
)
def test_what_is_over_is_in_nobodys_way(changes):
    """A breaker that asks for a probe, a moment that has come, a lane with a place left."""
    assert obstacles(FREE._replace(**changes)).to(LANE, sync=False) is None


@pytest.mark.parametrize(
    ("not_before", "next_token_at", "until"), [(SOON, LATER, LATER), (LATER, SOON, LATER)]
)
def test_a_lane_waits_for_its_rate_and_for_its_upstream(not_before, next_token_at, until):
    """Until the later of the two."""
    lane = FREE._replace(not_before=not_before, next_token_at=next_token_at)
    assert obstacles(lane).to(LANE, sync=False) == ("lane_rate", until)


def test_a_probe_is_waited_for():
    """While it runs the lane is still cut off, until nobody knows when."""
    lane = FREE._replace(open_until=PAST, processing=1)
    assert obstacles(lane).to(LANE, sync=True) == ("breaker_open", None)


def test_the_place_left_for_callers_is_theirs():
    """What is full for async children may have room for sync ones."""
    lane = FREE._replace(processing=3, async_processing=3)
    assert obstacles(lane).to(LANE, sync=False) == ("lane_full", None)
    assert obstacles(lane).to(LANE, sync=True) is None
    busy = obstacles(FREE, async_full=True)
    assert busy.to(LANE, sync=False) == ("key_concurrency", None)
    assert busy.to(LANE, sync=True) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"served": False, "paused": True}, ("no_worker", None)),
        ({"paused": True, "open_until": LATER}, ("lane_paused", None)),
        ({"open_until": LATER}, ("breaker_open", LATER)),
        ({"open_until": PAST}, ("breaker_open", None)),
        ({"not_before": LATER, "next_token_at": LATER, "processing": 9}, None),
        ({}, None),
    ],
)
def test_a_shut_lane_holds_what_is_queued(changes, told):
    """A half-open one too: it lets out one parent. A full or slow one is everybody's turn."""
    assert obstacles(FREE._replace(**changes), key_full=True).holding(LANE) == told


def test_of_an_unknown_lane_nothing_is_told():
    """Nothing is known to be in the way."""
    assert obstacles(FREE, key_full=True).to(LANE + 1, sync=False) is None
    assert obstacles(FREE._replace(paused=True)).holding(LANE + 1) is None
