"""Sync callers and idempotency keys at the gate."""

import asyncio
import secrets
from contextlib import asynccontextmanager

import pytest

from admission.pace import Pace
from admission.refusals import Refusal, RefusalCode
from orchestrator import submission
from orchestrator.domain.states import ParentState
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Conflict, Replayed, Submitter
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio

HERE = {
    "chatgpt": SurfaceDescriptor(
        name="chatgpt", adapter="simulator", method="simulator", options_schema={}, concurrency=7
    )
}


@asynccontextmanager
async def served(*pools):
    """Submitters, one a pool, as in as many API processes."""
    submitters = [Submitter(pool) for pool in pools]
    async with asyncio.TaskGroup() as tasks:
        for submitter in submitters:
            tasks.create_task(submitter.run())
        yield submitters
        for submitter in submitters:
            submitter.close()


def asked(cells=1, *, sync=False, name=None, **fields):
    caller = Caller(secrets.randbits(62), 1) if sync else None
    return submission.new(factories.plan(cells, **fields), idempotency_key=name, caller=caller)


async def counted(connection, owner):
    statement = "SELECT count(*) FROM parent WHERE key_id = %s"
    return await factories.scalar(connection, statement, owner.id)


async def waiting(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM sync_wait")


async def test_a_sync_parent_goes_straight_to_work(connection, new_pool, recounted):
    """It takes no place of the queue; its children are ready, ahead of the key's others."""
    owner = await factories.key(connection, queue_capacity=0)
    async with served(await new_pool()) as (door,):
        outcome = await door.submit(owner, asked(3, sync=True, priority=4), HERE)
    assert isinstance(outcome, Accepted)
    statement = "SELECT array_agg(state || ' ' || priority) FROM child WHERE parent_id = %s"
    made = await factories.scalar(connection, statement, outcome.parent)
    assert made == ["queued 104"] * 3
    statement = "SELECT state || ' ' || mode FROM parent WHERE id = %s"
    assert await factories.scalar(connection, statement, outcome.parent) == "processing sync"
    assert await waiting(connection) == 1
    await recounted()


async def test_callers_never_pass_the_limit_over_two_doors(connection, new_pool, recounted):
    """Of many callers at once over two processes as many are admitted as there are places."""
    owner = await factories.key(connection, sync_limit=5, queue_capacity=3)
    async with served(await new_pool(), await new_pool()) as doors:
        outcomes = await asyncio.gather(
            *(doors[n % 2].submit(owner, asked(sync=True), HERE) for n in range(24)),
            *(doors[n % 2].submit(owner, asked(), HERE) for n in range(9)),
        )
    callers, queue = outcomes[:24], outcomes[24:]
    assert [type(one) for one in callers].count(Accepted) == 5
    refused = [one for one in callers if isinstance(one, Refusal)]
    assert {one.code for one in refused} == {RefusalCode.CONCURRENCY_LIMIT_EXCEEDED}
    assert {(one.limit, one.current, one.requested) for one in refused} == {(5, 5, 1)}
    assert len({one.retry_after_seconds for one in refused}) > 1
    assert [type(one) for one in queue].count(Accepted) == 3
    assert await waiting(connection) == 5
    await recounted()


async def test_detached_parents_leave_their_places_until_there_are_as_many_as_the_limit(
    connection, new_pool
):
    """Unfinished sync parents never pass twice the limit: then detached ones hold places."""
    owner = await factories.key(connection, sync_limit=2)
    async with served(await new_pool()) as (door,):
        for admitted in (2, 2, 0):
            outcomes = [await door.submit(owner, asked(sync=True), HERE) for _ in range(3)]
            assert [type(one) for one in outcomes].count(Accepted) == admitted
            await connection.execute("DELETE FROM sync_wait")
            await connection.execute("UPDATE parent SET mode = 'detached' WHERE mode = 'sync'")
    assert await counted(connection, owner) == 4


async def test_the_same_request_again_is_the_same_job(connection, new_pool, recounted):
    """A replay stores nothing and takes no place, also when the queue is full."""
    owner = await factories.key(connection, queue_capacity=1)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, asked(2, name="k"), HERE)
        again = await door.submit(owner, asked(2, name="k"), HERE)
        waits = await door.submit(owner, asked(2, name="k", sync=True), HERE)
        other = await door.submit(owner, asked(2, name="l"), HERE)
    assert isinstance(first, Accepted)
    assert again == Replayed(first.parent, ParentState.QUEUED, waits=False)
    assert waits == Replayed(first.parent, ParentState.QUEUED, waits=True)
    assert isinstance(other, Refusal)
    assert (await counted(connection, owner), await waiting(connection)) == (1, 1)
    await recounted()


async def test_another_request_under_the_key_is_a_conflict(connection, new_pool):
    """Whatever differs in the plan: nothing is stored."""
    owner = await factories.key(connection)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, asked(name="k"), HERE)
        for other in ({"cells": 2}, {"priority": 6}, {"query": "Tea"}, {"metadata": {"a": "b"}}):
            outcome = await door.submit(owner, asked(**other, name="k"), HERE)
            assert outcome == Conflict(first.parent)
    assert await counted(connection, owner) == 1


async def test_the_same_request_at_the_same_instant_is_one_job(connection, new_pool, recounted):
    """Over two processes and within one flush: one parent, everybody is told of it."""
    owner = await factories.key(connection, queue_capacity=3, sync_limit=2)
    async with served(await new_pool(), await new_pool()) as doors:
        outcomes = await asyncio.gather(
            *(doors[n % 2].submit(owner, asked(name="k", sync=n % 5 == 0), HERE) for n in range(20))
        )
    accepted = [one for one in outcomes if isinstance(one, Accepted)]
    assert len(accepted) == 1
    assert {one.parent for one in outcomes} == {accepted[0].parent}
    assert await counted(connection, owner) == 1
    assert await waiting(connection) == 2
    await recounted()


async def test_a_refused_submission_is_not_remembered(connection, new_pool):
    """What was not admitted may be sent again, changed even, under its key."""
    owner = await factories.key(connection, queue_capacity=1)
    async with served(await new_pool()) as (door,):
        await door.submit(owner, asked(), HERE)
        assert isinstance(await door.submit(owner, asked(name="k"), HERE), Refusal)
        await connection.execute("UPDATE api_key SET queue_capacity = 2")
        assert isinstance(await door.submit(owner, asked(2, name="k"), HERE), Accepted)


async def test_two_keys_may_use_one_name(connection, new_pool):
    """The namespace is the API key's."""
    one, other = await factories.key(connection), await factories.key(connection)
    async with served(await new_pool()) as (door,):
        outcomes = await asyncio.gather(
            *(door.submit(owner, asked(name="k"), HERE) for owner in (one, other))
        )
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]


async def test_an_ended_job_is_replayed_without_a_place(connection, new_pool):
    """Nobody waits for what has ended."""
    owner = await factories.key(connection)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, asked(name="k", sync=True), HERE)
        await connection.execute("DELETE FROM sync_wait")
        await factories.complete(connection, await factories.claim(connection))
        again = await door.submit(owner, asked(name="k", sync=True), HERE)
    assert again == Replayed(first.parent, ParentState.COMPLETED, waits=False)
    assert await waiting(connection) == 0


async def test_a_replay_without_a_free_place_does_not_wait(connection, new_pool):
    """It is told of the job and takes nothing."""
    owner = await factories.key(connection, sync_limit=1)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, asked(name="k", sync=True), HERE)
        again = await door.submit(owner, asked(name="k", sync=True), HERE)
    assert again == Replayed(first.parent, ParentState.PROCESSING, waits=False)
    assert await waiting(connection) == 1


async def test_twins_of_one_flush_are_stored_together_or_not_at_all(connection, new_pool):
    """When the second cannot be recorded the first is not stored, and both callers hear of it."""
    owner = await factories.key(connection)
    pool = await new_pool()
    async with served(pool) as (door,):
        await door.submit(owner, asked(name="lane"), HERE)  # the lane is known from here on
        await connection.execute("""
            CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'stop'; END $$;
            CREATE TRIGGER stop BEFORE INSERT ON sync_wait FOR EACH ROW EXECUTE FUNCTION stop()
        """)
        outcomes = await asyncio.gather(
            door.submit(owner, asked(name="k"), HERE),
            door.submit(owner, asked(name="k", sync=True), HERE),
            return_exceptions=True,
        )
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [True, True]
        assert await counted(connection, owner) == 1
        assert isinstance(await door.submit(owner, asked(name="k"), HERE), Accepted)


async def test_a_caller_who_did_not_have_to_wait_harms_nobody(connection, new_pool):
    """Its job had ended in the same millisecond; the next submission is taken as ever."""
    owner = await factories.key(connection)
    pace = Pace()
    pace.note(owner.id, 0.0)
    submitter = Submitter(await new_pool(), pace=pace)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(submitter.run())
        assert isinstance(await submitter.submit(owner, asked(), HERE), Accepted)
        submitter.close()


async def test_promises_are_shared_by_all_doors(connection, new_pool):
    """Those refused together by two processes are told to come back apart."""
    owner = await factories.key(connection, queue_capacity=0)
    async with served(await new_pool(), await new_pool()) as doors:
        told = [
            (await doors[n % 2].submit(owner, asked(), HERE)).retry_after_seconds for n in range(4)
        ]
    assert told == [15, 30, 45, 60]
