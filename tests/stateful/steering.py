"""Cancels, deadlines, delays, retries and erasure: of one job, of a cell, of a queue."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.keys import Key
from orchestrator.store import delays, pruning, steering
from orchestrator.store.steering import NotRetryable
from tests.stateful.deciding import fits, is_refused
from tests.stateful.endings import endings
from tests.stateful.ends import AGED, WEEK_SECONDS
from tests.stateful.orders import Cancel, Clear, Erase, Order, Retried, Retry
from tests.stateful.strategies import a_cell, gathered, indexes, picked, some_ends
from tests.stateful.working import Working

SOON = """
UPDATE parent SET not_before = now() - interval '1 second' WHERE state = 'delayed'
"""
LATE = """
UPDATE parent SET deadline_at = now() - interval '1 second'
WHERE id = ANY(%(parents)s) AND deadline_at IS NOT NULL
"""


class Steering(Working):
    """What was taken in does as it is told."""

    def steer(self, order: Order) -> Any:
        return self.world.run(self.world.steer(order))

    def owner(self, parent: UUID) -> Key:
        return next(key for key in self.keys if key.id == self.rows.parents[parent].key)

    def one_of(self, index: int, *, live: bool) -> list[UUID]:
        """A parent, if there is any; one that has not ended, or one that has, if there is one."""
        parents = sorted(self.rows.parents)
        wanted = [n for n in parents if self.rows.parents[n].state.ended != live]
        return picked(wanted or parents, [index])

    def ordinal(self, parent: UUID, cell: int | None) -> int | None:
        return None if cell is None else cell % len(self.rows.parents[parent].lanes) + 1

    @rule(
        index=indexes, live=st.sampled_from([True, True, False]), cell=a_cell, twice=st.booleans()
    )
    def cancel(self, index, live, cell, twice) -> None:
        """Alone or twice at the same moment: what was told is so from then on."""
        for parent in self.one_of(index, live=live):
            self.call_off(parent, self.ordinal(parent, cell), times=1 + twice)

    def call_off(self, parent: UUID, ordinal: int | None, *, times: int = 1) -> None:
        order = Cancel(self.owner(parent), parent, ordinal)
        told, ended = self.rows.cancel(parent, ordinal)
        answers = self.world.run(gathered(self.world.steer(order) for _ in range(times)))
        assert [type(answer) for answer in answers] == [type(told)] * times
        self.end(ended)

    @rule(index=indexes)
    def clear(self, index) -> None:
        """All that has not started goes, and nothing else."""
        key = self.key(index)
        ended = self.rows.clear(key.id)
        assert self.steer(Clear(key)) == len(ended)
        self.end(ended)

    @rule(hours=st.booleans())
    def release(self, hours) -> None:
        """Whose delay is over may leave, perhaps after hours; nobody else."""
        if hours:
            self.delays_pass()
        assert self.bare(delays.release).parents == self.rows.release()

    def delays_pass(self) -> None:
        self.world.execute(SOON)
        for parent, row in self.rows.parents.items():
            if row.state == "delayed":
                self.rows.parents[parent] = row._replace(due=True)

    @rule(
        some=st.none() | st.lists(indexes, min_size=1, max_size=3), most=st.sampled_from([300, 1])
    )
    def expire(self, some, most) -> None:
        """Whatever met its deadline, key by key, and nothing else."""
        live = sorted(self.rows.live())
        self.run_out(live if some is None else picked(live, some), most=most)

    def run_out(self, parents: Sequence[UUID], *, most: int = 300) -> None:
        """The deadlines of these that have one."""
        self.deadlines_pass([parent for parent in parents if self.rows.parents[parent].deadline])
        late, ended = self.rows.expire()
        expired = 0
        while n := self.bare(steering.expire, most=most).parents:
            expired += n
        assert expired == late
        self.end(ended)

    def deadlines_pass(self, parents: Sequence[UUID]) -> None:
        self.world.execute(LATE, parents=list(parents))
        for parent in parents:
            self.rows.parents[parent] = self.rows.parents[parent]._replace(overdue=True)

    @rule(index=indexes, live=st.sampled_from([False, False, True]), ends=some_ends, cell=a_cell)
    def retry(self, index, live, ends, cell) -> None:
        """Admitted like any submission, or told why not."""
        for parent in self.one_of(index, live=live):
            self.run_again(parent, ends, self.ordinal(parent, cell))

    @rule(ends=some_ends)
    def retry_all(self, ends) -> None:
        """One after the other, as long as there is room."""
        for parent in sorted(self.rows.parents):
            self.run_again(parent, ends, None)

    def run_again(self, parent: UUID, ends: Sequence[str], ordinal: int | None) -> None:
        key = self.owner(parent)
        told = self.steer(Retry(key, parent, ends, ordinal))
        todo = self.rows.retryable(parent, ends, ordinal)
        if isinstance(todo, NotRetryable):
            assert told == todo
        elif short := self.rows.short(key.id, self.rows.cost(parent, todo)):
            assert fits(short, told)
        elif self.rows.full(key.id, key.limits):
            assert is_refused(told, self.rows, key)
        else:
            assert isinstance(told, Retried)
            self.rows.again(parent, todo)

    @rule(index=indexes, live=st.sampled_from([False, False, True]))
    def erase(self, index, live) -> None:
        """What has ended is gone, and its name is free."""
        for parent in self.one_of(index, live=live):
            key = self.owner(parent)
            told = self.steer(Erase(key, parent))
            assert type(told) is type(self.rows.erase(parent))

    @rule(some=st.lists(indexes, min_size=1, max_size=3), most=st.sampled_from([200, 1]))
    def prune(self, some, most) -> None:
        """What ended longer ago than it is kept is gone, and nothing else."""
        old = self.long_ago(some)
        assert self.pruned(most) == len(old)
        for parent in old:
            self.rows.erase(parent)

    def long_ago(self, some: Sequence[int]) -> list[UUID]:
        """These of the parents that have ended did so long ago."""
        parents = self.rows.parents.items()
        old = picked(sorted(parent for parent, row in parents if row.state.ended), some)
        self.world.execute(AGED, parents=old)
        return old

    def pruned(self, most: int = 200) -> int:
        """How many parents are pruned until none is due."""
        pruned = 0
        bounds = {"retention_seconds": WEEK_SECONDS, "parents": most}
        while n := self.bare(pruning.prune, **bounds).parents:
            pruned += n
        return pruned

    @rule(index=indexes, lost=st.booleans(), how=endings)
    def stop_what_runs(self, index, lost, how) -> None:
        """A child that was told to stop comes home late, or dies with its node."""
        parents = sorted({fence.parent_id for fence in self.rows.fences()})
        self.run_out(picked(parents, [index]))
        for parent in picked(parents, [index + 1]):
            self.call_off(parent, None)
        if lost:
            self.die(index, most=300, forgotten=False, back=True)
        else:
            self.settle_all(how)
