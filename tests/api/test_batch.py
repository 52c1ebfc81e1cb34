"""Many submissions in one request."""

import asyncio
import json
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from admission import reservations
from orchestrator.api import batching, regions
from orchestrator.api.app import create_app
from orchestrator.domain import ids
from orchestrator.store import surfaces
from tests import factories
from tests.api.conftest import CHATGPT

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"]}
REPLAYED = "Idempotent-Replayed"
TRIO = ("X-Concurrency-Limit", "X-Concurrency-Running", "X-Concurrency-Queued")


def numbered(n, **fields):
    return [{**BODY, "query": f"shoes {number}", **fields} for number in range(n)]


async def send(client, items, query="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(f"/v1/search/batch{query}", json={"items": items}, headers=named)


async def count(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM parent")


def codes(answer):
    """The code of each item, None of those accepted."""
    return [item["error"] and item["error"]["code"] for item in answer.json()["items"]]


@pytest.fixture
async def small(registered, issue, opened):
    """A client whose queue has room for three."""
    async with opened((await issue(queue_capacity=3)).secret) as made:
        yield made


async def test_every_item_is_a_job_of_its_own(client, connection):
    """200 with each in order: its index, its job, its children's ids; stored as if sent alone."""
    items = [{**BODY, "regions": ["US", "GB"]}, {"prompt": "b", "surfaces": ["site"]}]
    answer = await send(client, items)
    assert answer.status_code == 200
    first, second = answer.json()["items"]
    one, other = first["job"]["id"], second["job"]["id"]
    assert first == {
        "index": 0,
        "status": "accepted",
        "job": {
            "id": one,
            "status": "queued",
            "children": [f"{one}.chatgpt.us", f"{one}.chatgpt.gb"],
        },
        "error": None,
    }
    assert (second["index"], second["job"]["children"]) == (1, [f"{other}.site.us"])
    assert not {"Retry-After", REPLAYED, *TRIO} & {*answer.headers}
    for job, query in ((one, "shoes"), (other, "b")):
        assert (await client.get(f"/v1/jobs/{job}")).json()["job"]["query"] == query


async def test_what_is_wrong_with_an_item_is_its_own_affair(client, connection):
    """Each rejected item has the native error, with the request's id; the others are stored."""
    items = [BODY, {**BODY, "priority": 11}, {**BODY, "surfaces": ["altavista"]}, 7, "x", None, []]
    items += [{**BODY, "surfaces": ["site"], "regions": ["FR"]}, {**BODY, "query": "a\0"}, BODY]
    answer = await send(client, items, X_Request_ID="night-1")
    assert answer.status_code == 200
    wrong = "VALIDATION_FAILED"
    assert codes(answer) == [
        *(None, wrong, "UNSUPPORTED_SURFACE", wrong, wrong, wrong, wrong),
        *("UNSUPPORTED_REGION", wrong, None),
    ]
    item = answer.json()["items"][1]
    assert (item["index"], item["status"], item["job"]) == (1, "rejected", None)
    assert item["error"].pop("message").startswith("The request has 1 fault")
    assert item["error"].pop("timestamp").endswith("Z")
    assert item["error"] == {
        "code": wrong,
        "status": 400,
        "requestId": "night-1",
        "details": [{"path": "priority", "message": "At most 10."}],
    }
    assert await count(connection) == 2


async def test_a_batch_of_nothing_but_faults_is_answered_like_any(client, connection):
    """200: every item says what is wrong with it."""
    answer = await send(client, [{}, 1])
    assert (answer.status_code, await count(connection)) == (200, 0)
    assert [item["status"] for item in answer.json()["items"]] == ["rejected"] * 2


async def test_items_beyond_the_room_say_when_to_come_back(small, connection):
    """As many as fit are stored; the others are refused each by itself, and so is the response."""
    answer = await send(small, numbered(5))
    assert answer.status_code == 200
    assert codes(answer) == [None] * 3 + ["QUEUE_CAPACITY_EXCEEDED"] * 2
    fourth, last = (item["error"]["details"] for item in answer.json()["items"][3:])
    assert (fourth["limit"], fourth["current"], fourth["requested"]) == (3, 3, 1)
    assert (fourth["watch"], fourth["retryAfterSeconds"]) == ("admissionQueue", 15)
    assert answer.headers["Retry-After"] == str(last["retryAfterSeconds"]) == "30"
    assert [answer.headers[name] for name in TRIO] == ["8", "0", "3"]
    assert await count(connection) == 3


async def test_an_atomic_batch_with_a_fault_stores_nothing(client, connection):
    """400 with every fault at its place in the batch; one code when all have it."""
    items = [BODY, {**BODY, "priority": 11}, 7, {**BODY, "surfaces": ["altavista"]}]
    answer = await send(client, items, "?atomic=true")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_FAILED"
    assert [fault["path"] for fault in error["details"]] == [
        "items[1].priority",
        "items[2]",
        "items[3].surfaces[0]",
    ]
    unknown = await send(client, [BODY, {**BODY, "surfaces": ["altavista"]}], "?atomic=true")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "UNSUPPORTED_SURFACE")
    large = {**BODY, "padding": "x" * 256 * 1024}
    large = await send(client, [BODY, large], "?atomic=true")
    assert (large.status_code, large.json()["error"]["code"]) == (400, "VALIDATION_FAILED")
    assert large.json()["error"]["details"][0]["path"] == "items[1]"
    assert await count(connection) == 0


async def test_an_atomic_batch_without_room_stores_nothing(small, connection):
    """429 that says how many places it needs; as many as there are, it is taken whole."""
    assert (await send(small, numbered(1))).status_code == 200
    answer = await send(small, numbered(3), "?atomic=true")
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["code"] == "QUEUE_CAPACITY_EXCEEDED"
    details = error["details"]
    assert (details["limit"], details["current"], details["requested"]) == (3, 1, 3)
    assert answer.headers["Retry-After"] == str(details["retryAfterSeconds"])
    assert [answer.headers[name] for name in TRIO] == ["8", "0", "1"]
    assert await count(connection) == 1
    whole = await send(small, numbered(2), "?atomic=true")
    assert (whole.status_code, codes(whole)) == (200, [None, None])


async def test_an_atomic_batch_that_can_never_fit_is_a_400(small, connection):
    """More places than the queue has: coming back would not help."""
    answer = await send(small, numbered(4), "?atomic=true")
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault == {
        "path": "items",
        "message": "4 places; the admission queue of this API key has 3.",
    }
    assert "Retry-After" not in answer.headers
    assert await count(connection) == 0


async def test_an_atomic_batch_with_a_conflict_or_a_price_stores_nothing(client, connection):
    """409 and 403 name the item at fault."""
    await send(client, [{**BODY, "idempotencyKey": "k"}])
    items = [*numbered(2), {**BODY, "query": "other", "idempotencyKey": "k"}]
    answer = await send(client, items, "?atomic=true")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert answer.json()["error"]["message"].startswith("items[2]: ")
    assert await count(connection) == 1


async def test_prices_are_each_items_own(registered, connection, client):
    """An item above its maxCredits is refused alone, and refuses an atomic batch."""
    await surfaces.register(connection, [msgspec.structs.replace(CHATGPT, credits=5)])
    items = [{**BODY, "maxCredits": 5}, {**BODY, "maxCredits": 4}]
    answer = await send(client, items, "?atomic=true")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "INSUFFICIENT_CREDITS")
    assert answer.json()["error"]["message"].startswith("items[1]: ")
    assert await count(connection) == 0
    assert codes(await send(client, items)) == [None, "INSUFFICIENT_CREDITS"]


async def test_a_batch_sent_again_is_the_same_jobs(small, connection):
    """The header's key and the place name an item; a replay needs no room, atomic or not."""
    first = await send(small, numbered(3), Idempotency_Key="night 1")
    assert REPLAYED not in first.headers
    for query in ("", "?atomic=true"):
        again = await send(small, numbered(3), query, Idempotency_Key="night 1")
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers[REPLAYED] == "true"
    alone = await small.post(
        "/v1/search", json=numbered(2)[1], headers={"Idempotency-Key": "night 1#1"}
    )
    assert alone.json()["jobId"] == first.json()["items"][1]["job"]["id"]
    assert await count(connection) == 3


async def test_an_item_with_a_key_of_its_own_keeps_it(client, connection):
    """The batch's key is for the others."""
    items = [{**BODY, "idempotencyKey": "mine"}, BODY]
    await send(client, items, Idempotency_Key="k")
    named = "SELECT array_agg(idempotency_key ORDER BY id) FROM parent"
    assert await factories.scalar(connection, named) == ["mine", "k#1"]


@pytest.mark.parametrize("query", ["", "?atomic=true"])
async def test_a_key_twice_in_a_batch_is_one_job(client, connection, query):
    """The second is a replay of the first, as if it had been sent after it."""
    items = [{**BODY, "idempotencyKey": "k"}] * 2 + numbered(1)
    answer = await send(client, items, query)
    first, second, third = (item["job"]["id"] for item in answer.json()["items"])
    assert first == second != third
    assert REPLAYED not in answer.headers
    assert await count(connection) == 2


async def test_a_key_twice_for_two_things_is_a_conflict(client, connection):
    """The first stands; the second is told which job it would have been."""
    items = [{**BODY, "idempotencyKey": "k"}, {**BODY, "idempotencyKey": "k", "priority": 9}]
    answer = await send(client, items)
    assert codes(answer) == [None, "IDEMPOTENCY_CONFLICT"]
    first, second = answer.json()["items"]
    assert second["error"]["details"] == {"jobId": first["job"]["id"]}
    assert (await send(client, items, "?atomic=true")).status_code == 409
    assert await count(connection) == 1


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("?mode=sync", "?mode"),
        ("?view=flat", "?view"),
        ("?atomic=yes", "?atomic"),
        ("?atomic=", "?atomic"),
        ("?dry=1&atomic=true", "?dry"),
    ],
)
async def test_what_stands_beside_a_batch_is_checked(client, connection, query, path):
    """Nobody waits for a batch, and unknown parameters are refused."""
    answer = await send(client, [BODY], query)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [path]
    assert await count(connection) == 0


async def test_a_batch_is_async_whatever_is_preferred(client):
    """`mode=async` says so, `atomic=false` is the default, and `Prefer` changes nothing."""
    answer = await send(client, [BODY], "?mode=async&atomic=false", Prefer="wait=9")
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"", [""]),
        (b"{", [""]),
        (b"[]", [""]),
        (b"[" * 100_000, [""]),
        (b'{"\\ud800": 1}', ["\0", "items"]),
        (b"{}", ["items"]),
        (b'{"items": []}', ["items"]),
        (b'{"items": {}}', ["items"]),
        (b'{"items": null, "item": 1}', ["item", "items"]),
        (b'{"items": [' + b"0," * 500 + b"0]}", ["items"]),
        (b'{"items": [{}], "atomic": true}', ["atomic"]),
        (b'{"items": [{"query": "\xff"}]}', []),
        (b'{"items": [{"query": "\\ud800"}]}', []),
        (b'{"items": [{"query": "\\\\ud800 \\ud83d\\ude00 \\udc00"}]}', []),
        (b'{"items": [{"query": "\\ud800"}}', [""]),
        (b'{"items": [[' + b"[" * 50_000 + b"]]}", [""]),
    ],
)
async def test_the_frame_of_a_batch_is_an_object_with_1_to_500_items(client, body, paths):
    """What is wrong around the items refuses the request, what is wrong in one only that."""
    answer = await client.post("/v1/search/batch", content=body)
    assert answer.status_code == (400 if paths else 200)
    if paths:
        assert [fault["path"] for fault in answer.json()["error"]["details"]] == paths
    else:
        assert codes(answer) == ["VALIDATION_FAILED"]


async def test_all_faults_around_the_items_are_said_at_once(client):
    """The query, the header and the body."""
    answer = await client.post(
        "/v1/search/batch?dry=1", json={"item": []}, headers={"Idempotency-Key": "a\tb"}
    )
    paths = [fault["path"] for fault in answer.json()["error"]["details"]]
    assert paths == ["Idempotency-Key", "?dry", "item", "items"]


async def test_five_hundred_items_are_one_request(client, connection):
    """The most there may be, for one token."""
    before = int((await client.get("/v1/key")).headers["X-RateLimit-Remaining"])
    answer = await send(client, numbered(500))
    assert codes(answer) == [None] * 500
    assert len({item["job"]["id"] for item in answer.json()["items"]}) == 500
    assert before - int(answer.headers["X-RateLimit-Remaining"]) <= 1
    assert await count(connection) == 500


async def test_a_batch_may_have_16_mib_and_an_item_256_kib(client, connection):
    """A larger batch is a 413 before it is read to its end; a larger item is refused alone."""
    space = b" " * (batching.LARGEST_BYTES - 200)
    body = json.dumps({"items": [BODY]}).encode() + space
    assert (await client.post("/v1/search/batch", content=body)).status_code == 200
    for content in (body + b" " * 200, pieces(body + b" " * 200)):
        answer = await client.post("/v1/search/batch", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    answer = await send(client, [{**BODY, "padding": "x" * 256 * 1024}, BODY])
    assert codes(answer) == ["PAYLOAD_TOO_LARGE", None]
    assert await count(connection) == 2


async def pieces(content):
    """The same without its length told before."""
    for start in range(0, len(content), 1 << 20):
        yield content[start : start + (1 << 20)]


async def test_beyond_fifty_thousand_children_none_is_named(
    registered, connection, issue, opened, settings
):
    """The answer stays small: ids of children follow from the parent's."""
    more = [msgspec.structs.replace(CHATGPT, name=name) for name in ("one", "two", "three")]
    await surfaces.register(connection, more)
    wide = {**BODY, "surfaces": ["chatgpt", "one", "two", "three"], "regions": COUNTRIES}
    async with opened((await issue()).secret) as client:
        named = await send(client, [wide] * 250)
        nameless = await send(client, [wide] * 250 + [BODY])
    assert {len(item["job"]["children"]) for item in named.json()["items"]} == {200}
    assert {item["job"]["children"] for item in nameless.json()["items"]} == {None}


COUNTRIES = sorted(regions.countries())[:50]


async def test_a_batch_draws_on_a_reservation_first(small, connection):
    """Its places are taken before the queue's, and the answer says how many are left."""
    key = await factories.scalar(connection, "SELECT max(id) FROM api_key")
    made = ids.new()
    await reservations.make(connection, made, key_id=key, places=2, seconds=60)
    named = {"X_Reservation": ids.reservation_text(made)}
    assert (await send(small, numbered(2), "?atomic=true")).status_code == 429
    full = await send(small, numbered(4), "?atomic=true", **named)
    assert (full.status_code, full.headers["X-Reservation-Remaining"]) == (400, "2")
    alone = await small.post(
        "/v1/search", json=BODY, headers={"X-Reservation": ids.reservation_text(made)}
    )
    assert (alone.status_code, alone.headers["X-Reservation-Remaining"]) == (202, "1")
    answer = await send(small, numbered(3), **named)
    assert codes(answer) == [None, None, "QUEUE_CAPACITY_EXCEEDED"]
    assert answer.headers["X-Reservation-Remaining"] == "0"
    spent = await send(small, numbered(1), **named)
    assert "X-Reservation-Remaining" not in spent.headers


@pytest.mark.parametrize("name", ["", "res_x", "job_06h00r4h1trtr7pjt7b69j1f04", "\u00e9"])
async def test_a_reservation_nobody_has_is_ignored(client, name):
    """Unknown and malformed ones change nothing."""
    answer = await send(client, [BODY], X_Reservation=name.encode())
    assert codes(answer) == [None]
    assert "X-Reservation-Remaining" not in answer.headers


async def test_batches_over_two_processes_never_pass_the_capacity(
    registered, settings, issue, app, connection
):
    """Of many at once exactly what fits is stored, and what is atomic whole or not at all."""
    secret = (await issue(queue_capacity=50)).secret
    other = create_app(settings)
    async with other.lifespan(), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(one, secret)) for one in (app, other)]
        whole = [
            send(clients[n % 2], numbered(7, group=f"whole-{n}"), "?atomic=true") for n in range(8)
        ]
        each = [send(clients[n % 2], numbered(7)) for n in range(8)]
        answers = await asyncio.gather(
            *(one for pair in zip(whole, each, strict=True) for one in pair)
        )
    taken = sum(codes(answer).count(None) for answer in answers if answer.status_code == 200)
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert taken == await count(connection) == 50
    groups = "SELECT coalesce(array_agg(DISTINCT n), '{7}') FROM (SELECT count(*) AS n FROM parent"
    groups += " WHERE group_id IS NOT NULL GROUP BY group_id) AS counted"
    assert await factories.scalar(connection, groups) == [7]


def connected(app, secret):
    """A client of one process."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://parallax.test",
        headers={"Authorization": f"Bearer {secret}"},
    )
