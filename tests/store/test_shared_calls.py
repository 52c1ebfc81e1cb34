"""Calls that identical cells share, in the database: plans, pruning, and two who ask at once."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from orchestrator.store import plans, shared_calls
from orchestrator.store.shared_calls import Asked, Told
from tests import factories
from tests.store import planners
from tests.store.explained import Explained, Statement
from tests.store.planners import Plans

CALLS, SOME = 20_000, 50
STATEMENTS = {
    statement.name: statement
    for statement in (
        Statement("ask", shared_calls.ASK, plans.PROBE),
        Statement("tell", shared_calls.TELL, plans.PROBE),
        Statement("forget", shared_calls.FORGET, plans.IN_ORDER),
    )
}
SEED = (
    f"""INSERT INTO shared_call (digest, token, node, until, capture)
        SELECT sha256(n::text::bytea), lpad(to_hex(n), 32, '0')::uuid, n % 5,
               now() + (n - 1000) * interval '1 minute', CASE WHEN n % 3 > 0 THEN '{{}}' END
        FROM generate_series(1, {CALLS}) n""",
    """INSERT INTO node (id, host, pid, slots, surfaces)
       SELECT n, 'h', 1, 1, '{}' FROM generate_series(1, 200) n""",
)
QUIET = ("shared_call", "node")
INDEXES = {
    "ask": {"shared_call_pkey"},
    "tell": {"shared_call_pkey"},
    "forget": {"shared_call_pkey", "shared_call_until"},
}


def arguments(session: psycopg.Connection) -> Mapping[str, Mapping[str, Any]]:
    found = session.execute(
        "SELECT array_agg(digest ORDER BY until), array_agg(token ORDER BY until)"
        " FROM (SELECT * FROM shared_call ORDER BY until DESC LIMIT %s) c",
        [SOME],
    ).fetchone()
    digests, tokens = found or (None, None)
    digests, tokens = digests or [b""], tokens or [UUID(int=0)]
    columns = {"digests": digests, "tokens": tokens, "seconds": [40.0] * len(digests)}
    return {
        "ask": {**columns, "followed": tokens, "node": 1, "dead": 10.0},
        "tell": {**columns, "captures": ["{}"] * len(digests), "failures": [None] * len(digests)},
        "forget": {"grace": 60.0, "most": SOME},
    }


@pytest.fixture(scope="module")
def plans_of(server, maintenance, template) -> Iterator[Plans]:
    """The scans of every statement by what its planner knew; made once."""
    with planners.database(server, maintenance, template) as url:
        yield planners.planned(url, STATEMENTS, SEED, QUIET, arguments)


@pytest.mark.parametrize("knowing", planners.KNOWING)
@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_meets_few_calls(plans_of, knowing, name):
    """They are found by their digests, and those to forget by their age, whatever there is."""
    scans: list[Explained] = [
        scan for scan in plans_of[knowing][name] if scan.table == "shared_call"
    ]
    assert {scan.index for scan in scans if scan.index} == INDEXES[name]
    assert all(scan.index for scan in scans if scan.loops)
    assert sum(scan.rows for scan in scans) <= 3 * SOME


@pytest.mark.anyio
async def test_of_two_who_ask_at_once_one_leads(connection, database):
    """In whatever order they ask for several calls, each call is led once, and nobody waits."""
    node = await factories.node(connection)
    digests = [bytes([n]) * 32 for n in range(40)]

    async def asking(order) -> set[bytes]:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
            asked = [Asked(digest, uuid4(), 40) for digest in order]
            heard = await shared_calls.ask(session, node, asked)
            told = [Told(one.digest, one.token, 40, capture="{}") for one in asked]
            await shared_calls.tell(session, told[::-1])
            return {digest for digest, one in heard.items() if one.leads}

    led = await asyncio.gather(*(asking(digests[::step]) for step in (1, -1, 1, -1)))
    assert sorted(digest for one in led for digest in one) == digests
    everything = "SELECT count(*) FROM shared_call WHERE capture IS NOT NULL"
    assert await factories.scalar(connection, everything) == len(digests)


@pytest.mark.anyio
async def test_what_is_of_no_more_use_is_forgotten(connection):
    """Not before whoever followed a call can have heard of it, and so many at a time."""
    node = await factories.node(connection)
    asked = [Asked(bytes([n]) * 32, uuid4(), 40) for n in range(5)]
    await shared_calls.ask(connection, node, asked)
    assert await shared_calls.forget(connection) == 0
    await connection.execute(
        "UPDATE shared_call SET until = now() - %s * interval '1 second' WHERE digest <> %s",
        [shared_calls.GRACE_SECONDS + 1, asked[0].digest],
    )
    assert await shared_calls.forget(connection, most=3) == 3
    assert await shared_calls.forget(connection) == 1
    assert await shared_calls.forget(connection) == 0
