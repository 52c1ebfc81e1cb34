"""Plan guards of the outbox: 60,000 deliveries of 300 endpoints, one of which has half of them."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
import pytest

from orchestrator.notify import TOLD
from orchestrator.store import parents, plans, webhook_secrets
from orchestrator.store.deliveries.claim import BEFORE_ALL, CLAIM, DUE
from orchestrator.store.deliveries.counting import COUNT
from orchestrator.store.deliveries.keeping import FORGET, KEEP
from orchestrator.store.deliveries.listing import ENDED, ONE, PENDING
from orchestrator.store.deliveries.ranges import ENDED as ENDED_OF
from orchestrator.store.deliveries.ranges import GO_ON, MATCHED, TAKE
from orchestrator.store.deliveries.ranges import PENDING as PENDING_OF
from orchestrator.store.deliveries.record import RECORD
from orchestrator.store.deliveries.replay import REPLAY
from orchestrator.store.deliveries.tell import TELL
from tests.store import planners
from tests.store.explained import Explained, Statement
from tests.store.planners import Plans

LOOKED, CLAIMED, PAGE, BATCH = 100, 20, 50, 200
STATEMENTS = {
    statement.name: statement
    for statement in (
        Statement("due", DUE, plans.IN_ORDER),
        Statement("claim", CLAIM, plans.IN_ORDER),
        Statement("record", RECORD, plans.PROBE),
        Statement("keep", KEEP, None),
        Statement("forget", FORGET, plans.IN_ORDER),
        Statement("forget_one", FORGET, plans.PROBE),
        Statement("list_pending", PENDING, plans.PROBE_FIRST),
        Statement("list_ended", ENDED, plans.PROBE_FIRST),
        Statement("one", ONE, None),
        Statement("replay", REPLAY, plans.PROBE_FIRST),
        Statement("range_pending", PENDING_OF, plans.PROBE_FIRST),
        Statement("range_ended", ENDED_OF, plans.PROBE_FIRST),
        Statement("range_matched", MATCHED, plans.PROBE_FIRST),
        Statement("range_take", TAKE, plans.IN_ORDER),
        Statement("range_go_on", GO_ON, plans.PROBE_FIRST),
        Statement("tell", TELL, plans.PROBE),
        Statement("tell_cell", TELL, plans.PROBE),
        Statement("many", parents.MANY, None),
        Statement("count", COUNT, plans.IN_ORDER),
        Statement("secrets", webhook_secrets.SEALED, None),
    )
}
SEED = (
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, finished_at,
                           endpoint, tells)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 30 + 1, 'completed', 5, '{1}', 5, 5,
              '{"query": "tea"}', now(), CASE WHEN n % 2 = 0 THEN 0 ELSE n % 299 + 1 END, 3
       FROM generate_series(1, 10000) n""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, result, finished_at)
       SELECT id, o, key_id, o, 5, 'completed', '{}', now() - interval '1 hour'
       FROM parent, generate_series(1, 5) o""",
    """INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state, status, again,
                             attempts, due_at, created_at, delivered_at)
       SELECT id, 1, o, key_id, endpoint, 'completed',
              CASE WHEN o <= 2 THEN 'pending' WHEN o <= 4 THEN 'delivered' ELSE 'dead' END,
              o = 2, o - 1,
              now() + CASE WHEN o = 2 AND endpoint % 3 > 0 THEN 1 ELSE -1 END * interval '1 hour',
              now() - (endpoint * 5 + o) * interval '1 second',
              CASE WHEN o IN (3, 4) THEN now() END
       FROM parent, generate_series(0, 5) o""",
    "UPDATE delivery SET claim = 7 WHERE ordinal = 2 AND parent_id < lpad('100', 32, '0')::uuid",
    """INSERT INTO webhook_secret (id, key_id, sealed)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 1000, 'x' FROM generate_series(1, 5000) n""",
    """INSERT INTO delivery_replay (key_id, statuses, since, until)
       SELECT n % 30, '{pending}', 'yesterday', 'now' FROM generate_series(1, 2000) n""",
)
QUIET = ("parent", "child", "delivery", "webhook_secret", "delivery_replay")
TABLES = set(QUIET)


def arguments(session: psycopg.Connection) -> Mapping[str, Mapping[str, Any]]:
    held = session.execute(
        "SELECT parent_id, run, ordinal FROM delivery WHERE claim = 7 ORDER BY 1 LIMIT %s", [BATCH]
    ).fetchall()
    columns = [[row[n] for row in held] for n in range(3)]
    some = [UUID(int=n) for n in range(1, 51)]
    event = {"parent": UUID(int=8), "run": 1, "ordinal": 3, "key": 9}
    place = {"created_at": "now", "parent_id": UUID(int=0), "ordinal": 0, "run": 0}
    listed = {**place, "key": 9, "since": "1970-01-01T00:00:00Z", "most": PAGE}
    ranged = {**place, "created_at": "yesterday", "key": 9, "until": "now", "most": PAGE}
    tell = {"cells": True, "told": TOLD}
    return {
        "due": {"again": True, "after": BEFORE_ALL, "most": LOOKED, "most_due": LOOKED},
        "claim": {
            "endpoints": [0, 3, 6, 9],
            "agains": [False, True, False, True],
            "counts": [CLAIMED] * 4,
            "token": 1,
            "lease": 30.0,
            "bytes": 1_000_000,
        },
        "record": {
            **dict(zip(("parents", "runs", "ordinals"), columns, strict=True)),
            "claims": [7] * len(held),
            "statuses": ["delivered"] * len(held),
            "codes": [200] * len(held),
            "delays": [0.0] * len(held),
        },
        "keep": {"parent": UUID(int=8), "ordinals": [1, 2, 3]},
        "forget": {"parents": some},
        "forget_one": {"parents": some[:1]},
        "list_pending": listed,
        "list_ended": {**listed, "statuses": ["delivered", "dead"]},
        "one": event,
        "replay": {
            **dict(zip(("parents", "runs", "ordinals"), columns, strict=True)),
            "key": 9,
            "status": None,
        },
        "range_pending": {**ranged, "status": "pending"},
        "range_ended": {**ranged, "status": "delivered", "began": "now"},
        "range_matched": {
            "key": 9,
            "statuses": ["pending", "dead"],
            "since": "yesterday",
            "until": "now",
        },
        "range_take": {},
        "range_go_on": {**place, "id": 7, "statuses": ["dead"]},
        "tell": {"parents": some, **tell},
        "tell_cell": {"parents": some[:1], **tell},
        "many": {"parents": some},
        "count": {"most": PAGE},
        "secrets": {"keys": [7, 8]},
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
    "due": {"delivery_pending"},
    "claim": {"delivery_pending", "delivery_pkey", "child_pkey"},
    "record": {"delivery_pkey"},
    "keep": {"delivery_pkey", "child_pkey"},
    "forget": {"delivery_pkey"},
    "forget_one": {"delivery_pkey"},
    "list_pending": {"delivery_waiting", "parent_pkey"},
    "list_ended": {"delivery_listed", "parent_pkey"},
    "one": {"delivery_pkey", "parent_pkey"},
    "replay": {"delivery_pkey"},
    "range_pending": {"delivery_waiting"},
    "range_ended": {"delivery_listed"},
    "range_matched": {"delivery_waiting", "delivery_listed"},
    "range_take": {"delivery_replay_turn"},
    "range_go_on": {"delivery_replay_pkey"},
    "tell": {"parent_pkey", "child_pkey"},
    "tell_cell": {"parent_pkey", "child_pkey"},
    "many": {"parent_pkey"},
    "count": {"delivery_pending", "delivery_listed"},
    "secrets": {"webhook_secret_key"},
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_uses_the_indexes_made_for_it(scans, name):
    """Deliveries, and what they are about, are found by exactly those."""
    assert {scan.index for scan in scans[name] if scan.table in TABLES} == INDEXES[name]


# The most rows of a table each statement may meet: a small multiple of what it returns.
BOUNDS = {
    ("due", "delivery"): LOOKED + 1,
    ("claim", "delivery"): 4 * 2 * CLAIMED,
    ("claim", "child"): 4 * CLAIMED,
    ("record", "delivery"): 2 * BATCH,
    ("keep", "delivery"): 20,
    ("forget", "delivery"): 2 * 50 * 6,
    ("forget_one", "delivery"): 2 * 6,
    ("list_pending", "delivery"): PAGE,
    ("list_ended", "delivery"): 2 * PAGE,
    ("list_ended", "parent"): 2 * PAGE,
    ("range_pending", "delivery"): PAGE,
    ("range_ended", "delivery"): PAGE,
    ("range_matched", "delivery"): 1_500,
    ("range_take", "delivery_replay"): 1,
    ("range_go_on", "delivery_replay"): 1,
    ("replay", "delivery"): 3 * BATCH,
    ("tell", "child"): 50 * 5,
    ("tell_cell", "child"): 5,
    ("many", "parent"): 50,
    ("count", "delivery"): 2 * PAGE,
    ("secrets", "webhook_secret"): 2 * 5,
}


@pytest.mark.parametrize(("name", "table"), BOUNDS)
def test_each_statement_meets_few_rows(scans, name, table):
    """However much an endpoint has piled up, and whatever else there is."""
    read = [scan for scan in scans[name] if scan.table == table]
    assert any(scan.loops for scan in read)
    assert sum(scan.rows for scan in read) <= BOUNDS[name, table]
