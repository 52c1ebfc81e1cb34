import threading
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import NullPool, create_engine

from orchestrator.errors import DatabaseUnavailableError
from orchestrator.fanout import fan_out
from orchestrator.store import counters, migrations, tables
from tests import factories

VERSIONS = Path(migrations.__file__).parent / "versions"
REVISIONS = sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


def revisions(applied: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in applied]


def test_an_upgrade_applies_each_revision_once(empty):
    """The first start migrates, the second finds nothing to do; `pending` foretells both."""
    assert revisions(migrations.pending(empty)) == REVISIONS
    assert revisions(migrations.upgrade(empty)) == REVISIONS
    assert migrations.pending(empty) == []
    assert migrations.upgrade(empty) == []


def test_pending_changes_nothing(empty):
    """Asking what would be applied leaves the database empty."""
    migrations.pending(empty)
    with psycopg.connect(empty) as session:
        count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert session.execute(count).fetchone() == (0,)


def test_every_revision_says_what_it_is(empty):
    """`pending` names revisions by number and title."""
    assert all(len(line.partition(": ")[2]) > 10 for line in migrations.pending(empty))


def test_two_starts_at_once_apply_each_revision_once(empty):
    """Two processes that start together agree on who migrates; both succeed."""
    applied: list[list[str]] = []
    starts = [
        threading.Thread(target=lambda: applied.append(migrations.upgrade(empty))) for _ in range(3)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert sorted(map(len, applied)) == [0, 0, len(REVISIONS)]


def test_an_upgrade_that_fails_leaves_nothing_behind(empty):
    """All revisions run in one transaction."""
    with psycopg.connect(empty, autocommit=True) as session:
        session.execute("CREATE TABLE node (id int)")
        with pytest.raises(Exception, match="node"):
            migrations.upgrade(empty)
        left = "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'"
        assert session.execute(left).fetchone() == (["node"],)
        session.execute("DROP TABLE node")
    assert revisions(migrations.upgrade(empty)) == REVISIONS


def test_a_database_out_of_reach_is_said_in_one_line(server):
    """A start without its database says so and why."""
    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL cannot be reached") as caught:
        migrations.upgrade(server("a_database_nobody_made"))
    assert "\n" not in str(caught.value)


# What a schema is, object by object, without what only the way it came about explains.
CATALOG = """
SELECT 'column ' || c.relname || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || ' not null ' || a.attnotnull
       || ' identity ' || a.attidentity::text || ' generated ' || a.attgenerated::text
       || ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), 'none')
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT 'table ' || relname, coalesce((SELECT string_agg(o, ', ' ORDER BY o)
                                      FROM unnest(reloptions) o), '')
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION ALL
SELECT 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function ' || oid::regprocedure, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
ALEMBICS_OWN = "alembic_version"


def catalog(url: str) -> dict[str, str]:
    """Every object of the schema with its definition."""
    with psycopg.connect(url) as session:
        rows = session.execute(CATALOG).fetchall()
    return {name: what for name, what in rows if ALEMBICS_OWN not in name}


@pytest.fixture(scope="module")
def migrated(server, template) -> dict[str, str]:
    """The schema as the migrations make it."""
    return catalog(server(template))


@pytest.fixture(scope="module")
def declared(new_database) -> dict[str, str]:
    """The schema as the tables and the counters declare it."""
    url = new_database()
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    tables.metadata.create_all(engine)
    engine.dispose()
    with psycopg.connect(url) as session:
        for statement in (*counters.FUNCTIONS, *counters.TRIGGERS):
            session.execute(statement)
    return catalog(url)


@pytest.mark.parametrize("kind", ["column", "table", "constraint", "index", "trigger", "function"])
def test_migrations_make_what_the_tables_declare(migrated, declared, kind):
    """Types, defaults, generated columns, constraints, indexes, storage, triggers, functions."""
    one, other = (
        {name: what for name, what in schema.items() if name.startswith(f"{kind} ")}
        for schema in (migrated, declared)
    )
    assert one
    assert one == other


BEFORE_SYNC = """
INSERT INTO api_key (name, requests_per_minute, sync_limit, queue_capacity, concurrency, weight)
VALUES ('kept', 60, 7, 10, 5, 1);
INSERT INTO lane (surface, country, concurrency) VALUES ('chat', 'US', 4), ('maps', 'US', 4);
INSERT INTO parent (id, key_id, priority, lanes, total, payload)
SELECT gen_random_uuid(), 1, 5, '{1,2}', 2, '{}' FROM generate_series(1, 3);
UPDATE parent SET state = 'processing' WHERE id = (SELECT id FROM parent LIMIT 1);
INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority)
SELECT id, 1, 1, 1, 5 FROM parent WHERE state = 'processing';
INSERT INTO node (host, pid, slots, surfaces) VALUES ('old', 1, 4, '{chat}')
"""


def test_what_was_there_before_sync_is_kept_and_counted(empty):
    """Revision 0002 on a database in use: limits are copied, lifetimes filled in, counters true."""
    with migrations._connected(empty) as connection:
        command.upgrade(migrations._config(connection), "0001")
    with psycopg.connect(empty, autocommit=True) as session:
        session.execute(BEFORE_SYNC)
        assert revisions(migrations.upgrade(empty)) == REVISIONS[1:]
        row = session.execute("SELECT depth, queued, sync_limit, open, able FROM usage").fetchone()
        assert row == (2, 1, 7, True, True)
        asked = session.execute("SELECT lane_id, asked FROM inflight ORDER BY 1").fetchall()
        assert asked == [(1, 3), (2, 3)]
        modes = "SELECT DISTINCT mode FROM parent UNION ALL SELECT kind FROM node"
        assert session.execute(modes).fetchall() == [("async",), ("worker",)]
        assert session.execute(counters.recount.RECOUNT).fetchall() == []


BEFORE_STEERING = """
INSERT INTO api_key (name, requests_per_minute, sync_limit, queue_capacity, concurrency, weight)
VALUES ('kept', 60, 7, 10, 5, 1);
INSERT INTO lane (surface, country, concurrency) VALUES ('chat', 'US', 4), ('maps', 'US', 4);
INSERT INTO parent (id, key_id, priority, lanes, total, payload)
SELECT gen_random_uuid(), 1, 5, '{1,2}', 2,
       '{"query": "tea", "surfaces": ["chat", "maps"], "regions": [{"country": "US"}]}'
FROM generate_series(1, 3);
UPDATE parent SET state = 'processing', started_at = now()
WHERE id = (SELECT id FROM parent LIMIT 1);
INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority)
SELECT id, n, 1, n, 5 FROM parent, generate_series(1, 2) n WHERE state = 'processing';
"""


@pytest.mark.anyio
async def test_what_was_there_before_steering_is_kept_and_goes_on(empty):
    """Revision 0003 on a database in use: what waited and what ran is counted, runs and ends."""
    with migrations._connected(empty) as connection:
        command.upgrade(migrations._config(connection), "0002")
    with psycopg.connect(empty, autocommit=True) as session:
        session.execute(BEFORE_STEERING)
    assert revisions(migrations.upgrade(empty)) == REVISIONS[2:]
    async with await psycopg.AsyncConnection.connect(empty, autocommit=True) as session:
        assert await counters.differences(session) == []
        surfaces = ["chat", "maps"]
        assert await fan_out(session) == 4
        claimed = await factories.claim(session, surfaces=surfaces)
        assert len(claimed) == 5
        await factories.complete(session, claimed)
        await factories.complete(session, await factories.claim(session, surfaces=surfaces))
        ended = "SELECT array_agg(DISTINCT state) FROM parent"
        assert await factories.scalar(session, ended) == ["completed"]
        assert await counters.differences(session) == []


EARLY_LISTS = """
DROP INDEX delivery_listed;
CREATE INDEX delivery_waiting ON delivery (key_id, created_at, parent_id, ordinal, run)
  WHERE status = 'pending';
CREATE INDEX delivery_listed ON delivery (status, key_id, created_at, parent_id, ordinal, run)
  WHERE status <> 'pending';
"""


@pytest.mark.parametrize("early", ["", EARLY_LISTS], ids=["as it is", "an early form"])
def test_a_database_of_either_form_of_the_outbox_is_brought_up(empty, declared, early):
    """Revision 0007 after either 0006 that was out: both end with the same indexes."""
    with migrations._connected(empty) as connection:
        command.upgrade(migrations._config(connection), "0006")
    with psycopg.connect(empty, autocommit=True) as session:
        session.execute(early or "SELECT 1")
    assert revisions(migrations.upgrade(empty)) == REVISIONS[6:]
    assert catalog(empty) == declared


BEFORE_BUDGETS = """
INSERT INTO api_key (name, requests_per_minute, sync_limit, queue_capacity, concurrency, weight)
VALUES ('kept', 60, 7, 10, 5, 1);
INSERT INTO lane (surface, country, concurrency) VALUES ('chat', 'US', 4);
INSERT INTO parent (id, key_id, priority, lanes, total, payload, estimated, charged)
SELECT gen_random_uuid(), 1, 5, '{1,1}', 2, '{}', 10, n FROM generate_series(0, 5, 5) n;
INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, estimated, charged,
                    finished_at)
VALUES (gen_random_uuid(), 1, 'completed', 5, '{1,1}', 2, 2, '{}', 10, 10, now());
"""


def test_what_was_there_before_budgets_holds_what_it_may_cost(empty):
    """Revision 0010 on a database in use: credits without end, what is held and charged counted."""
    with migrations._connected(empty) as connection:
        command.upgrade(migrations._config(connection), "0009")
    with psycopg.connect(empty, autocommit=True) as session:
        session.execute(BEFORE_BUDGETS)
        assert revisions(migrations.upgrade(empty)) == REVISIONS[9:]
        row = session.execute("SELECT credits, held, charged FROM usage").fetchone()
        assert row == (None, 15, 15)
        assert session.execute(counters.recount.RECOUNT).fetchall() == []
        session.execute("UPDATE parent SET state = 'canceled', done = 2, finished_at = now()")
        row = session.execute("SELECT credits, held, charged FROM usage").fetchone()
        assert row == (None, 0, 15)
