"""Deliveries over HTTP: listed, and sent again."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import stewardship
from orchestrator.api import deliveries as pages
from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from orchestrator.store import children, deliveries
from orchestrator.store.children import Completed, Failed
from orchestrator.store.deliveries import Attempted, Place
from tests import factories
from tests.workers.database import pool_of

pytestmark = pytest.mark.anyio

PATH = "/v1/webhooks/deliveries"
URL = "https://example.com/hooks?job=1"
BODY = {
    "query": "shoes",
    "surfaces": ["chatgpt"],
    "regions": ["US", {"country": "GB", "city": "London"}],
    "webhook": {"url": URL},
}


async def submit(client, **fields) -> str:
    answer = await client.post("/v1/search", json=BODY | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["jobId"]


async def ended(client, worker, **fields) -> str:
    """A job of which one cell is completed and one failed: three events are in the outbox."""
    job = await submit(client, **fields)
    first, *rest = await worker.claim()
    broken = [Failed(fence, factories.FAILURE, 503) for fence in rest]
    await children.settle(worker.connection, [Completed(first, factories.CAPTURE, 200), *broken])
    return job


async def become(connection, status, code=None, **of):
    """Have the deliveries of this ordinal, or all, be as an attempt that ended so leaves them."""
    await connection.execute(
        "UPDATE delivery SET status = %(status)s, last_code = %(code)s, claim = NULL,"
        " attempts = attempts + 1, due_at = now() + interval '1 minute',"
        " delivered_at = CASE WHEN %(status)s = 'delivered' THEN now() END"
        " WHERE ordinal = coalesce(%(ordinal)s, ordinal)",
        {"status": status, "code": code, "ordinal": of.get("ordinal")},
    )


async def begin(connection):
    """Have all that is pending be attempted at the moment."""
    await connection.execute("UPDATE delivery SET attempts = attempts + 1, claim = 1")


async def found(client, **query) -> list[dict]:
    """The deliveries of every page of a list, in order."""
    met: list[dict] = []
    while True:
        answer = await client.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        met += page["deliveries"]
        if page["nextCursor"] is None:
            return met
        query["cursor"] = page["nextCursor"]


async def named(client, **query) -> list[str]:
    return [one["id"] for one in await found(client, **query)]


async def moved(connection, job, **ago):
    """The events of a job as if they had come so long ago."""
    await connection.execute(
        "UPDATE delivery SET created_at = created_at - %s WHERE parent_id = %s",
        [timedelta(**ago), ids.read(job).parent],
    )


async def test_a_delivery_says_what_is_told_and_how_that_goes(client, worker, connection):
    """Of a parent and of its cells, by their public ids; null where there is nothing to say."""
    job = await ended(client, worker)
    told = {one["jobId"]: one for one in await found(client)}
    assert {name: one["type"] for name, one in told.items()} == {
        job: "parent.partial",
        f"{job}.chatgpt.us": "job.completed",
        f"{job}.chatgpt.gb_london": "job.failed",
    }
    whole = told[job]
    event = EventId(ids.read(job).parent, 0, 1)
    assert datetime.fromisoformat(whole.pop("createdAt")) <= datetime.now(UTC)
    assert datetime.fromisoformat(whole.pop("nextAttemptAt")) <= datetime.now(UTC)
    assert whole == {
        "id": ids.delivery_text(event),
        "eventId": ids.event_text(event),
        "type": "parent.partial",
        "jobId": job,
        "url": URL,
        "status": "pending",
        "attempts": 0,
        "lastCode": None,
        "deliveredAt": None,
    }


async def test_a_delivery_follows_its_attempts(client, worker, connection):
    """Under way nothing is due; then the code of the reply and when the next is; then its end."""
    await ended(client, worker, webhook={"url": URL, "events": ["parent"]})
    await begin(connection)
    (one,) = await found(client)
    assert (one["status"], one["attempts"], one["nextAttemptAt"]) == ("pending", 1, None)
    await become(connection, "pending", 503)
    (one,) = await found(client)
    assert (one["status"], one["attempts"], one["lastCode"]) == ("pending", 2, 503)
    assert datetime.fromisoformat(one["nextAttemptAt"]) > datetime.now(UTC)
    await become(connection, "delivered", 204)
    (one,) = await found(client)
    assert (one["status"], one["attempts"], one["lastCode"]) == ("delivered", 3, 204)
    assert one["nextAttemptAt"] is None
    assert datetime.fromisoformat(one["deliveredAt"]) <= datetime.now(UTC)


async def test_pages_are_newest_first_and_meet_each_delivery_once(client, worker):
    """Whatever the size of a page; the last says null, and what comes meanwhile moves nothing."""
    jobs = [await ended(client, worker) for _ in range(3)]
    every = await found(client)
    assert len({one["id"] for one in every}) == len(every) == 9
    assert [one["jobId"].partition(".")[0] for one in every] == [
        j for j in jobs[::-1] for _ in "123"
    ]
    for limit in (1, 2, 3, 8, 9, 100):
        assert await found(client, limit=limit) == every
    first = (await client.get(PATH, params={"limit": 4})).json()
    await ended(client, worker)
    rest = await found(client, cursor=first["nextCursor"])
    assert first["deliveries"] + rest == every


async def test_every_filter(client, worker, connection):
    """By status and by when the event came, alone and together; what is not known is ignored."""
    old, mid, _ = [await ended(client, worker) for _ in range(3)]
    await moved(connection, old, hours=2)
    await moved(connection, mid, hours=1)
    await become(connection, "dead", 500, ordinal=0)
    parents = [one["id"] for one in await found(client) if one["type"] == "parent.partial"]
    since = (datetime.now(UTC) - timedelta(minutes=90)).isoformat()
    until = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    every = await named(client)
    assert await named(client, status="dead", limit=1) == parents
    assert await named(client, status="pending") == [one for one in every if one not in parents]
    assert await named(client, status="delivered") == []
    assert await named(client, createdAfter=since) == every[:6]
    assert await named(client, createdBefore=since) == every[6:]
    assert await named(client, createdAfter=since, createdBefore=until, limit=2) == every[3:6]
    assert await named(client, createdBefore=since, status="dead") == parents[2:]
    assert await named(client, unknown="ignored") == every
    exact = (await found(client))[3]["createdAt"].replace("Z", " 00:00")
    assert await named(client, createdAfter=exact) == every[:6], "a plus that came as a space"
    assert await named(client, createdAfter=until, createdBefore=since) == []


BAD = {
    "status": ["", "DEAD", "failed", "dead,pending"],
    "limit": ["", "0", "101", "x"],
    "cursor": [
        "",
        "x",
        "é",
        "A" * 42,
        "ZA",
        pages.cursor(Place(pages.EPOCH, ids.new(), 1, 1))[:-1],
    ],
    "createdAfter": ["", "today", "2026-01-05", "2026-02-30T00:00:00Z"],
    "createdBefore": ["1", "0000-01-01T00:00:00Z"],
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_value_has_its_place(client, name):
    """Each is a 400 that says which parameter, and what is allowed."""
    for value in BAD[name]:
        answer = await client.get(PATH, params={name: value})
        assert answer.status_code == 400, value
        faults = answer.json()["error"]["details"]
        assert [fault["path"] for fault in faults] == [f"?{name}"], value
        assert faults[0]["message"]


async def test_all_bad_values_are_told_at_once(client):
    """Every fault of a list is in one answer."""
    query = "status=x&limit=x&cursor=x&createdAfter=x&createdBefore=x"
    answer = await client.get(f"{PATH}?{query}")
    told = [fault["path"] for fault in answer.json()["error"]["details"]]
    assert sorted(told) == ["?createdAfter", "?createdBefore", "?cursor", "?limit", "?status"]
    answer = await client.get(f"{PATH}?createdAfter=x&createdBefore=x")
    assert len(answer.json()["error"]["details"]) == 2


@pytest.mark.parametrize(
    "place",
    [
        Place(pages.EPOCH, ids.new(), 0, 1),
        Place(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), ids.new(), -(2**15), -(2**31)),
        Place(datetime(2026, 1, 5, 9, 30, 0, 1, UTC), ids.new(), 2**15 - 1, 2**31 - 1),
    ],
)
async def test_a_cursor_stands_for_any_place(client, place):
    """To the microsecond and to the last number PostgreSQL has: it is read, whoever made it."""
    asked = pages.parse({"cursor": pages.cursor(place)})
    assert asked.before == place
    assert (await client.get(PATH, params={"cursor": pages.cursor(place)})).status_code == 200


async def test_no_text_is_more_than_a_wrong_cursor(client):
    """One of the right length with any time in it is a place or a fault."""
    for stamp in (b"\xff" * 8, b"\x7f" + b"\xff" * 7):
        raw = pages._PLACE.pack(b"d", 0, bytes(16), 0, 0)
        made = raw[:1] + stamp + raw[9:]
        text = base64.urlsafe_b64encode(made).decode().rstrip("=")
        assert (await client.get(PATH, params={"cursor": text})).status_code == 400


async def test_a_list_is_the_keys_own(client, worker, opened, issue):
    """Nobody sees another's deliveries, nor by another's cursor, nor sends them again."""
    await ended(client, worker)
    page = (await client.get(f"{PATH}?limit=1")).json()
    (one,) = page["deliveries"]
    async with opened((await issue()).secret) as stranger:
        assert await found(stranger) == await found(stranger, cursor=page["nextCursor"]) == []
        assert (await stranger.post(f"{PATH}/{one['id']}/replay")).status_code == 404
        assert (await replay_range(stranger)).json() == {"matched": 0}
    assert len(await found(client)) == 3


@pytest.mark.parametrize(("status", "code"), [("delivered", 200), ("dead", 500), ("pending", 503)])
async def test_any_delivery_is_sent_again(client, worker, connection, status, code):
    """Due at once under the same ids with all its attempts before it, whatever became of it."""
    await ended(client, worker, webhook={"url": URL, "events": ["parent"]})
    await become(connection, status, code)
    (before,) = await found(client)
    assert before["status"] == status
    answer = await client.post(f"{PATH}/{before['id']}/replay")
    assert answer.status_code == 202
    (after,) = await found(client)
    assert answer.json() == after
    same = ("id", "eventId", "type", "jobId", "url", "createdAt", "lastCode")
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
    assert (after["status"], after["attempts"], after["deliveredAt"]) == ("pending", 0, None)
    assert datetime.fromisoformat(after["nextAttemptAt"]) <= datetime.now(UTC)


async def test_what_is_attempted_while_it_is_sent_again_comes_too_late(client, worker, connection):
    """The attempt under way is not recorded; the delivery is due."""
    await ended(client, worker, webhook={"url": URL, "events": ["parent"]})
    await begin(connection)
    (one,) = await found(client)
    assert (await client.post(f"{PATH}/{one['id']}/replay")).json()["attempts"] == 0
    event = ids.read_delivery(one["id"])
    late = Attempted(event.parent, event.run, event.ordinal, 1, "delivered", 200)
    assert await deliveries.record(connection, [late]) == 0
    assert [one["status"] for one in await found(client)] == ["pending"]


async def test_a_delivery_there_is_not_is_not_found(client, worker):
    """Unknown, malformed, of a job, beyond all numbers: 404; and a write takes no parameters."""
    job = await ended(client, worker)
    parent = ids.read(job).parent
    for name in (
        *("x", job, "dlv_", "dlv_" + "0" * 36, "evt_" + "0" * 36),
        ids.delivery_text(EventId(parent, 3, 1)),
        ids.delivery_text(EventId(parent, 0, 2)),
        ids.delivery_text(EventId(parent, 2**16 - 1, 2**32 - 1)),
    ):
        answer = await client.post(f"{PATH}/{name}/replay")
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "NOT_FOUND"
    (one, *_) = await found(client)
    answer = await client.post(f"{PATH}/{one['id']}/replay?now=1")
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["?now"]


async def replay_range(client, since=None, until=None, **fields):
    since = since or datetime.now(UTC) - timedelta(days=1)
    until = until or datetime.now(UTC) + timedelta(days=1)
    body = {"from": since.isoformat(), "to": until.isoformat(), **fields}
    return await client.post(f"{PATH}/replay", json=body)


async def carried_out(database) -> int:
    """Do what is asked; how many batches that took."""
    batches = 0
    async with pool_of(database) as pool:
        while await stewardship.replay(pool):
            batches += 1
    return batches


async def test_all_of_a_time_are_sent_again(client, worker, connection, database):
    """From its beginning on and before its end; each once, whatever became of it."""
    old, mid, _ = [await ended(client, worker) for _ in range(3)]
    await moved(connection, old, hours=2)
    await moved(connection, mid, hours=1)
    await become(connection, "delivered", 200)
    await become(connection, "dead", 500, ordinal=1)
    (told,) = [one["createdAt"] for one in await found(client) if one["jobId"] == mid]
    since = datetime.fromisoformat(told)
    answer = await replay_range(client, since, since + timedelta(minutes=30))
    assert (answer.status_code, answer.json()) == (202, {"matched": 3})
    await carried_out(database)
    pending = await found(client, status="pending")
    assert {one["jobId"].partition(".")[0] for one in pending} == {mid}
    assert {one["attempts"] for one in pending} == {0}
    answer = await replay_range(client, since - timedelta(hours=9), since)
    assert answer.json() == {"matched": 3}
    assert (await replay_range(client)).json() == {"matched": 9}
    await carried_out(database)
    assert len(await found(client, status="pending")) == 9


@pytest.mark.parametrize("status", ["pending", "delivered", "dead"])
async def test_only_those_of_a_status_are_sent_again(client, worker, connection, database, status):
    """The others stay as they are."""
    await ended(client, worker)
    for ordinal, other in enumerate(("pending", "delivered", "dead")):
        await become(connection, other, 500, ordinal=ordinal)
    assert (await replay_range(client, status=status)).json() == {"matched": 1}
    await carried_out(database)
    assert sorted(one["attempts"] for one in await found(client)) == [0, 1, 1]


async def test_however_many_they_are_they_are_sent_again_in_batches(
    client, worker, connection, database
):
    """More than one transaction takes, each once, and none in the call that asks for it."""
    job = await ended(client, worker, webhook={"url": URL, "events": ["parent"]})
    await connection.execute(
        "INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state, counts)"
        " SELECT parent_id, n, 0, key_id, endpoint, state, counts"
        " FROM delivery, generate_series(2, 2500) n WHERE parent_id = %s",
        [ids.read(job).parent],
    )
    await connection.execute("UPDATE delivery SET status = 'dead', attempts = 7 WHERE run % 2 = 0")
    assert (await replay_range(client)).json() == {"matched": 2500}
    assert len(await found(client, status="dead")) == 1250
    assert await carried_out(database) > 5
    left = "SELECT count(*) FROM delivery WHERE status <> 'pending' OR attempts > 0"
    assert await factories.scalar(connection, left) == 0


FROM, TO = "2026-01-05T09:00:00Z", "2026-01-05T10:00:00+01:00"


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ({}, ["from", "to"]),
        ({"from": FROM}, ["to"]),
        ({"from": 5, "to": None}, ["from", "to"]),
        ({"from": "yesterday", "to": "2026-02-30T00:00:00Z"}, ["from", "to"]),
        ({"from": FROM, "to": FROM}, ["to"]),
        ({"from": FROM, "to": TO}, ["to"]),
        ({"from": FROM, "to": TO, "status": "failed", "x": 1}, ["status", "to", "x"]),
        ({"from": FROM, "to": "9999-12-31T23:59:59-23:59", "status": ["dead"]}, ["status"]),
        ([], [""]),
    ],
)
async def test_all_that_is_wrong_with_a_range_is_told(client, wrong, paths):
    """Each fault at its place; the end has to be after the beginning, wherever the clocks are."""
    answer = await client.post(f"{PATH}/replay?now=1", json=wrong)
    assert answer.status_code == 400
    told = sorted(fault["path"] for fault in answer.json()["error"]["details"])
    assert told == sorted(["?now", *paths])


async def test_a_range_has_no_bounds_of_its_own(client, worker):
    """From the first moment there is to the last."""
    await ended(client, worker)
    body = {"from": "0001-01-01T00:00:00+23:59", "to": "9999-12-31T23:59:59.999999999-23:59"}
    answer = await client.post(f"{PATH}/replay", json=body)
    assert (answer.status_code, answer.json()) == (202, {"matched": 3})
    query = {"createdAfter": body["from"], "createdBefore": body["to"]}
    assert len(await found(client, **query)) == 3


async def test_a_range_is_json(client):
    """Something else is a 415, nothing at all a 400."""
    answer = await client.post(f"{PATH}/replay", content="x", headers={"Content-Type": "text/x"})
    assert answer.status_code == 415
    assert (await client.post(f"{PATH}/replay")).status_code == 400
