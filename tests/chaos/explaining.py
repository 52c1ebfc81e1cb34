"""Why the upstream was called, and how often at once: pure.

A call is explained by a claim before it of the child it is about, each claim explaining one. A
claim is not flushed by itself, so a crash of PostgreSQL may forget the last ones: a call about then
needs none. What a node does that is dead by the rules of liveness counts against no limit; neither
does what a forgotten claim had called. Both are listed, and bounded.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from orchestrator.heartbeat import BEAT_SECONDS
from orchestrator.store.nodes import DEAD_AFTER_SECONDS
from tests.chaos.journal import Claimed, Entered
from tests.e2e.judging import Call, most_at_once

Lane = tuple[str, str]
UNFLUSHED_SECONDS = 3.0
"""PostgreSQL flushes what nobody waits for within three rounds of its WAL writer: 0.6 s."""
ANSWERED_SECONDS = 2.0
"""A worker that had the answer to its claim just before the crash may call so much later."""


class Seen(NamedTuple):
    """A call in the upstream's log."""

    lane: Lane
    call: Call


class Death(NamedTuple):
    """A worker process stopped at a moment, killed or frozen; epoch seconds."""

    pid: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A call, and the claim it was made for. From `excused` on it counts against no limit."""

    seen: Seen
    claim: Claimed | None
    excused: float = inf

    @property
    def forgotten(self) -> bool:
        """Whether a crash has forgotten the claim it was made for."""
        return self.claim is None and self.excused < inf


def explained(
    cells: Mapping[tuple[str, Lane], Sequence[Claimed]], calls: Sequence[Seen]
) -> Iterator[Explained]:
    """Each call with the latest claim of its cell (query and lane) that was there by then."""
    left = defaultdict(list, {cell: list(claims) for cell, claims in cells.items()})
    for seen in sorted(calls, key=lambda seen: seen.call.arrived):
        claims = left[seen.call.query, seen.lane]
        before = [claim for claim in claims if claim.at.timestamp() <= seen.call.arrived]
        if before:
            claims.remove(before[-1])
        yield Explained(seen=seen, claim=before[-1] if before else None)


def excusing(
    one: Explained, *, nodes: Sequence[Entered], deaths: Sequence[Death], crashes: Sequence[float]
) -> Explained:
    """The same, and from when on it counts against no limit."""
    arrived = one.seen.call.arrived
    if one.claim is None:
        near = [c for c in crashes if c - UNFLUSHED_SECONDS <= arrived <= c + ANSWERED_SECONDS]
        return replace(one, excused=near[0]) if near else one
    claimed, node = one.claim.at.timestamp(), one.claim.node
    pids = {entered.pid for entered in nodes if entered.id == node}
    ends = [death.at for death in deaths if death.pid in pids and claimed <= death.at]
    judged = min(ends, default=inf) + DEAD_AFTER_SECONDS - BEAT_SECONDS
    return replace(one, excused=judged)


def beyond(
    lane: Lane, limit: int, calls: Sequence[Explained], *, events: int
) -> Iterator[tuple[str, bool]]:
    """What the upstream saw beyond a lane's limit; True: it is excused.

    After each of so many deaths and crashes the limit's worth may be open once more.
    """
    counted = [replace(one.seen.call, ended=_end(one)) for one in calls if _counts(one)]
    if (most := most_at_once(counted)) > limit:
        yield f"{lane}: {most} at once, {limit} allowed", False
    spared = [one for one in calls if one.excused < (one.seen.call.ended or inf)]
    if len(spared) > limit * events:
        yield f"{lane}: {len(spared)} calls excused by {events} deaths and crashes", False
    for one in spared:
        yield f"{lane}: {one.seen.call} for {one.claim}", True


def _counts(one: Explained) -> bool:
    return one.seen.call.arrived < one.excused


def _end(one: Explained) -> float | None:
    end = min(one.seen.call.ended or inf, one.excused)
    return None if end == inf else end
