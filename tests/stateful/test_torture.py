"""Several processes at once, killed in the middle of things, while an auditor recounts."""

import asyncio
import logging
import os
import random
from collections import Counter
from typing import Any

import pytest
from psycopg import AsyncConnection

from admission import keys
from admission.limits import Limits
from orchestrator.fanout import fan_out
from orchestrator.store import children, counters, delays, nodes, surfaces, waits
from orchestrator.store.children import Completed, Fence
from orchestrator.store.nodes import NewNode
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful.audits import GRANTED, NOT_ADDING_UP, audit, not_conserved
from tests.stateful.callers import PRICE
from tests.stateful.nursery import Nursery, nursery

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = float(os.environ.get("PARALLAX_TEST_TORTURE_SECONDS", "25"))
CLIENTS = int(os.environ.get("PARALLAX_TEST_TORTURE_CLIENTS", "4"))
KILL_SECONDS = 0.25
STEERED = {"Cancel: Canceled", "Retry: Retried", "Erase: Erased", "Clear: int", "Prune: Pruned"}
OPERATED = {"Lane: pause", "Lane: resume", "Lane: limit", "Lane: probe"}
NAMES = tuple(f"surface{n}" for n in range(4))
_log = logging.getLogger(__name__)

# Their limits stay, and so does what their upstreams bear.
OPEN = """
UPDATE lane SET failures = 0, open_until = NULL, paused_at = NULL, not_before = NULL, rate = NULL
"""
FORGET = """
DELETE FROM node WHERE pid = %(pid)s
"""
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'parallax'
ORDER BY random() LIMIT 1
"""
RUNS = """
SELECT id::text, run FROM parent
"""
KEPT = """
SELECT parent_id::text, ordinal, (result ->> 'by')::int8 FROM child
"""


async def torment(connection: AsyncConnection, made: Nursery) -> int:
    """Kill clients and backends for SECONDS; how many clients."""
    dice, kills = random.Random(), 0
    for seed in range(CLIENTS):
        await made.start(seed)
    end = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(dice.expovariate(1 / KILL_SECONDS))
        victim = dice.choice(made.clients)
        await made.kill(victim)
        await connection.execute(FORGET, {"pid": victim})
        kills += 1
        await made.start(CLIENTS + kills)
        if dice.random() < 0.2:
            await connection.execute(TERMINATE)
    return kills


async def drain(connection: AsyncConnection) -> None:
    """One last worker ends everything."""
    node = await nodes.register(connection, NewNode("drain", 1, 200, NAMES))
    await connection.execute("DELETE FROM node WHERE id <> %s", [node])
    await connection.execute(OPEN)
    while await waits.forget_dead(connection):
        pass
    live = "SELECT FROM parent WHERE finished_at IS NULL LIMIT 1"
    for token in range(1, 10_000):
        async with connection.transaction():
            await children.rescue(connection)
        await connection.execute("UPDATE parent SET not_before = now() WHERE not_before > now()")
        await delays.release(connection)
        await fan_out(connection)
        await connection.execute("UPDATE child SET run_at = now() WHERE run_at > now()")
        await children.stage(connection)
        named = {"node": node, "token": token, "surfaces": NAMES}
        claimed = await children.claim(connection, slots=200, **named)
        fences = [Fence(child.parent_id, child.ordinal, token) for child in claimed]
        if fences:
            await children.settle(connection, [Completed(fence, "{}") for fence in fences])
        elif (await connection.execute(live)).rowcount == 0:
            return
    raise AssertionError("something never ends")


async def furnish(connection: AsyncConnection) -> None:
    for n in range(5):
        limits = Limits(
            queue_capacity=30,
            sync_limit=random.choice([3, 8]),
            concurrency=random.choice([5, 15]),
            weight=1.0 + n % 2,
        )
        issued = await keys.create(connection, f"key{n}", limits=limits)
        await keys.set_credits(connection, issued.key, GRANTED[n > 0])
    for n, name in enumerate(NAMES):
        named = {"adapter": "simulator", "method": "simulator", "options_schema": {}}
        named |= {"concurrency": 3 + n, "credits": PRICE}
        rate = "30/s" if n % 2 else None
        one = SurfaceDescriptor(name=name, rate=rate, **named)
        await surfaces.register(connection, [one])


@pytest.mark.timeout(SECONDS + 180)
async def test_nothing_is_lost_doubled_or_stuck_whoever_dies(database):
    """No deadlock, wrong counter, passed limit, lost credit or acknowledged word; all ends."""
    faults: list[Any] = []
    done = asyncio.Event()
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        await furnish(connection)
        auditing = asyncio.create_task(audit(database, faults, done))
        async with nursery(database) as made:
            kills = await torment(connection, made)
        done.set()
        audits = await auditing
        await drain(connection)
        did = Counter(made.all_told("did"))
        admitted = len(made.all_told("admitted"))
        told = Counter(made.all_told("told")) + Counter(made.all_told("refused"))
        _log.info("kills %d audits %d %s %s", kills, audits, dict(told), dict(did))
        _log.info("%s", dict(Counter(made.all_told("ordered"))))
        assert made.all_told("error") == []
        assert faults == []
        assert await counters.differences(connection) == []
        assert await (await connection.execute(NOT_ADDING_UP)).fetchall() == []
        assert await not_conserved(connection) == []
        await acknowledged(connection, made)
        assert admitted > 100
        assert told["Replayed"] > 20
        assert told["Unaffordable"] > 0
        assert set(made.all_told("ordered")) >= STEERED | OPERATED
        assert await (await connection.execute("SELECT FROM sync_wait")).fetchall() == []
        assert kills > SECONDS


async def acknowledged(connection: AsyncConnection, made: Nursery) -> None:
    """Whatever was answered is there, unless it was erased; nobody heard twice of one end.

    A name was always answered with the same parent.
    """
    runs = dict(await (await connection.execute(RUNS)).fetchall())
    erased = set(made.all_told("erased"))
    assert set(made.all_told("admitted")) <= runs.keys() | erased
    stood = [(key, name, parent) for key, name, parent in made.all_told("named")]
    names = {(key, name): parent for key, name, parent in stood if parent not in erased}
    assert all(names[one[:2]] == one[2] for one in stood if one[2] not in erased)
    kept = set(await (await connection.execute(KEPT)).fetchall())
    home = {tuple(end) for ends in made.all_told("completed") for end in ends}
    assert {end for end in home if end[0] not in erased} <= kept
    ends = Counter(parent for parents in made.all_told("ended") for parent in parents)
    assert [parent for parent, n in ends.items() if n > runs.get(parent, n)] == []
