"""What may happen to the rows: who is admitted, and told what."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from admission.budget import Unaffordable
from admission.keys import Key
from admission.policy import LONGEST_WAIT_SECONDS, SPREAD_SECONDS
from admission.refusals import Refusal, RefusalCode, Watch
from orchestrator.domain import webhooks
from orchestrator.domain.plan import Plan, encode
from orchestrator.domain.states import ParentState
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Conflict, Replayed
from tests.stateful.checks import Seen
from tests.stateful.prices import priced
from tests.stateful.records import CallerRow, ParentRow
from tests.stateful.rows import Rows


class Held(NamedTuple):
    """A caller waits for this parent, of a first submission or of a replay: it is not told yet."""

    parent: UUID


Told = Accepted | Replayed | Conflict | Unaffordable | Refusal | Held


class Asked(NamedTuple):
    """A submission of a key, and what it was told; with a caller somebody wants to wait."""

    key: Key
    plan: Plan
    name: str | None
    caller: Caller | None
    told: Told

    def row(self, lanes: Sequence[int]) -> ParentRow:
        """The parent it would make, with a cell in each of these lanes."""
        plan = self.plan
        delayed = plan.delay > 0 and not self.caller
        return ParentRow(
            self.key.id,
            tuple(lanes),
            plan.priority,
            mode="sync" if self.caller else "async",
            name=self.name,
            payload=encode(priced(plan)) if self.name else None,
            group=plan.group,
            finish=plan.finish,
            deadline=plan.deadline is not None,
            tells=webhooks.tells(plan.webhook),
            estimated=priced(plan).estimate,
            state=ParentState.DELAYED if delayed else ParentState.QUEUED,
        )


def explained(
    rows: Seen, asked: Sequence[Asked], lanes: Mapping[tuple[str, str], int]
) -> Seen | None:
    """The rows after these came in some order in which each is told so; None: there is no such."""
    hopeless: set[frozenset[int]] = set()

    def after(before: Seen, left: frozenset[int]) -> Seen | None:
        if not left:
            return before
        for n in sorted(left) if left not in hopeless else ():
            one = asked[n]
            if fits(_answer(before, one), one.told):
                found = after(_taken_in(before, one, lanes), left - {n})
                if found is not None:
                    return found
        hopeless.add(left)
        return None

    return after(rows, frozenset(range(len(asked))))


def _answer(rows: Rows, one: Asked) -> Told:
    """What one submission, alone, is told; what comes in takes the id it was told."""
    key, limits = one.key.id, one.key.limits
    taken = rows.taken(key, limits)
    free = limits.sync_limit > taken.sync_running
    if earlier := rows.named(key, one.name):
        row = rows.parents[earlier]
        if row.payload != encode(priced(one.plan)):
            return Conflict(earlier)
        waits = one.caller is not None and not row.state.ended and free
        return Replayed(earlier, row.state, waits)
    if short := rows.short(key, priced(one.plan).estimate):
        return short
    if one.caller and not free:
        code, watch = RefusalCode.CONCURRENCY_LIMIT_EXCEEDED, Watch.SYNC_CONCURRENCY
        return Refusal(code, watch, limits.sync_limit, taken.sync_running, 1, 0, taken)
    if not one.caller and rows.full(key, limits):
        return no_place(rows, one.key)
    return one.told if isinstance(one.told, Accepted | Held) else Accepted(UUID(int=0))


def no_place(rows: Rows, key: Key, places: int = 1) -> Refusal:
    """The queue of the key has no room for so many."""
    code, watch = RefusalCode.QUEUE_CAPACITY_EXCEEDED, Watch.ADMISSION_QUEUE
    taken = rows.taken(key.id, key.limits)
    return Refusal(code, watch, key.limits.queue_capacity, taken.depth, places, 0, taken)


def is_full(told: object) -> bool:
    """Whether it was told that a queue has no room."""
    return isinstance(told, Refusal) and told.watch is Watch.ADMISSION_QUEUE


def is_refused(told: object, rows: Rows, key: Key) -> bool:
    """Whether it was told that there is no room for one; when lanes keep it, not to hurry."""
    patient = LONGEST_WAIT_SECONDS - SPREAD_SECONDS if rows.stuck(key.id) else 0
    refused = isinstance(told, Refusal) and fits(no_place(rows, key), told)
    return refused and told.retry_after_seconds >= patient


def fits(answer: Told, told: Told) -> bool:
    """Whether it was told so; when to come back is another matter, but within a minute."""
    match told:
        case Refusal():
            soon = 1 <= told.retry_after_seconds <= 60
            return soon and answer == told._replace(retry_after_seconds=0)
        case Held(parent) if isinstance(answer, Replayed):
            return answer.waits and answer.parent == parent
        case Replayed(state=state) if isinstance(answer, Replayed):
            return answer == told._replace(state=answer.state) and state.wire == answer.state.wire
    return type(answer) is type(told) and answer == told


def _taken_in(rows: Seen, one: Asked, lanes: Mapping[tuple[str, str], int]) -> Seen:
    new = isinstance(one.told, Accepted | Held) and one.told.parent not in rows.parents
    waits = isinstance(one.told, Held) or (isinstance(one.told, Replayed) and one.told.waits)
    if not (new or waits):
        return rows
    rows = rows.copy()
    if new:
        cells = [lanes[cell.surface, cell.region.country] for cell in one.plan.cells()]
        rows.admit(one.told.parent, one.row(cells))
    if one.caller and (new or waits):
        rows.wait(one.caller.id, CallerRow(one.key.id, one.told.parent, one.caller.node))
    return rows
