"""Statements as PostgreSQL plans and runs them: prepared by name, explained, and rolled back."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from admission import accounts
from admission.reservations import DRAW, FORGET
from admission.usage import BESIDES
from admission.usage import READ as USAGE_READ
from orchestrator.fanout import (
    FAN_OUT,
    LOOK_COMPARED,
    LOOK_KEYS,
    LOOK_PARENTS,
    LOOK_STRANDS,
    PASSED_OVER_SECONDS,
)
from orchestrator.preflight import GOING
from orchestrator.snapshot import TAKE
from orchestrator.store import (
    delays,
    gauges,
    group_actions,
    group_results,
    nodes,
    plans,
    pruning,
    standing,
    strands,
)
from orchestrator.store.children.claim import CLAIM
from orchestrator.store.children.pace import FORGET_TURNS, NEXT_START
from orchestrator.store.children.read import OF, ONE, RESULTS, STOPPED
from orchestrator.store.children.rescue import RESCUE
from orchestrator.store.children.settle import FIXED, SETTLE
from orchestrator.store.children.stage import NEXT, STAGE
from orchestrator.store.listing import RUNNING
from orchestrator.store.parents import PLANS, READ
from orchestrator.store.steering.cancel import UNSTARTED, WAITING
from orchestrator.store.steering.erase import ERASE
from orchestrator.store.steering.expire import NEXT as NEXT_OVERDUE
from orchestrator.store.steering.expire import PICK as OVERDUE
from orchestrator.store.steering.retry import CELLS
from orchestrator.store.steering.stop import STOP_WAITING, STOP_WORKING
from orchestrator.store.waits import ENDED, HOLD, LEAVE, ORPHANED, TELL, UNKNOWN
from orchestrator.store.watchers import VERSIONS

PARAMETER = re.compile(r"%\((\w+)\)[sb]")


class Explained(NamedTuple):
    """One node of a plan that reads a table: which, how, how often, and how many rows it met."""

    table: str
    node: str
    index: str | None
    loops: int
    rows: float


class Statement(NamedTuple):
    """A statement of ours with the planner settings its function runs it under."""

    name: str
    text: str
    settings: str | None

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, each once, in the order of the prepared statement."""
        return list(dict.fromkeys(PARAMETER.findall(self.text)))

    def prepare(self, session: psycopg.Connection) -> None:
        """PREPARE it under its name; types are those PostgreSQL infers."""
        numbers = {name: f"${n}" for n, name in enumerate(self.parameters, 1)}
        numbered = PARAMETER.sub(lambda match: numbers[match[1]], self.text)
        session.execute(f"PREPARE {self.name} AS {numbered}")

    def explain(self, session: psycopg.Connection, arguments: Mapping[str, Any]) -> list[Explained]:
        """What its scans of tables did; what it changed is rolled back."""
        with session.transaction(force_rollback=True):
            if self.settings:
                session.execute(self.settings)
            values = sql.SQL(", ").join(sql.Literal(arguments[name]) for name in self.parameters)
            call = sql.SQL("EXECUTE {}").format(sql.Identifier(self.name))
            if self.parameters:
                call += sql.SQL("({})").format(values)
            explain = sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ") + call
            row = session.execute(explain).fetchone()
        assert row
        return list(_scans(row[0][0]["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[Explained]:
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        met = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        loops = node["Actual Loops"]
        yield Explained(
            node["Relation Name"],
            node["Node Type"],
            node.get("Index Name") or _bitmap(node),
            loops,
            (met + node.get("Rows Removed by Index Recheck", 0)) * loops,
        )
    for below in node.get("Plans", ()):
        yield from _scans(below)


def _bitmap(node: dict[str, Any]) -> str | None:
    """The index behind a bitmap scan; several are never ours."""
    below = [index["Index Name"] for index in node.get("Plans", ()) if "Index Name" in index]
    return below[0] if len(below) == 1 else None


STATEMENTS = {
    statement.name: statement
    for statement in (
        Statement("claim", CLAIM, plans.PROBE),
        Statement("fan_out", FAN_OUT, plans.NO_SCAN),
        Statement("settle", SETTLE, plans.PROBE),
        Statement("tell", TELL, plans.PROBE),
        Statement("stage", STAGE, plans.PROBE),
        Statement("stage_next", NEXT, plans.IN_ORDER),
        Statement("rescue", RESCUE, plans.PROBE),
        Statement("snapshot", TAKE, None),
        Statement("usage_besides", BESIDES, None),
        Statement("usage_read", USAGE_READ, None),
        Statement("going", GOING, None),
        Statement("reservation_draw", DRAW, None),
        Statement("reservation_forget", FORGET, None),
        Statement("parent_read", READ, None),
        Statement("parent_plans", PLANS, None),
        Statement("wait_hold", HOLD, plans.PROBE),
        Statement("wait_leave", LEAVE, plans.PROBE),
        Statement("wait_ended", ENDED, None),
        Statement("wait_unknown", UNKNOWN, None),
        Statement("wait_orphaned", ORPHANED, None),
        Statement("stop_working", STOP_WORKING, plans.PROBE),
        Statement("stop_waiting", STOP_WAITING, plans.PROBE),
        Statement("clear_waiting", WAITING, plans.PROBE),
        Statement("clear_unstarted", UNSTARTED, plans.PROBE),
        Statement("expire", OVERDUE, plans.IN_ORDER),
        Statement("expire_next", NEXT_OVERDUE, plans.IN_ORDER),
        Statement("release", delays.RELEASE, plans.IN_ORDER),
        Statement("release_next", delays.NEXT, plans.IN_ORDER),
        Statement("retry_cells", CELLS, plans.PROBE),
        Statement("erase", ERASE, plans.PROBE),
        Statement("prune_pick", pruning.PICK, plans.IN_ORDER),
        Statement("prune_children", pruning.CHILDREN, plans.IN_ORDER),
        Statement("prune_parents", pruning.PARENTS, plans.IN_ORDER),
        Statement("prune_actions", pruning.ACTIONS, None),
        Statement("group_take", group_actions.TAKE, plans.IN_ORDER),
        Statement("group_call_off", group_actions.CALL_OFF, plans.PROBE),
        Statement("group_live", group_actions.LIVE, plans.IN_ORDER),
        Statement("group_ended", group_actions.ENDED, plans.IN_ORDER),
        Statement("next_start", NEXT_START, None),
        Statement("forget_turns", FORGET_TURNS, None),
        Statement("resumes", strands.RESUMES, None),
        Statement("sweep", strands.SWEEP, None),
        Statement("ahead", standing.AHEAD, plans.PROBE),
        Statement("obstacles", standing.OBSTACLES, None),
        Statement("stopped", STOPPED, plans.PROBE),
        Statement("children_of", OF, None),
        Statement("children_one", ONE, None),
        Statement("children_results", RESULTS, None),
        Statement("versions", VERSIONS, None),
        Statement("running", RUNNING, plans.IN_ORDER),
        Statement("all_nodes", nodes.ALL, plans.PROBE),
        Statement("gauges", gauges.READ, None),
        Statement("accounts", accounts.ALL, None),
        Statement("group_parents", group_results.PARENTS, plans.IN_ORDER),
        Statement("group_children", group_results.CHILDREN, plans.IN_ORDER),
    )
}
SLOTS = 50
MOST = 300
PARENTS = 50
BATCH = 200
WAITS = 40
PRUNED = 100


def arguments(session: psycopg.Connection) -> dict[str, Any]:
    """Arguments for every statement, by parameter name, on whatever is in the database."""
    held = session.execute(
        "SELECT parent_id, ordinal, claim FROM child WHERE state = 'processing'"
        " ORDER BY ordinal, parent_id LIMIT %s",
        [BATCH],
    ).fetchall()
    one = session.execute("SELECT id FROM parent WHERE state = 'processing' LIMIT 1").fetchone()
    some = session.execute("SELECT array_agg(id) FROM (SELECT id FROM parent LIMIT 50) p")
    (ids,) = some.fetchone() or (None,)
    parents, ordinals, claims = ([row[n] for row in held] for n in range(3))
    settled = {
        "parents": parents,
        "ordinals": ordinals,
        "claims": claims,
        "states": ["completed"] * len(held),
        "captures": ["{}"] * len(held),
        "errors": [None] * len(held),
        "codes": [200] * len(held),
        "delays": [None] * len(held),
        **FIXED,
        "charges": [0] * len(held),
        "not_befores": [1.0] * len(held),
        "shareds": [False] * len(held),
    }
    rows = session.execute("SELECT id FROM sync_wait ORDER BY since, id LIMIT %s", [WAITS])
    waiting = {"ids": [row[0] for row in rows.fetchall()]}
    queue = session.execute("SELECT id FROM parent WHERE state = 'queued' AND key_id = 7")
    queued = [row[0] for row in queue.fetchall()]
    stop = {
        "end": "canceled",
        "asked": True,
        "ordinal": None,
        "overdue": "{}",
        "stopped": "nobody",
    }
    clear = {"key": 7, "before": "infinity", "most": MOST, "state": "queued"}
    group = {"id": 1, "group": 3, "working": False, "reached": UUID(int=0), "most": MOST}
    return {
        "settle": settled,
        "tell": {"channel": "nobody", "most": 7900, "parents": parents},
        "wait_hold": waiting,
        "wait_leave": waiting,
        "wait_ended": {"parents": ids or []},
        "wait_unknown": {"node": 3, "live": waiting["ids"], "young": 10},
        "wait_orphaned": {"dead": 10, "most": MOST},
        "stop_working": {"parents": [one[0]] if one else [], **stop},
        "stop_waiting": {"parents": queued, **stop},
        "clear_waiting": clear,
        "clear_unstarted": clear,
        "expire": {"look": 1000, "most": MOST},
        "expire_next": {},
        "release": {"most": MOST, "channel": "nobody"},
        "release_next": {},
        "retry_cells": {"parent": one and one[0], "statuses": ["failed"], "ordinal": None},
        "erase": {"parents": [one[0]] if one else []},
        "prune_pick": {"retention": 86_400, "parents": PRUNED, "cells": 4_000},
        "prune_children": {"parents": ids or []},
        "prune_parents": {"parents": ids or []},
        "prune_actions": {"retention": 86_400, "most": MOST},
        "group_take": {},
        "group_call_off": group,
        "group_live": group,
        "group_ended": group,
        "next_start": {"surfaces": [f"s{n}" for n in range(1, 11)]},
        "forget_turns": {"most": 1000},
        "resumes": {"keys": [7, 8], "paused": 3600.0},
        "sweep": {"age": 3600.0, "most": 1000},
        "ahead": {
            "key": 7,
            "priority": 5,
            "exact": 10_000,
            "created_at": "now",
            "parent": queued[-1] if queued else None,
        },
        "obstacles": {"key": 7, "lanes": [1, 2, 3], "dead": 10},
        "stopped": {"node": 1},
        "all_nodes": {"dead": 10},
        "gauges": {"dead": 10},
        "accounts": {},
        "fan_out": {
            "look_keys": LOOK_KEYS,
            "look_strands": LOOK_STRANDS,
            "compared": LOOK_COMPARED,
            "look_parents": LOOK_PARENTS,
            "passed_over": PASSED_OVER_SECONDS,
            "dead": nodes.DEAD_AFTER_SECONDS,
            "parents": PARENTS,
        },
        "claim": {
            "node": 1,
            "token": 1,
            "slots": SLOTS,
            "surfaces": [f"s{n}" for n in range(1, 11)],
        },
        "stage": {"most": MOST, "channel": "nobody"},
        "stage_next": {},
        "rescue": {"dead": 10, "most": MOST, "limit": 3, "overdue": "{}"},
        "snapshot": {"key": 7, "node": 1, "good": 5.0},
        "usage_besides": {"keys": [7, 8]},
        "usage_read": {"key": 7},
        "going": {"key": 7},
        "reservation_draw": {"ids": [f"{n:032x}" for n in range(1, 6)], "lefts": [1] * 5},
        "reservation_forget": {"most": 100},
        "parent_read": {"parent": one and one[0], "key": 7},
        "parent_plans": {"parents": ids or []},
        "children_of": {"parent": one and one[0]},
        "children_one": {"parent": one and one[0], "ordinal": 3},
        "children_results": {"parent": one and one[0], "after": 0, "limit": 100},
        "versions": {"parents": [one[0]] * 2 if one else [], "key": None},
        "running": {"parents": [one[0]] * 2 if one else []},
        "group_parents": {"group": 3, "first": f"{0:032x}", "cells": 101, "most": 102},
        "group_children": {"parents": [one and one[0]], "afters": [5], "lasts": [15]},
    }
