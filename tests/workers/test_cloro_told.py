"""The end of a task of cloro's, told as its clients expect it."""

import hashlib
import hmac
import json

import pytest

from orchestrator.domain import ids
from orchestrator.domain.webhooks import Webhook
from orchestrator.sealing import Sealer
from orchestrator.store import steering, webhook_secrets
from orchestrator.store.children import Completed
from tests import factories
from tests.api.dialects import CAPTURE
from tests.store import telling
from tests.workers import postal
from tests.workers.postal import Office, Receiver
from workers import retry

pytestmark = pytest.mark.anyio
COSTS = {"chatgpt": 5}


@pytest.fixture
async def office(connection, database, serve):
    """A key, its lane, a receiver, and whoever delivers to it."""
    owner, lane = await factories.key(connection), await factories.lane(connection)
    return Office(connection, database, owner, lane, Receiver(), serve)


@pytest.fixture
def sealer():
    return Sealer(postal.SECRET_KEY)


async def working(office, **fields):
    """A task whose cell runs."""
    webhook = Webhook(url=await office.url(), events=("parent",))
    fields = {"task_type": "CHATGPT", "costs": COSTS, "priority": 1} | fields
    return await telling.working(office.connection, office.owner, [office.lane], webhook, **fields)


async def complete(office, claimed):
    """Each has what its surface showed."""
    fences = map(factories.fence, claimed)
    await factories.settle(office.connection, *(Completed(f, CAPTURE, 200, 5) for f in fences))


async def test_the_end_is_told_as_the_task_is_read(office):
    """Without `webhook`; one delivery, under the id of the task and of the attempt."""
    task, claimed = await working(office)
    await complete(office, claimed)
    async with office.delivering():
        assert await office.recorded(attempts=1) == [("delivered", 1, 204, True)]
    ((headers, body),) = office.receiver.got
    said = json.loads(body)
    assert list(said) == ["task", "credits", "response"]
    assert (said["task"]["id"], said["task"]["status"]) == (str(task), "COMPLETED")
    assert said["credits"] == {"creditsToCharge": 5, "creditsCharged": 5}
    assert said["response"]["text"] == "Tea."
    assert headers["x-cloro-webhook-id"] == f"{task}-1"
    assert headers["x-cloro-timestamp"].isdigit()
    assert headers["content-type"] == "application/json"
    assert {"x-cloro-signature", "webhook-id", "x-parallax-signature"} & headers.keys() == set()


async def test_a_task_that_found_nothing_is_told_too(office):
    """Failed, or canceled before it began: the error, and that it cost nothing."""
    _, (child,) = await working(office)
    await factories.settle(office.connection, factories.failed(child))
    webhook = Webhook(url=await office.url(), events=("parent",))
    waiting = await telling.waiting(
        office.connection, office.owner, [office.lane], webhook, task_type="CHATGPT"
    )
    async with office.connection.transaction():
        await steering.cancel(office.connection, key_id=office.owner.id, parent=waiting)
    async with office.delivering():
        await office.recorded(attempts=1)
    told = {body["response"]["error"]["code"]: body for body in office.receiver.bodies}
    assert told.keys() == {"UPSTREAM_STATUS", "CANCELED"}
    assert {body["credits"]["creditsCharged"] for body in told.values()} == {0}
    assert {body["task"]["status"] for body in told.values()} == {"FAILED"}


async def test_it_is_signed_with_the_newest_secret(office, sealer):
    """`v1=<hex HMAC-SHA256 of "<timestamp>.<raw body>">`, and with no other."""
    for secret in ("an older secret", "the newest secret"):
        named = {"key_id": office.owner.id, "sealed": sealer.seal(secret), "expires_at": None}
        async with office.connection.transaction():
            assert await webhook_secrets.make(office.connection, ids.new(), **named)
    _, claimed = await working(office)
    await complete(office, claimed)
    async with office.delivering(sealer=sealer):
        await office.recorded(attempts=1)
    ((headers, body),) = office.receiver.got
    signed = headers["x-cloro-timestamp"].encode() + b"." + body
    digest = hmac.new(b"the newest secret", signed, hashlib.sha256).hexdigest()
    assert headers["x-cloro-signature"] == f"v1={digest}"


async def test_each_attempt_has_an_id_of_its_own(office):
    """Five at most; the task's id stays, by which a receiver knows it again."""
    office.receiver.status = 500
    task, claimed = await working(office)
    await complete(office, claimed)
    async with office.delivering():
        for attempt in range(1, 6):
            await office.later()
            await office.recorded(attempts=attempt)
        assert await office.rows() == [("dead", 5, 500, False)]
    sent = [headers["x-cloro-webhook-id"] for headers, _ in office.receiver.got]
    assert sent == [f"{task}-{attempt}" for attempt in range(1, 6)]
    assert len({body for _, body in office.receiver.got}) == 1


def test_the_pauses_are_about_2_4_8_and_16_minutes():
    """With jitter, a fifth at most either way."""
    for attempt, minutes in enumerate((2, 4, 8, 16), 1):
        for chance in (0.0, 0.999):
            found = retry.scheduled(
                attempt=attempt, pauses=retry.CLORO_SECONDS, floor_seconds=0.0, chance=chance
            )
            assert isinstance(found, retry.Again)
            assert abs(found.delay_seconds - 60 * minutes) <= 12 * minutes
    ended = retry.scheduled(attempt=5, pauses=retry.CLORO_SECONDS, floor_seconds=0.0, chance=0.5)
    assert ended == retry.GiveUp()


async def test_a_native_job_beside_it_is_told_natively(office):
    """In the same look: each in its own way."""
    await office.ended(Webhook(url=await office.url(), events=("job",)))
    _, claimed = await working(office)
    await complete(office, claimed)
    async with office.delivering():
        await office.recorded(attempts=1)
    kinds = {
        "task" in json.loads(body): "webhook-id" in headers for headers, body in office.receiver.got
    }
    assert kinds == {True: False, False: True}
