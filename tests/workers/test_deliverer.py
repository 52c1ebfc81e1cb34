"""Deliveries to receivers as they are: good, down, slow, resetting, redirecting, failing."""

import asyncio
import base64
import socket

import pytest
from psycopg import AsyncConnection
from standardwebhooks import Webhook as Verifier

from orchestrator.domain import ids, webhooks
from orchestrator.domain.webhooks import Webhook
from orchestrator.sealing import Sealer
from orchestrator.store import deliveries, webhook_secrets
from orchestrator.store.deliveries import Attempted
from tests import factories
from tests.store import telling
from tests.waiting import eventually
from tests.workers import postal
from tests.workers.database import away, pool_of
from tests.workers.postal import Office, Receiver
from workers import retry
from workers.endpoints import Endpoints
from workers.letters import Letters
from workers.outgoing import Outgoing
from workers.recording import Recorder
from workers.roles import deliverer as roles_deliverer

pytestmark = pytest.mark.anyio
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "another secret, as text"
FAILED = ("pending", 1, None, False)


@pytest.fixture
async def office(connection, database, serve):
    """A key, its lane, a receiver, and whoever delivers to it."""
    owner, lane = await factories.key(connection), await factories.lane(connection)
    return Office(connection, database, owner, lane, Receiver(), serve)


@pytest.fixture
def sealer():
    return Sealer(postal.SECRET_KEY)


def cells(url: str, **fields) -> Webhook:
    """A webhook that is told of cells."""
    return Webhook(url=url, events=("job",), **fields)


async def keep(office, sealer, secret: str) -> None:
    """The key has this secret."""
    named = {"key_id": office.owner.id, "sealed": sealer.seal(secret), "expires_at": None}
    async with office.connection.transaction():
        assert await webhook_secrets.make(office.connection, ids.new(), **named)


async def test_what_ended_is_told_as_the_contract_says(office):
    """The child with its Envelope, `raw` left out; the parent with its counts."""
    webhook = Webhook(url=await office.url())
    parent = await office.ended(webhook)
    async with office.delivering():
        assert await office.recorded(attempts=1) == [("delivered", 1, 204, True)] * 2
    bodies = {body["type"]: body for body in office.receiver.bodies}
    child, whole = bodies["job.completed"], bodies["parent.completed"]
    name = ids.text(parent)
    assert child["job"] == {
        "id": f"{name}.chatgpt.us_city-0",
        "surface": "chatgpt",
        "status": "completed",
        "run": 1,
    }
    assert child["result"].keys() == {"job", "provenance", "answer", "evidence"}
    assert child["result"]["answer"]["text"] == "Thé"
    assert child["result"]["job"]["warnings"] == [{"code": "surface_absent", "message": "nothing"}]
    assert child["result"]["job"]["id"] == child["job"]["id"]
    assert child["result"]["job"]["waiting"] is None
    assert whole["job"] == {
        "id": name,
        "status": "completed",
        "run": 1,
        "counts": dict.fromkeys(
            ("waiting", "queued", "processing", "failed", "canceled", "expired"), 0
        )
        | {"completed": 1},
    }
    assert whole["result"] is None
    for headers, body in office.receiver.got:
        assert headers["content-type"] == "application/json"
        assert f'"id":"{headers["webhook-id"]}"'.encode() in body
        assert "webhook-signature" not in headers
        assert "x-parallax-signature" not in headers
    assert set(office.receiver.ids.values()) == {1}


async def test_a_cell_without_a_capture_is_told_with_an_empty_one(office):
    """Its error, its attempts; answer and evidence empty, not null."""
    webhook = cells(await office.url())
    _, (child,) = await telling.working(office.connection, office.owner, [office.lane], webhook)
    await factories.settle(office.connection, factories.failed(child))
    async with office.delivering():
        await office.recorded(attempts=1)
    (body,) = office.receiver.bodies
    assert body["type"] == "job.failed"
    assert body["result"]["job"]["error"]["code"] == factories.FAILURE.code
    assert [one["number"] for one in body["result"]["job"]["attemptLog"]] == [1]
    assert body["result"]["answer"] == {"text": "", "markdown": "", "blocks": []}
    assert body["result"]["evidence"]["sources"] == []


async def test_it_is_signed_with_the_secret_of_the_request(office, sealer):
    """And not with the key's; the library's own verifier takes it."""
    await keep(office, sealer, OTHER)
    webhook = cells(await office.url(), sealed=sealer.seal(SECRET))
    await office.ended(webhook)
    async with office.delivering(sealer=sealer):
        await office.recorded(attempts=1)
    ((headers, body),) = office.receiver.got
    assert Verifier(SECRET).verify(body, headers)["type"] == "job.completed"
    assert len(headers["webhook-signature"].split()) == 1


async def test_all_live_secrets_of_the_key_sign(office, sealer):
    """While they overlap each verifies; one that expired signs no more."""
    await keep(office, sealer, OTHER)
    await office.connection.execute("UPDATE webhook_secret SET expires_at = now() - interval '1 s'")
    await keep(office, sealer, SECRET)
    await keep(office, sealer, OTHER)
    await office.ended(cells(await office.url()))
    async with office.delivering(sealer=sealer):
        await office.recorded(attempts=1)
    ((headers, body),) = office.receiver.got
    for secret in (SECRET, OTHER.encode()):
        assert Verifier(secret).verify(body, headers)
    assert len(headers["webhook-signature"].split()) == 2


async def test_a_secret_nobody_can_open_is_no_reason_to_send_unsigned(office, sealer):
    """The event waits for the key to come back, as for a office.receiver."""
    await office.ended(cells(await office.url(), sealed=sealer.seal(SECRET)))
    async with office.delivering(sealer=Sealer("x" * 32)):
        assert await office.recorded(attempts=1) == [FAILED]
    assert office.receiver.got == []
    await office.later()
    async with office.delivering(sealer=Sealer(f"{'x' * 32},{postal.SECRET_KEY}")):
        assert await office.recorded(attempts=2) == [("delivered", 2, 204, True)]


async def test_one_that_is_down_is_tried_again_and_told_the_same_event(office):
    """Nobody listens, then somebody does."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    await office.ended(cells(f"http://127.0.0.1:{port}/"))
    async with office.delivering():
        assert await office.recorded(attempts=1) == [FAILED]
        due = "SELECT extract(epoch FROM due_at - now())::float8 FROM delivery"
        assert 2 < await factories.scalar(office.connection, due) < 6.1
        server = await asyncio.start_server(_acknowledge, "127.0.0.1", port)
        async with server:
            await office.later()
            assert await office.recorded(attempts=2) == [("delivered", 2, 200, True)]


async def _acknowledge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_one_that_says_nothing_is_tried_again(office, listen):
    """It takes the request and is silent; ten seconds are all it gets, here less."""

    async def silent(reader, writer):
        await reader.read()

    await office.ended(cells(f"http://127.0.0.1:{await listen(silent)}/"))
    async with office.delivering(seconds=0.2):
        assert await office.recorded(attempts=1) == [FAILED]


async def test_one_that_never_ends_its_reply_is_tried_again(office, listen):
    """A drip of headers does not buy time: one deadline is over all."""

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Drip: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    await office.ended(cells(f"http://127.0.0.1:{await listen(drip)}/"))
    async with office.delivering(seconds=0.3):
        assert await office.recorded(attempts=1) == [FAILED]


@pytest.mark.parametrize("body", [b"a", b""])
async def test_a_status_of_2xx_acknowledges_whatever_becomes_of_the_body(office, listen, body):
    """Cut off, or never sent: the receiver has said that it has it."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)
        await writer.drain()
        if not body:
            await reader.read()

    await office.ended(cells(f"http://127.0.0.1:{await listen(answer)}/"))
    async with office.delivering(seconds=0.5):
        assert await office.recorded(attempts=1) == [("delivered", 1, 200, True)]


async def test_one_that_resets_is_tried_again(office, listen):
    """In the middle of the request."""

    async def reset(reader, writer):
        await reader.read(10)
        writer.transport.abort()

    await office.ended(cells(f"http://127.0.0.1:{await listen(reset)}/"))
    async with office.delivering():
        assert await office.recorded(attempts=1) == [FAILED]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(office, status):
    """Least of all to an address that nobody could have named."""
    private = Receiver()
    office.receiver.status, office.receiver.headers = (
        status,
        {"Location": await office.url(private)},
    )
    await office.ended(cells(await office.url()))
    async with office.delivering():
        assert await office.recorded(attempts=1) == [("pending", 1, status, False)]
    assert private.got == []


async def test_an_address_that_is_not_open_is_never_called(office):
    """Whatever was let in once: without its network in PARALLAX_ALLOW_NETWORKS nothing is sent."""
    await office.ended(cells(await office.url()))
    async with office.delivering(allowed=()):
        assert await office.recorded(attempts=1) == [FAILED]
    assert office.receiver.got == []


async def test_one_that_fails_for_hours_is_given_up_and_can_be_replayed(office):
    """Seven attempts of one event, then it is kept as dead."""
    office.receiver.status = 500
    await office.ended(cells(await office.url()))
    most = len(retry.DELIVERY_SECONDS) + 1
    async with office.delivering():
        for attempt in range(1, most):
            assert await office.recorded(attempts=attempt) == [("pending", attempt, 500, False)]
            due = "SELECT extract(epoch FROM due_at - now())::float8 FROM delivery"
            pause = retry.DELIVERY_SECONDS[attempt - 1]
            assert 0.7 * pause < await factories.scalar(office.connection, due) < 1.21 * pause
            await office.later()
        assert await office.recorded(attempts=most) == [("dead", most, 500, False)]
        assert list(office.receiver.ids.values()) == [most]
        office.receiver.status = 200
        (parent,) = {row[0] for row in await telling.told(office.connection)}
        event = ids.EventId(parent, 1, 1)
        async with office.connection.transaction():
            replay = deliveries.replay(office.connection, key_id=office.owner.id, event=event)
            assert await replay
        assert await office.recorded(attempts=1) == [("delivered", 1, 200, True)]
    assert list(office.receiver.ids.values()) == [most + 1]


async def test_a_retry_after_is_waited_for(office):
    """Who asks for time gets it."""
    office.receiver.status, office.receiver.headers = 503, {"Retry-After": "100"}
    await office.ended(cells(await office.url()))
    async with office.delivering():
        await office.recorded(attempts=1)
    due = "SELECT extract(epoch FROM due_at - now())::float8 FROM delivery"
    assert 90 < await factories.scalar(office.connection, due) <= 100


async def test_dead_endpoints_delay_no_other(office, listen):
    """Forty are silent, with as many events as all places: a new one's are delivered meanwhile."""

    async def silent(reader, writer):
        await reader.read()

    dead = f"http://127.0.0.1:{await listen(silent)}/"
    for n in range(40):
        await office.ended(cells(f"{dead}{n}"), cells=15)
    async with office.delivering(seconds=3600, dies=True) as deliverer:

        async def waited_for() -> bool:
            return deliverer.running >= 40

        await eventually(waited_for)
        await office.ended(cells(await office.url()), cells=25)

        async def told() -> bool:
            return len(office.receiver.ids) == 25

        await eventually(told)
        assert deliverer.running >= 40
    states = [status for status, *_ in await office.rows()]
    assert states.count("delivered") == 25
    assert states.count("pending") == 40 * 15


async def test_what_has_no_place_is_sent_as_soon_as_there_is_one(office):
    """Nobody waits for the next look: eighty events to a slow receiver, two at a time."""

    async def think() -> None:
        await asyncio.sleep(0.05)

    office.receiver.act = think
    url = await office.url()
    for _ in range(2):
        await office.ended(cells(url), cells=40)
    async with office.delivering(endpoints=Endpoints(places=2)):
        assert await office.recorded(attempts=1) == [("delivered", 1, 204, True)] * 80


async def test_new_events_and_old_ones_share_an_endpoints_places(office):
    """Never more under way than it may have, whichever kind they are."""
    running = most = 0

    async def count() -> None:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0.01)
        running -= 1

    url = await office.url()
    office.receiver.status = 500
    await office.ended(cells(url), cells=8)
    async with office.delivering():
        await office.recorded(attempts=1)
    office.receiver.status, office.receiver.act = 204, count
    await office.ended(cells(url), cells=8)
    await office.later()
    async with office.delivering(endpoints=Endpoints(places=4)):
        rows = await office.recorded(attempts=1)
    assert {row[0] for row in rows} == {"delivered"}
    assert most == 4


async def test_what_a_dead_deliverer_held_is_delivered_by_another(office):
    """Killed between the claim and the record: the event comes again, with the same id."""
    url = await office.url()
    await office.ended(cells(url), cells=3)
    held = asyncio.Event()
    office.receiver.act = held.wait
    async with office.delivering(seconds=3600, dies=True):

        async def sent() -> bool:
            return len(office.receiver.got) == 3

        await eventually(sent)
    assert {status for status, *_ in await office.rows()} == {"pending"}
    held.set()
    await office.connection.execute("UPDATE delivery SET due_at = now()")  # their claims run out
    async with office.delivering():
        assert await office.recorded(attempts=2) == [("delivered", 2, 204, True)] * 3
    assert sorted(office.receiver.ids.values()) == [2, 2, 2]


async def test_a_database_away_between_send_and_record_loses_nothing(office, maintenance):
    """The receiver has it, the record waits: delivered once, recorded once."""
    gone = asyncio.Event()

    async def cut() -> None:
        gone.set()
        await back.wait()

    back = asyncio.Event()
    office.receiver.act = cut
    await office.ended(cells(await office.url()))
    async with office.delivering(patience=0.5):
        await gone.wait()
        with away(maintenance, office.database):
            back.set()

            async def answered() -> bool:
                return len(office.receiver.got) == 1

            await eventually(answered)
        async with await AsyncConnection.connect(office.database, autocommit=True) as fresh:
            assert await postal.recorded(fresh, attempts=1) == [("delivered", 1, 204, True)]
    assert list(office.receiver.ids.values()) == [1]


async def test_one_that_cannot_be_written_holds_up_no_other(office):
    """A capture that is none: its event is tried again, the others go out."""
    url = await office.url()
    await office.ended(cells(url), cells=2)
    await office.connection.execute("UPDATE child SET result = '7' WHERE ordinal = 1")
    async with office.delivering():
        found = await office.recorded(attempts=1)
    assert sorted(found) == [("delivered", 1, 204, True), FAILED]


async def test_a_parent_nobody_can_read_holds_up_no_other(office):
    """One of a later version, perhaps: its event is tried again, the others go out."""
    url = await office.url()
    parent = await office.ended(cells(url))
    await office.ended(cells(url), cells=2)
    await office.connection.execute("UPDATE parent SET payload = '7' WHERE id = %s", [parent])
    async with office.delivering():
        found = await office.recorded(attempts=1)
    assert sorted(found) == [("delivered", 1, 204, True)] * 2 + [FAILED]


async def test_what_cannot_be_read_just_now_was_not_attempted(office):
    """A claim whose letters fail to be written is none: its deliveries are due as before."""

    class Away(Letters):
        failures = 2

        async def write(self, connection, claimed):
            if claimed and self.failures:
                self.failures -= 1
                await connection.execute("SELECT nothing FROM nowhere")
            return await super().write(connection, claimed)

    await office.ended(cells(await office.url()), cells=3)
    async with office.delivering(letters=Away(None)):
        assert await office.recorded(attempts=1) == [("delivered", 1, 204, True)] * 3


async def test_however_much_is_under_way_all_is_delivered(office, monkeypatch):
    """Past so many bytes nothing is claimed until some are sent."""
    monkeypatch.setattr(roles_deliverer, "MOST_BYTES", 1)
    monkeypatch.setattr(roles_deliverer, "LARGEST_CLAIM_BYTES", 1)
    may_answer = asyncio.Event()
    office.receiver.act = may_answer.wait
    await office.ended(cells(await office.url()), cells=20)
    async with office.delivering() as deliverer:

        async def under_way() -> bool:
            return deliverer.running > 0

        await eventually(under_way)
        for _ in range(5):
            await deliverer.step()
        assert deliverer.running == 1
        may_answer.set()
        assert await office.recorded(attempts=1) == [("delivered", 1, 204, True)] * 20


async def test_a_fault_of_ours_ends_one_attempt_and_nothing_else(office):
    """Whatever is raised while it is sent: it is tried again, and what else runs goes on."""

    class Broken(Outgoing):
        async def post(self, *_args, **_named):
            raise RuntimeError("out of something")

    await office.ended(cells(await office.url()), cells=2)
    async with office.delivering(outgoing=Broken(())):
        assert await office.recorded(attempts=1) == [FAILED] * 2


async def test_an_attempt_the_database_refuses_holds_up_no_other(office):
    """The others are recorded; its delivery is due again when the claim runs out."""
    webhook = cells(await office.url())
    await office.ended(webhook, cells=5)
    to = webhooks.endpoint(office.owner.id, webhook.url)
    claimed = await telling.claim(office.connection, to)
    async with pool_of(office.database) as pool:
        recorder = Recorder(pool)
        for n, one in enumerate(claimed):
            fence = (one.parent_id, one.run, one.ordinal, one.claim)
            recorder.put(Attempted(*fence, "delivered", 99_999 if n == 2 else 204))
        recorder.close()
        await recorder.run()
    found = [status for status, *_ in await office.rows()]
    assert sorted(found) == ["delivered"] * 4 + ["pending"]


async def test_an_erased_parent_is_not_told_of(office):
    """What is under way finds nothing to record, and nothing breaks."""
    parent = await office.ended(cells(await office.url()))
    held = asyncio.Event()
    office.receiver.act = held.wait
    async with office.delivering():

        async def sent() -> bool:
            return bool(office.receiver.got)

        await eventually(sent)
        async with office.connection.transaction():
            await deliveries.forget(office.connection, [parent])
        held.set()
    assert await office.rows() == []
