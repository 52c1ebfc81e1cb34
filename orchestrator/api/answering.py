"""The answer of a sync call: it is held until its job ends, its wait is over or its caller leaves.

Whatever comes first, the job goes on and nothing is lost; the place in the sync budget is given
back before the reply, so that a caller who reads it may call again at once. A database that is away
meanwhile ends no wait.
"""

import asyncio
from http import HTTPStatus
from typing import NamedTuple

from litestar.types import Receive

from orchestrator import submission
from orchestrator.api import catalogue, denials, leaving, telling
from orchestrator.api.asking import REPLAYED, Question
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Reply
from orchestrator.api.services import Services
from orchestrator.api.telling import Subject
from orchestrator.store import parents
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Replayed
from orchestrator.waits import Wait

NOBODY = Reply(HTTPStatus.NO_CONTENT, b"")
"""The reply to a caller who hung up; it reaches nobody."""


class _Admitted(NamedTuple):
    """The job to answer for; `wait` is None when there is nothing to wait for, or no place."""

    subject: Subject
    wait: Wait | None


async def answer(here: Services, question: Question, receive: Receive) -> Reply | Problem:
    """Take it in, wait, and say what became of it."""
    if problem := await _in_vain(here, question):
        return problem
    admitted = await _admit(here, question)
    if isinstance(admitted, Problem):
        return admitted
    clock = asyncio.get_running_loop().time
    if admitted.wait is None:
        return await telling.tell(here, question, admitted.subject, until=clock())
    until = clock() + (question.mode.wait_seconds or 0)
    gone, left = await _hold(here, question, admitted.wait, receive)
    reply = NOBODY if gone else await telling.tell(here, question, admitted.subject, until=until)
    await asyncio.wait([left])  # whose place could not be given back now is swept
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
            return _Admitted(Subject(job, waited=True), wait)
        case Replayed(job, waits=True):
            here.waits.turn(wait, job)
            return _Admitted(Subject(job, waited=True, headers=(REPLAYED,)), wait)
    here.waits.drop(wait)
    match outcome:
        case Replayed(job):
            return _Admitted(Subject(job, waited=False, headers=(REPLAYED,)), None)
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
