"""Plan guards: whatever the planner knows, the hot statements touch few rows, by an index.

50,000 children and 13,000 parents of 300 keys over 20 lanes, and 3,000 callers who wait. Three
planners meet them: one with statistics, one that never saw any, and one that made its plans while
every table was empty and keeps them.
"""

from collections.abc import Iterator
from typing import LiteralString

import pytest

from orchestrator.domain import ids
from orchestrator.fanout import fan_out
from orchestrator.store import children, pruning, waits
from orchestrator.store.children import Fence, GivenBack
from orchestrator.store.plans import IN_ORDER, NO_SCAN, PROBE, PROBE_FIRST
from tests import factories
from tests.store import explained, planners
from tests.store.explained import MOST, PARENTS, SLOTS, STATEMENTS, WAITS, Explained
from tests.store.planners import Plans

KEYS, LANES = 300, 20
PROCESSING = 2_100
OUTCOME = GivenBack(Fence(ids.new(), 1, 1))
SEED = (
    """INSERT INTO api_key (name, requests_per_minute, sync_limit, queue_capacity, concurrency,
                            weight)
       SELECT 'key ' || n, 60, 8, 1000, 50, 1 FROM generate_series(1, 300) n""",
    """INSERT INTO lane (surface, country, concurrency)
       SELECT 's' || (n + 1) / 2, CASE n % 2 WHEN 0 THEN 'US' ELSE 'GB' END, 2000
       FROM generate_series(1, 20) n""",
    """INSERT INTO lane (surface, country, concurrency, paused_at)
       VALUES ('s1', 'DE', 2000, now())""",
    """INSERT INTO node (host, pid, slots, surfaces)
       SELECT 'h', 1, 9, '{}' FROM generate_series(1, 5)""",
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, finished_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 300 + 1,
              CASE WHEN n <= 5000 THEN 'completed' WHEN n <= 5300 THEN 'processing'
                   ELSE 'queued' END,
              n % 10 + 1, (SELECT array_agg(l) FROM generate_series(1, 20) l), 20,
              CASE WHEN n <= 5000 THEN 20 ELSE 0 END, '{"query": "tea"}',
              CASE WHEN n <= 5000 THEN now() - n * interval '1 minute' END
       FROM generate_series(1, 11000) n""",
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, payload, group_id, not_before,
                           deadline_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 300 + 1, 'delayed', 5, '{1}', 1,
              '{"query": "tea"}', n % 5,
              now() + (n - 12000) * interval '1 minute', now() + (n - 12000) * interval '1 minute'
       FROM generate_series(11001, 13000) n""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, result)
       SELECT lpad(to_hex(n), 32, '0')::uuid, o, n % 300 + 1, o, n % 10 + 1, 'completed', '{}'
       FROM generate_series(1, 5000) n, generate_series(1, 9) o""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, claim, node, run_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, o, n % 300 + 1, o, n % 10 + 1,
              CASE WHEN o <= 7 THEN 'processing' WHEN o <= 17 THEN 'queued' ELSE 'retrying' END,
              CASE WHEN o <= 7 THEN n * 100 + o END, CASE WHEN o <= 7 THEN n % 10 + 1 END,
              CASE WHEN o > 17 THEN now() + (n - 5200) * interval '1 minute' END
       FROM generate_series(5001, 5300) n, generate_series(1, 20) o""",
    """INSERT INTO group_action (key_id, group_id, kind, statuses, finished_at)
       SELECT 7, n % 5, 'retry', '{}',
              CASE WHEN n <= 2970 THEN now() - n * interval '1 minute' END
       FROM generate_series(1, 3000) n""",
    """INSERT INTO group_action (key_id, group_id, kind, statuses) VALUES (7, 3, 'cancel', '{}')""",
    """INSERT INTO sync_wait (id, key_id, parent_id, node)
       SELECT n, n % 300 + 1, lpad(to_hex(5000 + (n - 1) / 10), 32, '0')::uuid, n % 10 + 1
       FROM generate_series(1, 3000) n""",
    """INSERT INTO reservation (id, key_id, places, expires_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, n % 300 + 1, 5,
              now() + CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END * interval '1 hour'
       FROM generate_series(1, 6000) n""",
)
QUIET = (
    *("parent", "child", "usage", "inflight", "backlog", "lane", "lane_load", "node"),
    *("sync_wait", "reservation", "strand"),
)


@pytest.fixture(scope="module")
def plans(server, maintenance, template) -> Iterator[Plans]:
    """The scans of every statement by what its planner knew; made once."""
    with planners.database(server, maintenance, template) as url:
        yield planners.planned(url, STATEMENTS, SEED, QUIET, explained.arguments)


@pytest.fixture(params=planners.KNOWING)
def scans(plans, request) -> dict[str, list[Explained]]:
    return plans[request.param]


def of(scans: list[Explained], table: str) -> list[Explained]:
    return [scan for scan in scans if scan.table == table]


def met(scans: list[Explained], table: str) -> float:
    """The rows of the table a statement met, over all its scans."""
    return sum(scan.rows for scan in of(scans, table))


@pytest.mark.parametrize("name", STATEMENTS)
def test_nothing_reads_all_parents_or_all_children(scans, name):
    """No statement walks one of the large tables from end to end."""
    assert scans[name]
    walked = [
        scan
        for scan in scans[name]
        if scan.table in {"parent", "child"} and scan.node == "Seq Scan"
    ]
    assert walked == []


INDEXES = {
    "claim": {"child_ready", "child_pkey"},
    "fan_out": {"parent_queue", "parent_listed", "parent_pkey"},
    "settle": {"child_pkey", "parent_pkey"},
    "tell": {"parent_pkey"},
    "stage": {"child_due", "child_pkey"},
    "stage_next": {"child_due"},
    "rescue": {"child_node", "child_pkey", "parent_pkey"},
    "snapshot": {"parent_listed"},
    "usage_besides": set(),
    "usage_read": set(),
    "going": set(),
    "reservation_draw": set(),
    "reservation_forget": set(),
    "parent_read": {"parent_pkey"},
    "parent_plans": {"parent_pkey"},
    "wait_hold": {"parent_pkey"},
    "wait_leave": {"parent_pkey"},
    "wait_ended": {"parent_pkey"},
    "wait_unknown": set(),
    "wait_orphaned": set(),
    "stop_working": {"child_pkey", "parent_pkey"},
    "stop_waiting": {"child_pkey", "parent_pkey"},
    "clear_waiting": {"parent_listed"},
    "clear_unstarted": {"parent_listed", "child_pkey"},
    "expire": {"parent_overdue", "parent_pkey"},
    "expire_next": {"parent_overdue"},
    "release": {"parent_delayed", "parent_pkey"},
    "release_next": {"parent_delayed"},
    "retry_cells": {"parent_pkey", "child_pkey"},
    "erase": {"parent_pkey", "child_pkey"},
    "prune_pick": {"parent_ended"},
    "prune_children": {"child_pkey"},
    "prune_parents": {"parent_pkey"},
    "prune_actions": set(),
    "group_take": set(),
    "group_call_off": set(),
    "group_live": {"parent_grouped"},
    "group_ended": {"parent_grouped"},
    "next_start": set(),
    "forget_turns": set(),
    "resumes": set(),
    "sweep": set(),
    "ahead": {"parent_queue"},
    "obstacles": set(),
    "stopped": {"child_stopped"},
    "all_nodes": {"child_node"},
    "gauges": set(),
    "accounts": set(),
    "children_of": {"child_pkey"},
    "children_one": {"child_pkey"},
    "children_results": {"child_pkey"},
    "versions": {"parent_pkey", "child_pkey"},
    "running": {"child_pkey"},
    "group_parents": {"parent_grouped"},
    "group_children": {"child_pkey"},
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_uses_the_indexes_made_for_it(scans, name):
    """Parents and children are found by exactly the indexes the statement was written for."""
    used = {scan.index for scan in scans[name] if scan.table in {"parent", "child"}}
    assert used == INDEXES[name]


# The most rows of a table each statement may meet: a small multiple of what it returns.
BOUNDS = {
    ("claim", "child"): 4 * SLOTS,
    ("settle", "child"): 3 * explained.BATCH,
    ("settle", "parent"): 3 * explained.BATCH,
    ("settle", "lane"): LANES,
    ("tell", "sync_wait"): 10 * explained.BATCH,
    ("tell", "parent"): explained.BATCH,
    ("wait_hold", "parent"): WAITS,
    ("wait_hold", "sync_wait"): WAITS,
    ("wait_leave", "parent"): WAITS,
    ("wait_leave", "sync_wait"): 3 * WAITS,
    ("wait_ended", "parent"): 50,
    ("fan_out", "parent"): 300,
    ("fan_out", "strand"): 400,
    ("stage", "child"): 4 * MOST,
    ("stage_next", "child"): 1,
    ("rescue", "child"): PROCESSING * 2 + 2 * MOST,
    ("rescue", "parent"): 2 * MOST,
    ("snapshot", "parent"): 1,
    ("snapshot", "inflight"): LANES,
    ("snapshot", "reservation"): 20,
    ("usage_besides", "reservation"): 2 * 20,
    ("usage_read", "reservation"): 20,
    ("going", "inflight"): LANES,
    ("reservation_draw", "reservation"): 5,
    ("reservation_forget", "reservation"): 2 * 100,
    ("parent_read", "parent"): 1,
    ("parent_plans", "parent"): 50,
    ("stop_working", "child"): 20,
    ("stop_waiting", "parent"): 60,
    ("clear_waiting", "parent"): MOST,
    ("clear_unstarted", "child"): 20,
    ("expire", "parent"): 1000 + MOST,
    ("expire_next", "parent"): 1,
    ("release", "parent"): 3 * MOST,
    ("release_next", "parent"): 1,
    ("retry_cells", "child"): 20,
    ("erase", "child"): 20,
    ("prune_pick", "parent"): explained.PRUNED,
    ("prune_children", "child"): 50 * 20,
    ("prune_parents", "parent"): 50,
    ("prune_actions", "group_action"): 2 * MOST,
    ("group_take", "group_action"): 1,
    ("group_call_off", "group_action"): 60,
    ("group_live", "parent"): MOST,
    ("group_ended", "parent"): 400,
    ("next_start", "lane"): 2 * LANES,
    ("resumes", "strand"): 4 * 10,
    ("snapshot", "strand"): 10,
    ("snapshot", "lane"): 3 * LANES,
    ("obstacles", "lane"): 2 * LANES,
    ("ahead", "parent"): 60,
    ("ahead", "strand"): 10,
    ("stopped", "child"): 10,
    ("all_nodes", "child"): PROCESSING,
    ("gauges", "inflight"): KEYS * LANES,
    ("gauges", "lane_load"): LANES,
    ("gauges", "node"): 5,
    ("accounts", "reservation"): 6_000,
    ("accounts", "sync_wait"): 3_000,
    ("children_of", "child"): 20,
    ("children_one", "child"): 1,
    ("children_results", "child"): 20,
    ("versions", "child"): 40,
    ("versions", "parent"): 2,
    ("running", "child"): 40,
    ("group_parents", "parent"): 102,
    ("group_children", "child"): 10,
}


@pytest.mark.parametrize(("name", "table"), BOUNDS)
def test_each_statement_meets_few_rows(scans, name, table):
    """What it reads is bounded by what it is asked for, not by what there is."""
    assert met(scans[name], table) <= BOUNDS[name, table]


SETTINGS = "SELECT current_setting('enable_seqscan'), current_setting('enable_mergejoin')"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "work",
    [
        fan_out,
        factories.claim,
        children.stage,
        children.rescue,
        lambda session: children.settle(session, [OUTCOME]),
        lambda session: waits.leave(session, [1]),
        lambda session: pruning.prune(session, retention_seconds=0),
    ],
    ids=["fan_out", "claim", "stage", "rescue", "settle", "leave", "prune"],
)
async def test_the_functions_run_under_the_settings_explained_here(connection, work):
    """The settings hold where the statement runs, and no longer than its transaction."""
    async with connection.transaction():
        await work(connection)
        assert await (await connection.execute(SETTINGS)).fetchone() == ("off", "off")
    assert await (await connection.execute(SETTINGS)).fetchone() == ("on", "on")


SET = """
SELECT name, setting FROM pg_settings WHERE name = 'jit' OR starts_with(name, 'enable_')
"""


@pytest.mark.anyio
async def test_no_setting_depends_on_the_one_before_it(connection):
    """A transaction of several statements has for each what its plan is guarded with."""
    kinds = (PROBE, PROBE_FIRST, IN_ORDER, NO_SCAN)

    async def known(*settings: LiteralString) -> dict[str, str]:
        async with connection.transaction():
            for setting in settings:
                await connection.execute(setting)
            return dict(await (await connection.execute(SET)).fetchall())

    alone = [await known(kind) for kind in kinds]
    assert len({tuple(each.items()) for each in alone}) == len(kinds)
    for before in kinds:
        assert [await known(before, kind) for kind in kinds] == alone


def test_the_claim_reads_children_once_for_each_key_it_serves(scans):
    """The index of ready children is probed once a key, never more than there are slots."""
    best, oldest = [scan for scan in scans["claim"] if scan.index == "child_ready"]
    assert best.loops == SLOTS
    assert best.rows <= 2 * SLOTS
    assert oldest.loops == 0  # no tenth pick is due


def test_the_fan_out_reads_queues_once_for_each_key_it_looks_at(scans):
    """The queue is probed once a strand of the keys looked at, and for few parents each."""
    (queue,) = [scan for scan in scans["fan_out"] if scan.index == "parent_queue"]
    assert queue.loops == 200
    assert queue.rows <= queue.loops * (1 + PARENTS / queue.loops)
