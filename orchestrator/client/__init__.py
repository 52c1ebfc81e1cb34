"""A Python client of the HTTP API.

    async with Client() as client:
        accepted = await client.submit("running shoes", surfaces=["chatgpt"], regions=["US"])
        async for read in client.watch(accepted.job_id):
            print(read.job.counts)
        async for envelope in client.results(accepted.job_id):
            print(envelope.answer.text)

Many at once, at the pace the server has room for; run again with the same key it goes on:

    queries = ({"query": line, "surfaces": ["chatgpt"]} for line in open("queries.txt"))
    async for outcome in client.submit_all(queries, key="night-17", group="night-17"):
        if outcome.error:
            print(outcome.index, outcome.error)
    async for envelope in client.group_results("night-17"):
        print(envelope.answer.text)

Told instead of asked, and told again of what did not arrive:

    await client.submit("running shoes", surfaces=["chatgpt"], webhook="https://example.com/hook")
    async for delivery in client.deliveries(status="dead"):
        await client.replay(delivery.id)

The server is `PARALLAX_URL` and the key `PARALLAX_API_KEY` unless given. Whatever goes wrong is one
`ApiError` with a stable code. Records ignore fields they do not know; `Client.get` gives any read
as the server sent it.
"""

from orchestrator.client.errors import ApiError
from orchestrator.client.http import Client
from orchestrator.client.records import Health, Outcome, Surfaces
from orchestrator.domain.deliveries import Delivery
from orchestrator.domain.documents import Accepted, ChildSummary, Envelope, JobRead, ParentJob
from orchestrator.domain.many import BatchJob, GroupView
from orchestrator.domain.preflight import Preflight
from orchestrator.domain.secret_views import NewWebhookSecret, WebhookSecret
from orchestrator.domain.snapshot import Snapshot

__all__ = [
    "Accepted",
    "ApiError",
    "BatchJob",
    "ChildSummary",
    "Client",
    "Delivery",
    "Envelope",
    "GroupView",
    "Health",
    "JobRead",
    "NewWebhookSecret",
    "Outcome",
    "ParentJob",
    "Preflight",
    "Snapshot",
    "Surfaces",
    "WebhookSecret",
]
