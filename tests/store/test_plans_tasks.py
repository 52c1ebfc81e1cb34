"""Plan guards of the lists of tasks: 40,000 of them among other parents, one key with half."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
import pytest

from orchestrator.store import plans, webhook_secrets
from orchestrator.store.children.read import FIRSTS
from orchestrator.store.tasks import COUNTED_OF_ALL, COUNTED_OF_QUEUE, LAST, OF_ALL, OF_QUEUE
from tests.store import planners
from tests.store.explained import Explained, Statement
from tests.store.planners import Plans

PAGE, COUNTED = 21, 1_000
STATES = ["delayed", "queued", "processing", "completed", "failed", "canceled", "expired"]
STATEMENTS = {
    statement.name: statement
    for statement in (
        Statement("of_all", OF_ALL, plans.PROBE_FIRST),
        Statement("of_queue", OF_QUEUE, plans.PROBE_FIRST),
        Statement("pending", OF_ALL, plans.PROBE_FIRST),
        Statement("counted_of_all", COUNTED_OF_ALL, plans.PROBE_FIRST),
        Statement("counted_of_queue", COUNTED_OF_QUEUE, plans.PROBE_FIRST),
        Statement("firsts", FIRSTS, None),
        Statement("newest_of", webhook_secrets.NEWEST_OF, None),
    )
}
SEED = (
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, payload, queue)
       SELECT lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n % 2 = 0 THEN 9 ELSE n % 300 END,
              CASE n % 8 WHEN 0 THEN 'processing' WHEN 1 THEN 'failed' WHEN 2 THEN 'queued'
                         ELSE 'completed' END,
              5, '{1}', 1, '{}', CASE WHEN n % 5 > 0 THEN 'queue ' || n % 7 END
       FROM generate_series(1, 50000) n""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, claim)
       SELECT id, 1, key_id, 1, 5, 'processing', 1 FROM parent WHERE state = 'processing'""",
    """INSERT INTO webhook_secret (id, key_id, sealed)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 1000, 'x' FROM generate_series(1, 5000) n""",
)
QUIET = ("parent", "child", "webhook_secret")


def arguments(_: psycopg.Connection) -> Mapping[str, Mapping[str, Any]]:
    page = {"key": 9, "states": STATES, "called": None, "queue": None, "last": LAST}
    page |= {"most": PAGE, "limit": PAGE, "offset": 0}
    counted = page | {"most": COUNTED, "limit": COUNTED}
    some = [UUID(int=8 * n) for n in range(1, 51)]
    pending = {"states": ["delayed", "queued", "processing"], "called": False}
    return {
        "of_all": page,
        "of_queue": page | {"queue": "queue 3"},
        "pending": page | pending,
        "counted_of_all": counted,
        "counted_of_queue": counted | {"queue": "queue 3"},
        "firsts": {"parents": some, "whole": False},
        "newest_of": {"parents": some},
    }


@pytest.fixture(scope="module")
def plans_of(server, maintenance, template) -> Iterator[Plans]:
    """The scans of every statement by what its planner knew; made once."""
    with planners.database(server, maintenance, template) as url:
        yield planners.planned(url, STATEMENTS, SEED, QUIET, arguments)


@pytest.fixture(params=planners.KNOWING)
def scans(plans_of, request) -> dict[str, list[Explained]]:
    return plans_of[request.param]


INDEXES = {
    "of_all": {"parent_tasks", "child_pkey"},
    "of_queue": {"parent_queue_tasks", "child_pkey"},
    "pending": {"parent_tasks", "child_pkey"},
    "counted_of_all": {"parent_tasks", "child_pkey"},
    "counted_of_queue": {"parent_queue_tasks", "child_pkey"},
    "firsts": {"child_pkey"},
    "newest_of": {"parent_pkey", "webhook_secret_key"},
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_uses_the_indexes_made_for_it(scans, name):
    """Tasks are found by exactly those, state by state."""
    used = {scan.index for scan in scans[name] if scan.table in QUIET}
    optional = {"child_pkey"} if name != "pending" else set()  # planned away where nobody asks
    assert used | optional == INDEXES[name] | optional


BOUNDS = {
    ("of_all", "parent"): len(STATES) * PAGE,
    ("of_queue", "parent"): len(STATES) * PAGE,
    ("counted_of_all", "parent"): len(STATES) * COUNTED,
    ("firsts", "child"): 50,
}


@pytest.mark.parametrize(("name", "table"), BOUNDS)
def test_each_statement_meets_few_rows(scans, name, table):
    """As many as it shows of each state, whatever there is."""
    read = [scan for scan in scans[name] if scan.table == table]
    assert any(scan.loops for scan in read)
    assert sum(scan.rows for scan in read) <= BOUNDS[name, table]
