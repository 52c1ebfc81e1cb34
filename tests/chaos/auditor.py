"""The auditor: what was lost, doubled, leaked or promised in vain, by the evidence alone (pure).

It believes nobody's counters: rows are held against what clients were told, against the log of the
upstream and against what the database noted of each claim and each end (`journal`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain import ids
from tests.chaos import explaining, posted
from tests.chaos.books import Books, ChildRow
from tests.chaos.explaining import Death, Explained, Lane, Seen
from tests.chaos.journal import Claimed
from tests.chaos.posted import Received


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a key's jobs when all is over.

    `acknowledged` are the ids clients were given, each with the idempotency key it was asked
    under; `received` is the log of their webhook; `told` is what a client read of a job that had
    ended: its status and how many cells were completed. `deaths` are of workers, `crashes` of
    PostgreSQL (epoch seconds).
    """

    acknowledged: Mapping[str, str]
    told: Mapping[str, tuple[str, int]]
    calls: Sequence[Seen]
    books: Books
    received: Sequence[Received] = ()
    deaths: Sequence[Death] = ()
    crashes: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong, in words; all empty but `excused`, which lists the calls no limit counts.

    Of so many `events` each was delivered; so many deliveries `repeated` one that was acknowledged.
    """

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    leaked: tuple[str, ...]
    beyond: tuple[str, ...]
    contradicted: tuple[str, ...]
    excused: tuple[str, ...]
    events: int = 0
    repeated: int = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that should not be."""
        return self.lost + self.doubled + self.leaked + self.beyond + self.contradicted


def audit(evidence: Evidence) -> Findings:
    """Hold everything against everything."""
    books = evidence.books
    calls = _explained(evidence)
    seen = list(_beyond(evidence, calls))
    return Findings(
        lost=(*_lost(evidence), *_unanswered(evidence), *posted.lost(books, evidence.received)),
        doubled=(
            *_doubled(evidence),
            *_noted_twice(books),
            *_called_in_vain(calls),
            *posted.doubled(books, evidence.received),
        ),
        leaked=tuple(books.leaks),
        beyond=tuple(fault for fault, excused in seen if not excused),
        contradicted=tuple(_contradicted(evidence)),
        excused=tuple(fault for fault, excused in seen if excused),
        events=len(posted.events(books)),
        repeated=posted.repeated(evidence.received),
    )


def _lost(evidence: Evidence) -> Iterator[str]:
    """What was acknowledged and is not there; what is there and has not ended."""
    books = evidence.books
    rows = Counter(child.parent for child in books.children)
    stored = {ids.text(parent.id) for parent in books.parents}
    for job in evidence.acknowledged.keys() - stored:
        yield f"{job} was acknowledged and is gone"
    for parent in books.parents:
        if not parent.finished:
            yield f"{ids.text(parent.id)} has not ended: {parent}"
        if rows[parent.id] != parent.total:
            yield f"{ids.text(parent.id)} has {rows[parent.id]} of {parent.total} children"
    for child in books.children:
        if not child.finished:
            yield f"child {child.ordinal} of {ids.text(child.parent)} has not ended: {child}"


def _unanswered(evidence: Evidence) -> Iterator[str]:
    """Children that are said to be completed, and hold nothing or were never answered."""
    answered = {(s.call.query, s.lane) for s in evidence.calls if s.call.status == 200}
    for child in evidence.books.children:
        if child.state == "completed" and not (child.captured and _cell(child) in answered):
            yield f"{child} was completed without an answer"


def _doubled(evidence: Evidence) -> Iterator[str]:
    """Two jobs of one idempotency key, and parents that ended more or fewer cells than they have.

    Each query is asked under one key.
    """
    asked = Counter(evidence.acknowledged.values())
    yield from (f"{n} jobs were acknowledged for {name!r}" for name, n in asked.items() if n > 1)
    stored = Counter(parent.query for parent in evidence.books.parents)
    yield from (f"{n} jobs are stored for {query!r}" for query, n in stored.items() if n > 1)
    ended = Counter(child.parent for child in evidence.books.children if child.finished)
    for parent in evidence.books.parents:
        if parent.done != ended[parent.id]:
            yield f"{ids.text(parent.id)} counts {parent.done} ends of {ended[parent.id]}"


def _noted_twice(books: Books) -> Iterator[str]:
    """Ends that were recorded more than once in a run, and rows that ended without a note."""
    outcomes = Counter((noted.parent, noted.ordinal, noted.run) for noted in books.journal.outcomes)
    ends = Counter((noted.parent, noted.ordinal, noted.run) for noted in books.journal.ends)
    for of, n in (outcomes + ends).items():
        if n > 1:
            yield f"{ids.text(of[0])}, child {of[1]}, run {of[2]}: {n} outcomes"
    runs = {parent.id: parent.run for parent in books.parents}
    for child in books.children:
        if child.finished and not outcomes[child.parent, child.ordinal, runs[child.parent]]:
            yield f"{child} ended and nobody noted it"
    for parent in books.parents:
        if parent.finished and not ends[parent.id, 0, parent.run]:
            yield f"{parent} ended and nobody noted it"


def _called_in_vain(calls: Sequence[Explained]) -> Iterator[str]:
    """Calls that nothing explains."""
    for one in calls:
        if one.claim is None and not one.forgotten:
            yield f"a call too many: {one.seen}"


def _beyond(evidence: Evidence, calls: Sequence[Explained]) -> Iterator[tuple[str, bool]]:
    events = len(evidence.deaths) + len(evidence.crashes)
    lanes: defaultdict[Lane, list[Explained]] = defaultdict(list)
    for one in calls:
        lanes[one.seen.lane].append(one)
    for lane, own in lanes.items():
        yield from explaining.beyond(lane, evidence.books.limits[lane], own, events=events)


def _contradicted(evidence: Evidence) -> Iterator[str]:
    """What a client read of an ended job, and the rows say otherwise."""
    stored = {ids.text(parent.id): parent for parent in evidence.books.parents}
    for job, (status, completed) in evidence.told.items():
        parent = stored.get(job)
        if parent and (parent.state, parent.done - parent.failed) != (status, completed):
            yield f"{job} was read {status} with {completed} completed, and is {parent}"


def _explained(evidence: Evidence) -> list[Explained]:
    books = evidence.books
    claims: defaultdict[tuple[object, int], list[Claimed]] = defaultdict(list)
    for claim in books.journal.claims:
        claims[claim.parent, claim.ordinal].append(claim)
    cells = {_cell(child): claims[child.parent, child.ordinal] for child in books.children}
    return [
        explaining.excusing(
            one, nodes=books.journal.nodes, deaths=evidence.deaths, crashes=evidence.crashes
        )
        for one in explaining.explained(cells, evidence.calls)
    ]


def _cell(child: ChildRow) -> tuple[str, Lane]:
    return child.query, (child.surface, child.country)
