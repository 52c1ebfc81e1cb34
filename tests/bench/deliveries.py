"""Deliveries a second from one worker: to a fast receiver, beside dead ones, to a slow one."""

import os
import secrets
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from orchestrator.domain import plan as plans
from orchestrator.domain import webhooks
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.webhooks import Webhook
from orchestrator.sealing import Sealer
from tests.bench import stack
from tests.bench.report import Row
from tests.bench.stack import Stack
from workers.endpoints import MOST

CELLS = 20
KEYS = 10
SLOW_SECONDS = 0.1
WAITING = 100_000
RETRIES = 20
SECRET_KEY = secrets.token_hex(32)
CAPTURE = (
    '{"answer": {"text": "' + "Most testers name the same three shoes. " * 15 + '"},'
    ' "evidence": {"sources": []}, "provenance": {"adapter": "simulator"}}'
)
# Parents that ended, none of whose events was told: written without the triggers it is soon done.
SEED = (
    "SET session_replication_role = replica",
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, finished_at,
                           endpoint, tells)
       SELECT gen_random_uuid(), %(key)s, 'completed', 5, array_fill(1, ARRAY[20]), 20, 20,
              %(payload)s, now(), %(endpoint)s, 1
       FROM generate_series(1, %(parents)s)""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, attempt,
                          finished_at, result)
       SELECT p.id, o, p.key_id, 1, 5, 'completed', 1, now(), %(capture)s
       FROM parent p, generate_series(1, 20) AS o WHERE p.endpoint = %(endpoint)s""",
    """INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state)
       SELECT parent_id, 1, ordinal, key_id, %(endpoint)s, 'completed'
       FROM child WHERE parent_id IN (SELECT id FROM parent WHERE endpoint = %(endpoint)s)""",
    "SET session_replication_role = origin",
)
WAIT = """
INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state, again, attempts, due_at)
SELECT gen_random_uuid(), 1, 0, n %% 1000, n::int8 * 1000003, 'completed', true, 3,
       now() + interval '1 hour'
FROM generate_series(1, %s) n
"""
"""Endpoints each of which failed, to be tried again later."""
FAIL = """
UPDATE delivery SET again = true, attempts = 1, due_at = now() + interval '1 hour'
WHERE endpoint = %s
"""
RETRY = """
UPDATE delivery SET due_at = now() WHERE (parent_id, ordinal) IN (
  SELECT parent_id, ordinal FROM delivery WHERE endpoint = %s AND status = 'pending' LIMIT 1)
"""
RETRIED = """
SELECT count(*) = %s FROM delivery WHERE endpoint = %s AND status = 'delivered'
"""
TOOK = """
SELECT extract(epoch FROM max(delivered_at) - %s)::float8 FROM delivery WHERE endpoint = %s
"""
LIVE = """
SELECT count(*) = 0 FROM delivery WHERE endpoint = %s AND status <> 'delivered'
"""


def run(scale: float) -> list[Row]:
    """Events of ~1 KB, each signed twice with the secret of its request, delivered and recorded."""
    parents = max(10, int(1_000 * scale))
    alone = _deliver(parents)
    beside = _deliver(parents, dead=KEYS)
    waiting = max(100, int(WAITING * scale))
    among = _deliver(parents, waiting=waiting)
    slow = _deliver(max(10, parents // 4), seconds=SLOW_SECONDS)
    retried = _retry(waiting)
    return [
        Row("deliveries, one worker process", alone, "/s", 2_000),
        Row(f"  beside {KEYS} dead endpoints with as many each", beside, "/s"),
        Row("    against alone", alone / beside, "×", 1.5, most=True),
        Row(f"  beside {waiting:,} that wait for their next attempt", among, "/s"),
        Row("    against alone", alone / among, "×", 1.5, most=True),
        Row("    one attempt more that is due among them, p50", statistics.median(retried), "s"),
        Row("    at most", max(retried), "s"),
        Row(f"  to one that takes {SLOW_SECONDS:g} s", slow, "/s"),
        Row("    of what so many at once could be", slow * SLOW_SECONDS / MOST, "×", 0.7),
    ]


def _deliver(parents: int, *, dead: int = 0, waiting: int = 0, seconds: float = 0.0) -> float:
    """Events a second, from the start of the first to the last of one endpoint."""
    with _served(seconds) as (here, port), _silent() as silent:
        for key in range(2, 2 + dead):
            _seed(here, key, f"http://127.0.0.1:{silent}/hook", parents)
        endpoint = _seed(here, 1, f"http://127.0.0.1:{port}/hook", parents)
        _start(here, waiting)
        began = here.one("SELECT extract(epoch FROM now())::float8")[0]
        here.until(LIVE, endpoint, seconds=300)
        ended = here.one("SELECT extract(epoch FROM max(delivered_at))::float8 FROM delivery")[0]
    return parents * CELLS / (ended - began)


def _retry(waiting: int) -> list[float]:
    """Seconds until an attempt that is due now is recorded, among so many that are due later."""
    took = []
    with _served(0.0) as (here, port):
        endpoint = _seed(here, 1, f"http://127.0.0.1:{port}/hook", -(-RETRIES // CELLS))
        with psycopg.connect(here.url, autocommit=True) as connection:
            connection.execute(FAIL, [endpoint])
            _start(here, waiting)
            for n in range(1, RETRIES + 1):
                (began,) = here.one("SELECT now()")
                connection.execute(RETRY, [endpoint])
                here.until(RETRIED, n, endpoint)
                took.append(here.one(TOOK, began, endpoint)[0])
    return took


@contextmanager
def _served(seconds: float) -> Iterator[tuple[Stack, int]]:
    """A database, and the port of a receiver that takes so long."""
    os.environ |= {"PARALLAX_ALLOW_NETWORKS": "127.0.0.0/8", "PARALLAX_SECRET_KEY": SECRET_KEY}
    with stack.running() as here, stack.server("tests.bench.receiver", seconds) as port:
        yield here, port


def _start(here: Stack, waiting: int) -> None:
    """A worker, where so many endpoints wait besides what is there."""
    with psycopg.connect(here.url, autocommit=True) as connection:
        connection.execute(WAIT, [waiting])
        connection.execute("VACUUM ANALYZE")
    here.worker(slots=1)
    here.until("SELECT count(*) > 0 FROM node")


def _seed(here: Stack, key: int, url: str, parents: int) -> int:
    endpoint = webhooks.endpoint(key, url)
    regions = tuple(Region("US", str(n)) for n in range(CELLS))
    webhook = Webhook(url=url, sealed=Sealer(SECRET_KEY).seal("a secret of this request"))
    plan = Plan(query="shoes", surfaces=("chat",), regions=regions, webhook=webhook)
    named = {
        "key": key,
        "payload": plans.encode(plan),
        "endpoint": endpoint,
        "parents": parents,
        "capture": CAPTURE,
    }
    with psycopg.connect(here.url, autocommit=True) as connection:
        for statement in SEED:
            connection.execute(statement, named)
    return endpoint


@contextmanager
def _silent() -> Iterator[int]:
    """The port of one that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield server.getsockname()[1]
