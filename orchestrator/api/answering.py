"""The answer of a sync call: it is held until its job ends, its wait is over or its caller leaves.

Whatever comes first, the job goes on and nothing is lost; the place in the sync budget is given
back before the reply, so that a caller who reads it may call again at once.
"""

import asyncio
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from litestar.types import Receive

from admission.policy import retry_after
from orchestrator import submission
from orchestrator.api import catalogue, denials, leaving, problems, reading
from orchestrator.api.asking import REPLAYED, Question
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.services import Services
from orchestrator.domain import cell_views, ids, views
from orchestrator.domain.documents import FlatResults, SyncResult
from orchestrator.domain.envelope import Wire
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.store import children, parents
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Replayed
from orchestrator.waits import Wait

NOBODY = Reply(HTTPStatus.NO_CONTENT, b"")
"""The reply to a caller who hung up; it reaches nobody."""


class _Admitted(NamedTuple):
    """The job to answer for; `wait` is None when there is nothing to wait for, or no place."""

    job: UUID
    wait: Wait | None
    headers: tuple[Header, ...] = ()


async def answer(here: Services, question: Question, receive: Receive) -> Reply | Problem:
    """Take it in, wait, and say what became of it."""
    if problem := await _in_vain(here, question):
        return problem
    admitted = await _admit(here, question)
    if isinstance(admitted, Problem):
        return admitted
    if admitted.wait is None:
        return await _read(here, question, admitted)
    gone, left = await _hold(here, question, admitted.wait, receive)
    reply = NOBODY if gone else await _read(here, question, admitted)
    await left
    return reply


async def _in_vain(here: Services, question: Question) -> Problem | None:
    """Why not to wait: every lane is cut off for longer, and nothing was submitted before."""
    dead = catalogue.dead_for(question.plan, question.existing)
    if dead <= (question.mode.wait_seconds or 0):
        return None
    if question.idempotency_key is not None:
        async with here.pool.connection() as connection, connection.transaction():
            name = (question.key.id, question.idempotency_key)
            if (await parents.earlier(connection, [name]))[0]:
                return None
    return denials.surface_unavailable(dead)


async def _admit(here: Services, question: Question) -> _Admitted | Problem:
    asked = submission.new(question.plan, idempotency_key=question.idempotency_key)
    node = here.presence.node_id
    wait = here.waits.expect(asked.parent)
    asked = asked._replace(caller=Caller(wait.id, node))
    outcome = None
    try:
        outcome = await here.submitter.submit(question.key, asked, question.existing.surfaces)
    finally:
        if outcome is None:  # interrupted: it may have been admitted all the same
            here.waits.leave(wait)
    match outcome:
        case Accepted(job):
            wait.stored = True
            return _Admitted(job, wait)
        case Replayed(job, waits=True):
            here.waits.turn(wait, job)
            return _Admitted(job, wait, (REPLAYED,))
    here.waits.drop(wait)
    match outcome:
        case Replayed(job):
            return _Admitted(job, None, (REPLAYED,))
    return denials.denied(outcome)


async def _hold(
    here: Services, question: Question, wait: Wait, receive: Receive
) -> tuple[bool, asyncio.Future[None]]:
    """Wait for the end of the job, of the wait, or of the caller's patience.

    Whether they left; awaiting the future says that their place is free.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.TaskGroup() as tasks:
        hanging_up = tasks.create_task(leaving.left(receive))
        try:
            await asyncio.wait(
                (wait.over, hanging_up),
                timeout=question.mode.wait_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            gone = hanging_up.done()
            hanging_up.cancel()
            left = here.waits.leave(wait)
    here.pace.note(question.key.id, clock() - began)
    return gone, left


async def _read(here: Services, question: Question, admitted: _Admitted) -> Reply | Problem:
    job, key = admitted.job, question.key
    async with here.reading() as connection:
        parent = await parents.read(connection, key_id=key.id, parent=job)
        if parent is None:
            return problems.job_not_found()  # erased while it was waited for
        ended = parent.state.ended
        if ended:
            rows = await children.results(connection, job, after=0, limit=parent.total)
            found: Wire = _found(question, parent, rows)
        elif admitted.wait is not None and not question.mode.preferred:
            problem = denials.timed_out(ids.text(job))
            return problem._replace(headers=(*problem.headers, *admitted.headers))
        else:
            found = await reading.of(connection, parent)
    where: Header = (b"location", f"/v1/jobs/{ids.text(job)}".encode())
    headers = (where, *admitted.headers)
    if ended:
        return document(found, headers=(*headers, *question.applied))
    again: Header = (b"retry-after", b"%d" % retry_after(here.pace.seconds(key.id)))
    return document(found, status=202, headers=(*headers, again, *question.applied))


def _found(question: Question, parent: ParentRow, rows: list[ChildRow]) -> Wire:
    """One cell: its Envelope; several: the parent and all of them."""
    surfaces = question.existing.surfaces
    envelopes = tuple(cell_views.envelopes(parent, parent.plan.cells(), rows, surfaces))
    if len(envelopes) == 1:
        return cell_views.flat(envelopes[0]) if question.flat else envelopes[0]
    if question.flat:
        return FlatResults(results=tuple(map(cell_views.flat, envelopes)), next_cursor=None)
    return SyncResult(job=views.job_read(parent, rows).job, children=envelopes)
