"""The client's `ask` against the real application."""

import asyncio

import httpx
import pytest

from orchestrator.client import ApiError, Client
from tests import factories
from tests.api.test_sync import work
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class Shaky(httpx.AsyncBaseTransport):
    """The application, some of whose first replies are lost on their way."""

    def __init__(self, app, lost: int) -> None:
        self.inside = httpx.ASGITransport(app)
        self.lost = lost

    async def handle_async_request(self, request):
        reply = await self.inside.handle_async_request(request)
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("connection reset")
        return reply


@pytest.fixture
def asking(app, registered, issue):
    async def make(lost=0, **limits):
        secret = (await issue(**limits)).secret
        return Client(url="http://parallax.test", key=secret, transport=Shaky(app, lost))

    return make


async def test_an_answer_is_asked_for_in_one_call(asking, worker):
    """One cell or several: the Envelopes, in cell order."""
    async with await asking() as client:
        for surfaces in (["chatgpt"], ["site", "chatgpt"]):
            async with asyncio.TaskGroup() as tasks:
                call = tasks.create_task(client.ask("shoes", surfaces=surfaces))
                await work(worker)
            assert [one.job.surface for one in call.result()] == surfaces
            assert {one.answer.text for one in call.result()} == {"boots"}


async def test_a_lost_reply_makes_no_second_job(asking, worker, connection):
    """The request is sent again under the same idempotency key."""
    async with await asking(lost=1) as client, asyncio.TaskGroup() as tasks:
        call = tasks.create_task(client.ask("shoes", surfaces=["chatgpt"]))
        await work(worker)
    assert [one.job.status for one in call.result()] == ["completed"]
    assert await factories.scalar(connection, "SELECT count(*) FROM parent") == 1


async def test_a_wait_that_ends_first_goes_on_by_polling(asking, worker, connection):
    """What is not there in time comes as it is."""
    async with await asking() as client:
        (found,) = await client.ask("shoes", surfaces=["chatgpt"], seconds=1)
    assert found.job.status == "queued"


async def test_a_busy_server_is_asked_again_when_it_says(asking, worker, connection):
    """A refusal costs the time it names."""
    async with await asking(sync_limit=1) as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.ask("shoes", surfaces=["chatgpt"]))
        fences = await eventually(worker.claim)
        assert len(fences) == 1
        second = tasks.create_task(client.ask("boots", surfaces=["chatgpt"]))
        await connection.execute("UPDATE api_key SET sync_limit = 2")
        await work(worker)
        first.cancel()
    assert [one.job.query for one in second.result()] == ["boots"]


async def test_what_no_patience_mends_is_said_at_once(asking):
    """A request that is not valid is an `ApiError`."""
    async with await asking() as client:
        with pytest.raises(ApiError, match="UNSUPPORTED_SURFACE"):
            await client.ask("shoes", surfaces=["altavista"])
