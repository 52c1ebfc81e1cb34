"""What was told of ends, held against the ends there were: pure.

Each is told at least once and recorded as delivered exactly once; nothing else is told.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from tests.chaos.books import Books
from tests.chaos.receiver import Received


def events(books: Books) -> dict[str, EventId]:
    """Every event that was to be told, by its id."""
    tell = {parent.id for parent in books.parents if parent.tells}
    ended = (*books.journal.outcomes, *books.journal.ends)
    made = {EventId(one.parent, one.ordinal, one.run) for one in ended if one.parent in tell}
    return {ids.event_text(event): event for event in made}


def lost(books: Books, received: Sequence[Received]) -> Iterator[str]:
    """Events that nobody acknowledged, or of which nobody recorded that it was."""
    acknowledged = {one.event for one in received if _fine(one)}
    recorded = _recorded(books)
    for name, event in events(books).items():
        if name not in acknowledged:
            yield f"{event} was never delivered"
        if not recorded[event]:
            yield f"{event} is not recorded as delivered"


def doubled(books: Books, received: Sequence[Received]) -> Iterator[str]:
    """Deliveries recorded twice, told of what did not happen, or signed by somebody else."""
    for event, n in _recorded(books).items():
        if n > 1:
            yield f"{event} is recorded as delivered {n} times"
    known = events(books)
    for one in received:
        if one.event not in known:
            yield f"{one} tells of what did not happen"
        if not one.sound:
            yield f"{one} is not signed by us"


def repeated(received: Sequence[Received]) -> int:
    """How many came of events that had come before and were acknowledged then, for all we know."""
    counted = Counter(one.event for one in received if one.status is None or _fine(one))
    return counted.total() - len(counted)


def _recorded(books: Books) -> Counter[EventId]:
    noted = books.journal.delivered
    return Counter(EventId(one.parent, one.ordinal, one.run) for one in noted)


def _fine(one: Received) -> bool:
    return one.status is not None and 200 <= one.status < 300
