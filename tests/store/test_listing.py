"""Lists of parents: exact filters, keyset pages, and a cost bounded by the look."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg import sql

from admission import usage
from orchestrator.domain import ids
from orchestrator.domain.states import ParentState
from orchestrator.fanout import fan_out
from orchestrator.store import groups, listing, parents
from orchestrator.store.listing import GROUPED, LIST, STEP, Page, Wanted
from orchestrator.store.parents import NewParent
from orchestrator.store.plans import IN_ORDER
from tests import factories
from tests.store.explained import Explained, Statement

ALL = tuple(ParentState)
LIVE = (ParentState.DELAYED, ParentState.QUEUED)


async def made(connection, owner, cells, *, group: str | None = None, **fields: Any):
    """A parent in the queue with these fields of its plan."""
    plan = factories.plan(len(cells), group=group, **fields)
    async with connection.transaction():
        known = await groups.ensure(connection, [(owner.id, group)]) if group else {}
        new = NewParent(
            id=ids.new(),
            key_id=owner.id,
            plan=plan,
            lanes=cells,
            group_id=known.get((owner.id, group or "")),
        )
        await usage.lock(connection, [owner.id])
        await parents.insert(connection, [new])
    return new.id


async def page(connection, wanted: Wanted, *, limit: int = 100, look: int = 10_000) -> Page:
    async with connection.transaction():
        step = min(look, listing.STEP)
        return await listing.page(connection, wanted, limit=limit, look=look, step=step)


async def listed(connection, wanted: Wanted, *, limit: int = 100, look: int = 10_000) -> list[Any]:
    """The ids of all pages, each met once."""
    found: list[Any] = []
    while True:
        some = await page(connection, wanted, limit=limit, look=look)
        assert len(some.parents) <= limit
        found += [parent.id for parent, _ in some.parents]
        if some.more_before is None:
            return found
        assert wanted.before is None or some.more_before < wanted.before
        wanted = wanted._replace(before=some.more_before)


@pytest.mark.anyio
@pytest.mark.parametrize(("limit", "look"), [(100, 10_000), (2, 10_000), (100, 3), (2, 3), (1, 1)])
async def test_every_parent_is_listed_once_newest_first(connection, limit, look):
    """Whatever the size of a page and of a look, in whatever states; nobody else's are."""
    owner, other = [await factories.key(connection) for _ in range(2)]
    lane = await factories.lane(connection)
    mine = []
    for n in range(9):
        mine.append(await factories.parent(connection, owner, [lane]))
        await factories.parent(connection, other, [lane])
        if n == 2:
            await fan_out(connection)
            (first, *_) = await factories.claim(connection)
            await factories.complete(connection, [first])
    mine.append(await made(connection, owner, [lane], delay=60.0))
    found = await listed(connection, Wanted(owner.id, ALL), limit=limit, look=look)
    assert found == mine[::-1]


@pytest.mark.anyio
async def test_the_last_page_says_that_it_is_the_last(connection):
    """A page that is exactly full leads nowhere when nothing follows."""
    owner = await factories.key(connection)
    made = await factories.some_parents(connection, owner, [await factories.lane(connection)], n=4)
    first = await page(connection, Wanted(owner.id, ALL), limit=2)
    assert first.more_before == made[2]
    second = await page(connection, Wanted(owner.id, ALL, before=first.more_before), limit=2)
    assert [parent.id for parent, _ in second.parents] == [made[1], made[0]]
    assert second.more_before is None


@pytest.mark.anyio
async def test_a_look_that_finds_nothing_says_where_to_look_on(connection):
    """A page may be empty and not the last: the cost of a request is bounded by its look."""
    owner = await factories.key(connection)
    us, gb = [await factories.lane(connection, country) for country in ("US", "GB")]
    old = await factories.parent(connection, owner, [gb])
    made = await factories.some_parents(connection, owner, [us], n=5)
    wanted = Wanted(owner.id, [ParentState.QUEUED], lanes=[gb])
    empty = await page(connection, wanted, look=3)
    assert empty == Page([], made[-3])
    assert await listed(connection, wanted, look=3) == [old]


@pytest.mark.anyio
async def test_each_filter_is_exact(connection):
    """By state, lane, metadata, group and time of acceptance, alone and together."""
    owner, other = [await factories.key(connection) for _ in range(2)]
    us, gb = [await factories.lane(connection, country) for country in ("US", "GB")]
    tagged = {"night": "1", "who": "a"}
    plain = await made(connection, owner, [us])
    wide = await made(connection, owner, [us, gb], metadata=tagged, group="g")
    late = await made(connection, owner, [gb], delay=60.0, metadata={"night": "2"}, group="g")
    foreign = await made(connection, other, [gb], metadata=tagged, group="g")
    (group,) = (await groups.find(connection, [(owner.id, "g")])).values()
    now = await factories.scalar(connection, "SELECT created_at FROM parent WHERE id = %s", wide)
    everything = Wanted(owner.id, ALL)
    some = timedelta(microseconds=1)
    for filters, found in (
        ({}, [late, wide, plain]),
        ({"states": [ParentState.DELAYED]}, [late]),
        ({"states": LIVE}, [late, wide, plain]),
        ({"states": [ParentState.FAILED]}, []),
        ({"lanes": [gb]}, [late, wide]),
        ({"lanes": [us, gb]}, [late, wide, plain]),
        ({"lanes": []}, []),
        ({"metadata": {"night": "1"}}, [wide]),
        ({"metadata": tagged}, [wide]),
        ({"metadata": {"night": "1", "who": "b"}}, []),
        ({"group_id": group}, [late, wide]),
        ({"group_id": group, "states": [ParentState.QUEUED]}, [wide]),
        ({"group_id": group, "lanes": [us], "metadata": {"who": "a"}}, [wide]),
        ({"since": now}, [late, wide]),
        ({"since": now + some, "until": now + timedelta(days=1)}, [late]),
        ({"until": now}, [plain]),
        ({"until": now + some, "since": now}, [wide]),
        ({"since": datetime(9999, 12, 31, tzinfo=UTC)}, []),
        ({"until": datetime(2, 1, 1, tzinfo=UTC)}, []),
        ({"group_id": group, "since": now, "until": now + some}, [wide]),
    ):
        assert await listed(connection, everything._replace(**filters), limit=1) == found, filters
    assert await listed(connection, Wanted(other.id, ALL)) == [foreign]


@pytest.mark.anyio
async def test_a_clock_that_is_an_hour_off_hides_nothing(connection):
    """Ids are made by the clock of a process; times of acceptance are the database's."""
    owner = await factories.key(connection)
    parent = await factories.parent(connection, owner, [await factories.lane(connection)])
    skewed = ids.new().int + (59 * 60 * 1000 << 80)
    await connection.execute(
        "UPDATE parent SET id = %s::text::uuid WHERE id = %s", [str(_uuid(skewed)), parent]
    )
    at = await factories.scalar(connection, "SELECT created_at FROM parent")
    wanted = Wanted(owner.id, ALL, since=at, until=at + timedelta(microseconds=1))
    assert await listed(connection, wanted) == [_uuid(skewed)]


def _uuid(number: int) -> Any:
    return type(ids.new())(int=number)


@pytest.mark.anyio
async def test_running_children_are_counted_for_the_page(connection):
    """With each parent comes how many of its children run just now."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane] * 3)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    await factories.complete(connection, claimed[:1])
    await factories.parent(connection, owner, [lane])
    found = await page(connection, Wanted(owner.id, ALL))
    assert [(parent.total, parent.done, running) for parent, running in found.parents] == [
        (1, 0, 0),
        (3, 1, 2),
    ]


SEED = (
    "SET session_replication_role = replica",  # no counters: 1,000,000 parents in seconds
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, payload, group_id,
                           not_before, created_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, 1 + (n % 10 = 0)::int,
              (ARRAY['delayed', 'queued', 'processing', 'completed', 'partial', 'failed',
                     'canceled', 'expired'])[1 + n % 977 % 8], 5, ARRAY[1 + n % 7], 1,
              ('{"query": "tea", "metadata": {"n": "' || n % 5 || '"}}')::json, 1 + n % 3, now(),
              now() - n * interval '1 second'
       FROM generate_series(1, 1000000) n""",
)


@pytest.fixture(scope="module")
def plans(server, maintenance, template) -> Iterator[dict[str, dict[Any, list[Explained]]]]:
    """What the statements scan for every combination of filters, by what their planner knew."""
    name = f"listing_{threading.get_native_id()}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    maintenance.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    url = server(name)
    try:
        with psycopg.connect(url, autocommit=True) as seeding:
            seeding.execute("ALTER TABLE parent SET (autovacuum_enabled = off)")
            with prepared(url, "force_generic_plan") as early:
                scanned(early)
                for statement in SEED:
                    seeding.execute(statement)
                found = {"planned while empty": scanned(early)}
            with prepared(url, "force_custom_plan") as unknowing:
                found["without statistics"] = scanned(unknowing)
            seeding.execute("ANALYZE parent")
            with prepared(url, "force_generic_plan") as generic:
                found["generic"] = scanned(generic)
            with prepared(url, "force_custom_plan") as knowing:
                found["with statistics"] = scanned(knowing)
        yield found
    finally:
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


STATEMENTS = {
    "list": Statement("list", LIST, IN_ORDER),
    "grouped": Statement("grouped", GROUPED, IN_ORDER),
}
STATES = (ALL, LIVE, (ParentState.EXPIRED,))
LANES = (None, [3], [99])
METADATA = (None, {"n": "4"}, {"n": "none"})
AGO = (None, timedelta(days=5), timedelta(days=400))
BEFORE = (None, _uuid(500_000))


def combinations() -> Iterator[Wanted]:
    """Filters that most parents meet, that some do and that none does, in all combinations."""
    now = datetime.now(UTC)
    for states, lanes, metadata, ago, before in product(STATES, LANES, METADATA, AGO, BEFORE):
        since = now - ago if ago else None
        yield Wanted(1, states, None, lanes, metadata, since, None, before)


def prepared(url: str, mode: str) -> psycopg.Connection:
    session = psycopg.connect(url, autocommit=True, options="-c jit=off")
    session.execute("SELECT set_config('plan_cache_mode', %s, false)", [mode])
    for statement in STATEMENTS.values():
        statement.prepare(session)
    return session


def scanned(session: psycopg.Connection) -> dict[Any, list[Explained]]:
    """The scans for each combination. Ids were not made by time here: it bounds none of them."""
    found = {}
    for n, wanted in enumerate(combinations()):
        for name, group in (("list", None), ("grouped", 2)):
            columns = wanted._replace(group_id=group).columns | {"first": _uuid(0)}
            columns |= {"most": 102, "each": STEP if group else max(1, STEP // len(wanted.states))}
            columns["states"] = [state.value for state in columns["states"]]
            found[name, n] = STATEMENTS[name].explain(session, columns)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "planner", ["planned while empty", "without statistics", "generic", "with statistics"]
)
def test_no_combination_of_filters_reads_more_than_the_look(plans, planner):
    """Of 1,000,000 parents a step of a page meets 1,000, by the one index made for it."""
    indexes = {"list": "parent_listed", "grouped": "parent_grouped"}
    for (name, n), scans in plans[planner].items():
        parents = [scan for scan in scans if scan.table == "parent"]
        assert {scan.index for scan in parents} == {indexes[name]}, (name, n)
        assert sum(scan.rows for scan in parents) <= STEP, (name, n)
