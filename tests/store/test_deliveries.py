"""The outbox: what is due is claimed once, recorded under its claim, listed and replayed."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from orchestrator.store import deliveries, steering
from orchestrator.store.deliveries import Due, Look, Met, Order, Range, Wanted
from tests import factories
from tests.store import telling
from tests.store.telling import claim, due, ended, endpoint, record

pytestmark = pytest.mark.anyio
ALL = ("pending", "delivered", "dead")
LOOK = Look(again=False, after=deliveries.BEFORE_ALL, most=9, most_due=9)
STATUSES = """
SELECT status, attempts, last_code, claim IS NULL, delivered_at IS NOT NULL FROM delivery
"""


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


async def statuses(connection):
    return await (await connection.execute(STATUSES)).fetchall()


async def later(connection, seconds):
    """So long passes for the outbox."""
    move = "UPDATE delivery SET due_at = due_at - %s * interval '1 second'"
    await connection.execute(move, [seconds])


def event(one) -> EventId:
    return EventId(one.parent_id, one.ordinal, one.run)


async def test_endpoints_with_something_due_are_found_in_order(connection, owner, lane):
    """One look finds each once, however much it has, and can go on where it ended."""
    urls = [f"{telling.URL}/{n}" for n in range(5)]
    for url in urls:
        await ended(connection, owner, lane, n=2, url=url)
    names = sorted(endpoint(owner, url) for url in urls)
    met = await due(connection)
    assert met == Met([Due(name, owner.id) for name in names], None, None)
    for few in (LOOK._replace(most=2), LOOK._replace(most_due=2)):
        first = await deliveries.due(connection, few)
        assert first == Met(met.due[:2], names[1], None)
        rest = await deliveries.due(connection, LOOK._replace(after=names[1]))
        assert rest == Met(met.due[2:], None, None)


async def test_endpoints_that_wait_are_gone_past(connection, owner, lane):
    """One look leads past all whose time has not come, and tells when the first of them has."""
    urls = {endpoint(owner, url): url for url in (f"{telling.URL}/{n}" for n in range(6))}
    *waiting, last = sorted(urls)
    for n, name in enumerate([*waiting, last]):
        await ended(connection, owner, lane, url=urls[name])
        delay = 0.0 if name == last else 60.0 * (9 - n)
        await record(connection, await claim(connection, name), "pending", 503, delay=delay)
    look = LOOK._replace(again=True, most_due=1)
    met = await deliveries.due(connection, look)
    assert met._replace(seconds=None) == Met([Due(last, owner.id)], last, None)
    assert met.seconds is not None
    assert 290 < met.seconds <= 300
    met = await deliveries.due(connection, look._replace(most=4))
    assert (met.due, met.reached) == ([], waiting[3])


async def test_what_is_claimed_is_nobody_elses(connection, connect, owner, lane):
    """Two deliverers that claim together share what is due; each delivery has one of them."""
    await ended(connection, owner, lane, n=6)
    others = [await connect() for _ in range(3)]
    to = endpoint(owner)
    taken = await asyncio.gather(*(claim(other, to, most=3) for other in others))
    claimed = [event(one) for some in taken for one in some]
    assert len(claimed) == len(set(claimed)) == 6
    assert await claim(connection, to) == []
    assert await claim(connection, to, again=True) == []


async def test_a_claim_takes_no_more_than_was_ordered(connection, owner, lane):
    """By endpoint, and of fresh ones those due first."""
    made = await ended(connection, owner, lane, n=3)
    await ended(connection, owner, lane, url=f"{telling.URL}/other")
    (first, second) = await claim(connection, endpoint(owner), most=2)
    assert [first.parent_id, second.parent_id] == made[:2]
    assert {one.attempt for one in (first, second)} == {1}


async def test_a_claim_that_ran_out_is_due_again(connection, owner, lane):
    """What a dead deliverer held is attempted by another; who was too late records nothing."""
    await ended(connection, owner, lane)
    to = endpoint(owner)
    (lost,) = await claim(connection, to)
    met = await due(connection, again=True)
    assert not met.due
    assert met.seconds is not None
    assert 0 < met.seconds <= deliveries.LEASE_SECONDS
    await later(connection, deliveries.LEASE_SECONDS)
    (taken,) = await claim(connection, to, again=True)
    assert (event(taken), taken.attempt) == (event(lost), 2)
    assert await record(connection, [lost]) == 0
    assert await statuses(connection) == [("pending", 2, None, False, False)]
    assert await record(connection, [taken]) == 1
    assert await record(connection, [taken], "dead", 500) == 0
    assert await statuses(connection) == [("delivered", 2, 200, True, True)]


async def test_a_failed_attempt_is_due_again_after_its_pause(connection, owner, lane):
    """With the code of its reply; nothing is due before."""
    await ended(connection, owner, lane)
    to = endpoint(owner)
    await record(connection, await claim(connection, to), "pending", 503, delay=30.0)
    assert await claim(connection, to, again=True) == []
    met = await due(connection, again=True)
    assert not met.due
    assert met.seconds is not None
    assert 25 < met.seconds <= 30
    await later(connection, 30)
    (again,) = await claim(connection, to, again=True)
    assert again.attempt == 2
    await record(connection, [again], "dead", None)
    assert await statuses(connection) == [("dead", 2, None, True, False)]
    assert await due(connection, again=True) == Met([], None, None)


async def test_attempts_of_several_claims_are_recorded_together(connection, owner, lane):
    """Each under its own token; one stale among them is dropped alone."""
    await ended(connection, owner, lane, n=3)
    to = endpoint(owner)
    one, two, three = [*await claim(connection, to, most=1), *await claim(connection, to)]
    assert await record(connection, [one, two._replace(claim=7), three]) == 2
    assert sorted(status for status, *_ in await statuses(connection)) == [
        "delivered",
        "delivered",
        "pending",
    ]


async def test_the_body_is_made_from_what_the_claim_brings(connection, owner, lane):
    """Of a child its row with the capture; of a parent its counts."""
    _, claimed = await telling.working(connection, owner, [lane])
    await factories.complete(connection, claimed)
    told = {one.ordinal: one for one in await claim(connection, endpoint(owner))}
    assert told[0].child is None
    assert told[0].counts == [1, 0, 0, 0]
    assert told[1].child is not None
    assert told[1].counts is None
    assert bytes(told[1].child.capture or b"") == factories.CAPTURE.encode()
    assert {one.state for one in told.values()} == {"completed"}


@pytest.mark.parametrize("status", ALL)
async def test_one_delivery_is_replayed(connection, owner, lane, status):
    """Whatever became of it: at once, as if for the first time, the same event."""
    await ended(connection, owner, lane)
    (one,) = await claim(connection, endpoint(owner))
    await record(connection, [one], status, 500, delay=99)
    other = await factories.key(connection)
    async with connection.transaction():
        assert not await deliveries.replay(connection, key_id=other.id, event=event(one))
    assert (await statuses(connection))[0][0] == status
    async with connection.transaction():
        assert await deliveries.replay(connection, key_id=owner.id, event=event(one))
    (again,) = await claim(connection, endpoint(owner))
    assert (event(again), again.attempt) == (event(one), 1)
    assert await record(connection, [again]) == 1


async def test_who_attempts_what_is_replayed_meanwhile_comes_too_late(connection, owner, lane):
    """It is sent once more: that was asked for after the attempt began."""
    await ended(connection, owner, lane)
    (one,) = await claim(connection, endpoint(owner))
    async with connection.transaction():
        await deliveries.replay(connection, key_id=owner.id, event=event(one))
    assert await record(connection, [one]) == 0
    assert len(await claim(connection, endpoint(owner))) == 1


async def asked(connection, owner, since, until, *statuses) -> int:
    """How many a range is for that is asked for."""
    async with connection.transaction():
        return await deliveries.request(connection, Range(owner.id, statuses, since, until))


async def carried_out(connection, *, most=2) -> list[int]:
    """How many deliveries are pending, all their attempts before them, after each batch."""
    left = "SELECT count(*) FROM delivery WHERE status = 'pending' AND attempts = 0"
    counted = []
    while True:
        async with connection.transaction():
            if not await deliveries.go_on(connection, most=most):
                return counted
        counted.append(await factories.scalar(connection, left))


async def aged(connection, parents, hours):
    """These came so long ago."""
    await connection.execute(
        "UPDATE delivery SET created_at = created_at - %s * interval '1 hour'"
        " WHERE parent_id = ANY(%s)",
        [hours, parents],
    )


async def test_a_range_is_replayed_in_batches(connection, owner, lane):
    """All of its status and time, of this key; nothing else. When it is done nothing is kept."""
    made = await ended(connection, owner, lane, n=6)
    stranger = await factories.key(connection)
    await ended(connection, stranger, lane)
    await record(connection, await claim(connection, endpoint(owner)))
    await record(connection, await claim(connection, endpoint(stranger)))
    await aged(connection, made[:5], 5)
    now = datetime.now(UTC)
    since, until = now - timedelta(hours=6), now - timedelta(hours=1)
    assert await asked(connection, owner, since, until, "dead") == 0
    assert await carried_out(connection) == []
    assert await asked(connection, owner, since, until, "delivered") == 5
    assert await carried_out(connection) == [2, 4, 5]
    assert await carried_out(connection) == []
    assert {one.parent_id for one in await claim(connection, endpoint(owner))} == set(made[:5])
    assert await claim(connection, endpoint(stranger)) == []


async def test_a_range_of_all_statuses_is_gone_through_one_by_one(connection, owner, lane):
    """Each delivery once: what was dead is not met again as one that is pending."""
    for status in ALL:
        await ended(connection, owner, lane, n=2)
        await record(connection, await claim(connection, endpoint(owner)), status, 500, delay=99)
    day = timedelta(days=1)
    now = datetime.now(UTC)
    assert await asked(connection, owner, now - day, now + day, *ALL) == 6
    assert await carried_out(connection) == [2, 2, 4, 4, 6, 6]


async def test_ranges_take_turns(connection, owner, lane):
    """A long one of one key leaves the next batch to another's."""
    stranger = await factories.key(connection)
    day, now = timedelta(days=1), datetime.now(UTC)
    for key, n in ((owner, 6), (stranger, 2)):
        await ended(connection, key, lane, n=n)
        await record(connection, await claim(connection, endpoint(key)), "dead", 500)
        assert await asked(connection, key, now - day, now + day, "dead") == n
    for _ in range(2):
        async with connection.transaction():
            assert await deliveries.go_on(connection, most=2)
    assert [len(await claim(connection, endpoint(key))) for key in (owner, stranger)] == [2, 2]


async def test_a_batch_that_fails_is_done_again(connection, owner, lane):
    """What a steward did of a range, and how far it came, are one transaction."""
    await ended(connection, owner, lane, n=4)
    await record(connection, await claim(connection, endpoint(owner)), "dead", 500)
    day, now = timedelta(days=1), datetime.now(UTC)
    await asked(connection, owner, now - day, now + day, "dead")
    async with connection.transaction(force_rollback=True):
        assert await deliveries.go_on(connection, most=3)
    assert await claim(connection, endpoint(owner)) == []
    assert await carried_out(connection) == [2, 4, 4]


async def test_no_two_stewards_carry_out_one_range(connection, connect, owner, lane):
    """One that is in somebody's hands is passed over."""
    await ended(connection, owner, lane)
    day, now = timedelta(days=1), datetime.now(UTC)
    await asked(connection, owner, now - day, now + day, "pending")
    other = await connect()
    await other.execute("SET lock_timeout = '5s'")  # to fail, where it would wait
    async with connection.transaction():
        assert await deliveries.go_on(connection)
        async with other.transaction():
            assert not await deliveries.go_on(other)


async def test_a_range_begins_where_it_says_and_ends_before(connection, owner, lane):
    """From its first moment on, without its last."""
    await ended(connection, owner, lane)
    await record(connection, await claim(connection, endpoint(owner)), "dead", 500)
    created = await factories.scalar(connection, "SELECT created_at FROM delivery")
    second = timedelta(seconds=1)
    assert await asked(connection, owner, created - second, created, "dead") == 0
    assert await asked(connection, owner, created, created + second, "dead") == 1
    assert await carried_out(connection) == [1]


async def test_what_a_range_meets_is_as_it_was_when_it_was_asked_for(connection, owner, lane):
    """What came home since is not sent a third time; what came since is sent by itself."""
    await ended(connection, owner, lane)
    day, now = timedelta(days=1), datetime.now(UTC)
    assert await asked(connection, owner, now - day, now + day, *ALL) == 1
    await record(connection, await claim(connection, endpoint(owner)))
    await ended(connection, owner, lane)
    await record(connection, await claim(connection, endpoint(owner)), "dead", 500)
    assert await carried_out(connection) == [0, 0, 0]
    assert sorted(status for status, *_ in await statuses(connection)) == ["dead", "delivered"]


async def listed(connection, owner, *, limit=100, statuses=ALL, **bounds):
    async with connection.transaction():
        return await deliveries.page(connection, Wanted(owner.id, statuses, **bounds), limit=limit)


async def test_a_list_is_newest_first_and_goes_on_where_it_ended(connection, owner, lane):
    """Over all statuses, in pages, each delivery once, a key's own alone."""
    made = await ended(connection, owner, lane, n=7)
    await ended(connection, await factories.key(connection), lane)
    await record(connection, await claim(connection, endpoint(owner), most=2))
    await record(connection, await claim(connection, endpoint(owner), most=2), "dead", 500)
    first = await listed(connection, owner, limit=3)
    second = await listed(connection, owner, limit=3, before=first[-1].place)
    third = await listed(connection, owner, limit=3, before=second[-1].place)
    found = [row.parent_id for row in (*first, *second, *third)]
    assert found == made[::-1]
    assert {row.status for row in (*first, *second, *third)} == set(ALL)


async def test_a_list_is_of_some_statuses_and_of_a_time(connection, owner, lane):
    """Each filter by itself."""
    made = await ended(connection, owner, lane, n=3)
    await record(connection, await claim(connection, endpoint(owner), most=1))
    await aged(connection, made[1:2], 3)
    (delivered,) = await listed(connection, owner, statuses=("delivered",))
    assert delivered.parent_id == made[0]
    then = datetime.now(UTC) - timedelta(hours=1)
    (old,) = await listed(connection, owner, until=then)
    assert old.parent_id == made[1]
    assert len(await listed(connection, owner, since=then)) == 2


async def test_a_delivery_says_when_it_is_due_unless_it_is_attempted(connection, owner, lane):
    """Its next attempt is none while one is under way, nor once it is over."""
    await ended(connection, owner, lane)
    (row,) = await listed(connection, owner)
    assert row.due_at is not None
    assert row.plan.webhook is not None
    assert row.plan.webhook.url == telling.URL
    claimed = await claim(connection, endpoint(owner))
    (row,) = await listed(connection, owner)
    assert (row.due_at, row.attempts) == (None, 1)
    await record(connection, claimed)
    found = await deliveries.one(connection, key_id=owner.id, event=event(claimed[0]))
    assert found is not None
    assert (found.status, found.due_at, found.last_code) == ("delivered", None, 200)
    unknown = EventId(ids.new(), 1, 1)
    assert await deliveries.one(connection, key_id=owner.id, event=unknown) is None


async def test_a_delivery_under_way_can_be_erased(connection, connect, owner, lane):
    """Its attempt finds nothing to record."""
    (parent,) = await ended(connection, owner, lane)
    claimed = await claim(connection, endpoint(owner))
    async with connection.transaction():
        await steering.erase(connection, key_id=owner.id, parent=parent)
    assert await record(connection, claimed) == 0


async def test_claims_pass_over_what_is_being_changed(connection, connect, owner, lane):
    """A deliverer waits for nobody: what is locked is left to a later step."""
    first, second = await ended(connection, owner, lane, n=2)
    other = await connect()
    await connection.execute("SET lock_timeout = '2s'")
    async with other.transaction():
        lock = "SELECT 1 FROM delivery WHERE parent_id = %s FOR UPDATE"
        await other.execute(lock, [first])
        orders = [Order(endpoint(owner), again=False, most=9)]
        (one,) = await deliveries.claim(connection, orders, token=1, most_bytes=1)
        assert one.parent_id == second


async def test_a_claim_brings_so_many_bytes_of_captures(connection, owner, lane):
    """And one capture beyond, however large, so that each is brought at last."""
    await ended(connection, owner, lane, n=7)
    await connection.execute("UPDATE child SET result = to_json(repeat('x', 998))")
    to, taken = endpoint(owner), []
    for brought in (3, 1, 3):
        some = await claim(connection, to, most_bytes=3_000 if brought > 1 else 1)
        assert [len(one.child.capture) for one in some] == [1_000] * brought
        taken += map(event, some)
    assert await claim(connection, to) == []
    assert len(set(taken)) == 7


async def test_nothing_ordered_claims_nothing(connection):
    """Nor does nothing attempted record anything."""
    assert await deliveries.claim(connection, [], token=1, most_bytes=1) == []
    assert await deliveries.record(connection, []) == 0


async def test_ids_of_deliveries_are_read_back(connection):
    """The public id names parent, ordinal and run, and nothing else is one."""
    made = EventId(UUID(int=2**128 - 1), 10_000, 2**31 - 1)
    for one in (made, EventId(ids.new(), 0, 1)):
        assert ids.read_delivery(ids.delivery_text(one)) == one
        assert ids.event_text(one).removeprefix("evt_") == ids.delivery_text(one)[4:]
    text = ids.delivery_text(made)
    for wrong in (text[:-1], text + "0", text.upper(), "dlv_" + "w" * 36, text[:-1] + "v", "evt_"):
        assert ids.read_delivery(wrong) is None, wrong
