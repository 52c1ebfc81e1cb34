"""Answers that only the API makes: each of the real application, after what leads to it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx

from orchestrator.store import children
from orchestrator.store.children import Completed, Failed
from tests import factories
from tests.api.conftest import Worker
from tests.api.test_sync import CAPTURE

BODY = {"query": "best running shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
IDS = {kind: re.compile(rf"{kind}_[0-9a-v]{{26,36}}") for kind in ("job", "dlv", "evt", "whs")}
SECRET = re.compile("whsec_[A-Za-z0-9+/]{43}=")
WEBHOOK = {"url": "https://example.com/hooks/parallax"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SHOWN = ("location", "retry-after")
"""The headers that belong to an answer itself."""


class Caller(NamedTuple):
    """A client of the application and the worker behind it."""

    http: httpx.AsyncClient
    worker: Worker

    async def submit(self, **fields: Any) -> str:
        """The id of a new job of two cells."""
        return str((await self.http.post("/v1/search", json=BODY | fields)).json()["jobId"])

    async def end(self) -> None:
        """Capture the first cell there is, fail the others."""
        first, *rest = await self.worker.claim()
        broken = [Failed(fence, factories.FAILURE, 503) for fence in rest]
        await children.settle(self.worker.connection, [Completed(first, CAPTURE, 200), *broken])

    async def ended(self, **fields: Any) -> str:
        """The id of a job that ended partial."""
        job = await self.submit(**fields)
        await self.end()
        return job


Exchange = Callable[[Caller], Awaitable[httpx.Response]]


async def read_unknown(caller: Caller) -> httpx.Response:
    """Unknown, somebody else's and erased."""
    return await caller.http.get("/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04")


async def cancel_waiting(caller: Caller) -> httpx.Response:
    """All cells end at once."""
    return await caller.http.post(f"/v1/jobs/{await caller.submit()}/cancel")


async def cancel_running(caller: Caller) -> httpx.Response:
    """What has not begun ends at once, what runs is being stopped."""
    job = await caller.submit()
    await caller.worker.claim(slots=1)
    return await caller.http.post(f"/v1/jobs/{job}/cancel")


async def cancel_child(caller: Caller) -> httpx.Response:
    """One cell alone."""
    return await caller.http.post(f"/v1/jobs/{await caller.submit()}.chatgpt.gb/cancel")


async def cancel_ended(caller: Caller) -> httpx.Response:
    """There is nothing to cancel."""
    return await caller.http.post(f"/v1/jobs/{await caller.ended()}/cancel")


async def delete_live(caller: Caller) -> httpx.Response:
    """Of a job that has not ended it is a cancel."""
    return await caller.http.delete(f"/v1/jobs/{await caller.submit()}")


async def delete_child(caller: Caller) -> httpx.Response:
    """Of a child that has not ended too."""
    return await caller.http.delete(f"/v1/jobs/{await caller.submit()}.chatgpt.gb")


async def delete_ended(caller: Caller) -> httpx.Response:
    """Nothing is left of it."""
    return await caller.http.delete(f"/v1/jobs/{await caller.ended()}")


async def retry_ended(caller: Caller) -> httpx.Response:
    """The next run, of the cells that found no answer."""
    job = await caller.ended()
    return await caller.http.post(f"/v1/jobs/{job}/retry", json={"statuses": ["failed"]})


async def retry_child(caller: Caller) -> httpx.Response:
    """The next run, of one cell."""
    return await caller.http.post(f"/v1/jobs/{await caller.ended()}.chatgpt.gb/retry")


async def retry_live(caller: Caller) -> httpx.Response:
    """It has not ended."""
    return await caller.http.post(f"/v1/jobs/{await caller.submit()}/retry")


async def retry_nothing(caller: Caller) -> httpx.Response:
    """No cell ended so."""
    job = await caller.ended()
    return await caller.http.post(f"/v1/jobs/{job}/retry", json={"statuses": ["expired"]})


async def retry_without_room(caller: Caller) -> httpx.Response:
    """A retry takes a place of the queue."""
    job = await caller.ended()
    await caller.worker.connection.execute("UPDATE api_key SET queue_capacity = 1")
    await caller.submit()
    return await caller.http.post(f"/v1/jobs/{job}/retry")


async def events_ended(caller: Caller) -> httpx.Response:
    """Whoever has heard the end is told that there is nothing more."""
    path = f"/v1/jobs/{await caller.ended()}/events"
    last = re.findall("(?m)^id: (.*)$", (await caller.http.get(path)).text)[-1]
    return await caller.http.get(path, headers={"Last-Event-ID": last})


async def group(caller: Caller) -> httpx.Response:
    """Counts by status."""
    await caller.ended(group="night")
    await caller.submit(group="night")
    return await caller.http.get("/v1/groups/night")


async def group_unknown(caller: Caller) -> httpx.Response:
    """No parent was ever of it, or none is left."""
    return await caller.http.get("/v1/groups/night")


async def group_cancel(caller: Caller) -> httpx.Response:
    """Stored; so many parents are to be canceled."""
    await caller.submit(group="night")
    return await caller.http.post("/v1/groups/night/cancel")


async def group_retry(caller: Caller) -> httpx.Response:
    """Stored; so many parents are to be retried."""
    await caller.ended(group="night")
    return await caller.http.post("/v1/groups/night/retry")


async def queue_cleared(caller: Caller) -> httpx.Response:
    """So many parents were canceled."""
    await caller.submit()
    return await caller.http.delete("/v1/async/queue")


async def deliveries(caller: Caller) -> httpx.Response:
    """What was told of a job, newest first: of it, of its cells."""
    await caller.ended(webhook=WEBHOOK)
    return await caller.http.get("/v1/webhooks/deliveries")


async def deliveries_none(caller: Caller) -> httpx.Response:
    """No job of this key has ended that has a webhook."""
    await caller.ended()
    return await caller.http.get("/v1/webhooks/deliveries?status=dead")


async def delivery_replayed(caller: Caller) -> httpx.Response:
    """It is due, with all its attempts before it."""
    await caller.ended(webhook=WEBHOOK)
    await caller.worker.connection.execute("UPDATE delivery SET status = 'dead', last_code = 500")
    (first, *_) = (await caller.http.get("/v1/webhooks/deliveries")).json()["deliveries"]
    return await caller.http.post(f"/v1/webhooks/deliveries/{first['id']}/replay")


async def delivery_unknown(caller: Caller) -> httpx.Response:
    """Unknown, somebody else's and pruned."""
    return await caller.http.post(f"/v1/webhooks/deliveries/dlv_{'0' * 36}/replay")


async def deliveries_replayed(caller: Caller) -> httpx.Response:
    """So many are due."""
    await caller.ended(webhook=WEBHOOK)
    body = {"from": "2026-01-05T09:30:00Z", "to": "2999-01-01T00:00:00Z", "status": "pending"}
    return await caller.http.post("/v1/webhooks/deliveries/replay", json=body)


async def secret_made(caller: Caller) -> httpx.Response:
    """It is told this once."""
    return await caller.http.post("/v1/webhooks/secrets")


async def secrets_listed(caller: Caller) -> httpx.Response:
    """Newest first, never what they are."""
    body = {"expiresAt": "2999-01-01T00:00:00.000Z", "secret": "a secret of one's own"}
    await caller.http.post("/v1/webhooks/secrets", json=body)
    await caller.http.post("/v1/webhooks/secrets")
    return await caller.http.get("/v1/webhooks/secrets")


async def secret_revoked(caller: Caller) -> httpx.Response:
    """It signs nothing any more."""
    made = (await caller.http.post("/v1/webhooks/secrets")).json()
    return await caller.http.delete(f"/v1/webhooks/secrets/{made['id']}")


async def secret_unknown(caller: Caller) -> httpx.Response:
    """Unknown, somebody else's, expired and revoked."""
    return await caller.http.delete(f"/v1/webhooks/secrets/whs_{'0' * 26}")


EXCHANGES: dict[str, Exchange] = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(read_unknown, cancel_waiting, cancel_running, cancel_child, cancel_ended),
        *(delete_live, delete_child, delete_ended, events_ended, queue_cleared),
        *(retry_ended, retry_child, retry_live, retry_nothing, retry_without_room),
        *(group, group_unknown, group_cancel, group_retry),
        *(deliveries, deliveries_none, delivery_replayed, delivery_unknown, deliveries_replayed),
        *(secret_made, secrets_listed, secret_revoked, secret_unknown),
    )
}


def told(exchange: Exchange, answer: httpx.Response, body: str) -> str:
    """A request and its answer as people read them; `body` is the answer's, made readable.

    Ids and times are not those of the day.
    """
    request = answer.request
    path = request.url.raw_path.decode()
    asked = "".join(f"{line}\n" for line in (f"{request.method} {path}", request.content.decode()))
    headers = "".join(
        f"{name.title()}: {answer.headers[name]}\n" for name in SHOWN if name in answer.headers
    )
    status = f"{answer.status_code} {answer.reason_phrase}\n"
    text = f"# {exchange.__doc__}\n{asked.rstrip()}\n\n{status}{headers}"
    return _lasting(f"{text}\n{body}\n" if body else text)


def _lasting(text: str) -> str:
    """Each id by a number of its own, and one time for all."""
    for kind, written in IDS.items():
        for number, one in enumerate(dict.fromkeys(written.findall(text)), 1):
            text = text.replace(one, f"{kind}_{number}")
    text = SECRET.sub("whsec_…", text)
    return TIME.sub("2026-01-05T09:30:00.000Z", text)
