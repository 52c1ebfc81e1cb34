"""What was seen of a parent stands in the id of an event, and the rest follows from it."""

import base64
import random
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.openapi import examples
from orchestrator.domain import events, ids
from orchestrator.domain.documents import JobRead
from orchestrator.domain.events import Event, Seen
from orchestrator.domain.states import ChildStatus, ParentStatus

EXAMPLE = examples.documents()["JobRead"]
PARENT = ids.new()
CELL = st.tuples(st.sampled_from(get_args(ChildStatus)), st.integers(0, 41))
HEAD = st.tuples(st.integers(1, 2**32 - 1), st.sampled_from(get_args(ParentStatus)))


def read(head: tuple[int, str], cells: list[tuple[str, int]]) -> JobRead:
    """A read with this run and status, and these statuses and attempts of children."""
    run, status = head
    child = EXAMPLE["children"][0]
    return msgspec.convert(
        {
            "job": EXAMPLE["job"] | {"run": run, "status": status},
            "children": [
                child | {"id": f"{place}", "status": cell, "attempts": attempts}
                for place, (cell, attempts) in enumerate(cells)
            ],
        },
        JobRead,
    )


@st.composite
def two_reads(draw) -> tuple[JobRead, JobRead]:
    """Two reads of one parent, with any number of differences."""
    n = draw(st.integers(1, 40))
    cells = st.lists(CELL, min_size=n, max_size=n)
    return read(draw(HEAD), draw(cells)), read(draw(HEAD), draw(cells))


def told(seen: Seen, now: JobRead) -> list[Event]:
    return list(events.since(seen, now, PARENT))


@given(two_reads())
def test_an_id_stands_for_all_that_was_seen(reads):
    """It comes back as it was: every status and number of attempts, told or not yet."""
    before, now = reads
    cells = len(now.children)
    nothing = events.nothing(cells)
    for seen in (nothing, events.of(before), events.of(now)):
        for event in told(seen, now):
            known = events.read(event.id, PARENT, cells)
            assert known is not None
            assert events.text(known, PARENT) == event.id
        assert events.read(events.text(seen, PARENT), PARENT, cells) == seen


@given(two_reads(), st.data())
def test_whoever_comes_back_is_told_the_rest_and_nothing_twice(reads, data):
    """Wherever a stream was cut, what came before and what comes after are all events, once."""
    before, now = reads
    cells = len(now.children)
    whole = told(events.of(before), now)
    cut = data.draw(st.integers(0, len(whole)))
    last = whole[cut - 1].id if cut else events.text(events.of(before), PARENT)
    seen = events.read(last, PARENT, cells)
    assert seen is not None
    assert told(seen, now) == whole[cut:]


@given(two_reads())
def test_what_differs_is_told_and_nothing_else(reads):
    """Each changed child once, in order, then the parent if its status or run has changed."""
    before, now = reads
    changed = [
        after.id
        for first, after in zip(before.children, now.children, strict=True)
        if (first.status, first.attempts) != (after.status, after.attempts)
    ]
    *children, last = [*told(events.of(before), now), None]
    parent = (before.job.run, before.job.status) != (now.job.run, now.job.status)
    assert [e.data.id for e in children if e and e.name == "child"] == changed
    assert [e.data for e in children if e and e.name == "parent"] == [now.job] * parent
    assert last is None


@given(st.integers(1, 40), st.binary(max_size=80))
def test_any_other_text_is_no_id(cells, noise):
    """It is told from one, whatever it is."""
    text = base64.urlsafe_b64encode(noise).decode().rstrip("=")
    for given_text in (text, noise.decode("latin-1"), "p", "z", "=", "é"):
        assert events.read(given_text, PARENT, cells) is None


def test_an_id_of_another_parent_is_none():
    """Neither one of another job, nor one that lost its end, nor one of another size."""
    whole = events.text(events.of(read((1, "queued"), [("queued", 0)] * 100)), PARENT)
    assert events.read(whole, PARENT, 100) is not None
    assert events.read(whole, ids.new(), 100) is None
    assert events.read(whole[: len(whole) // 2], PARENT, 100) is None
    for cells in (1, 99, 101, 500):
        assert events.read(whole, PARENT, cells) is None


def test_an_id_that_unpacks_to_more_than_it_may_is_none():
    """A small text that stands for very much is not unpacked to its end."""
    bomb = events.text(events.nothing(50_000_000), PARENT)
    assert len(bomb) < 400_000
    assert events.read(bomb, PARENT, 100) is None


def test_an_id_fits_into_a_header():
    """Of the most cells there may be, in whatever states: far less than a head may have."""
    rolls = random.Random(1)
    statuses = get_args(ChildStatus)
    cells = [(rolls.choice(statuses), rolls.randint(0, 10)) for _ in range(10_000)]
    assert len(events.text(events.of(read((9, "processing"), cells)), PARENT)) < 16_000


def test_more_attempts_than_can_be_told_apart_count_as_the_last():
    """A child with that many goes on to be told when its status changes."""
    many = read((1, "processing"), [("processing", 41)])
    more = read((1, "processing"), [("processing", 60)])
    assert told(events.of(many), more) == []
    assert len(told(events.of(more), read((1, "processing"), [("queued", 60)]))) == 1
