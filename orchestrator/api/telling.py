"""What a sync caller is told once its wait has ended: its job, as it is then."""

import asyncio
from functools import partial
from typing import NamedTuple
from uuid import UUID

from admission.policy import retry_after
from orchestrator.api import denials, problems, reading
from orchestrator.api.asking import Question
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.services import Services
from orchestrator.domain import cell_views, ids, views
from orchestrator.domain.documents import FlatResults, SyncResult
from orchestrator.domain.envelope import Wire
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.patience import DATABASE_AWAY, backoff
from orchestrator.store import children, parents

READ_SECONDS = 5.0
"""How long an answer that cannot be read is tried for, at least: the database is often back."""


class Subject(NamedTuple):
    """The job to tell of; `waited`: its caller had a place, and waited."""

    job: UUID
    waited: bool
    headers: tuple[Header, ...] = ()

    @property
    def where(self) -> Header:
        """Where the job is read."""
        return (b"location", f"/v1/jobs/{ids.text(self.job)}".encode())


async def tell(
    here: Services, question: Question, subject: Subject, *, until: float
) -> Reply | Problem:
    """Read the job and say what became of it.

    While the database is away a caller who would wait until then (by the loop's clock) waits on.
    """
    clock, failures = asyncio.get_running_loop().time, 0
    until = max(until, clock() + READ_SECONDS)
    while True:
        try:
            return await _read(here, question, subject)
        except DATABASE_AWAY:
            failures += 1
            if here.waits.released or clock() + backoff(failures) > until:
                return _unread(subject)
            await asyncio.sleep(backoff(failures))


async def _read(here: Services, question: Question, subject: Subject) -> Reply | Problem:
    job, key = subject.job, question.key
    async with here.reading() as connection:
        parent = await parents.read(connection, key_id=key.id, parent=job)
        if parent is None:
            return problems.job_not_found()  # erased while it was waited for
        ended = parent.state.ended
        found: Wire | Problem
        if ended:
            rows = await children.results(connection, job, after=0, limit=parent.total)
            shown = question.shown or partial(_found, question)
            found = shown(parent, rows)
            if isinstance(found, Problem):
                return found
        elif subject.waited and not question.mode.preferred and not _told_later(here, question):
            return denials.timed_out(ids.text(job)).beside(*subject.headers)
        else:
            found = await reading.of(connection, parent)
    headers = (subject.where, *subject.headers)
    if ended:
        return document(found, headers=(*headers, *question.applied))
    again: Header = (b"retry-after", b"%d" % retry_after(here.pace.seconds(key.id)))
    return document(found, status=202, headers=(*headers, again, *question.applied))


def _told_later(here: Services, question: Question) -> bool:
    """Whether it is this server that leaves, and its caller knows a job that goes on."""
    return here.waits.released and question.shown is None


def _unread(subject: Subject) -> Problem:
    """The job is stored and goes on; nobody can say more of it now."""
    return denials.unread(ids.text(subject.job)).beside(subject.where, *subject.headers)


def _found(question: Question, parent: ParentRow, rows: list[ChildRow]) -> Wire:
    """One cell: its Envelope; several: the parent and all of them."""
    surfaces = question.existing.surfaces
    envelopes = tuple(cell_views.envelopes(parent, parent.plan.cells(), rows, surfaces))
    if len(envelopes) == 1:
        return cell_views.flat(envelopes[0]) if question.flat else envelopes[0]
    if question.flat:
        return FlatResults(results=tuple(map(cell_views.flat, envelopes)))
    return SyncResult(job=views.job_read(parent, rows).job, children=envelopes)
