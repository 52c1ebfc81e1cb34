"""A Python client of the HTTP API.

    async with Client() as client:
        accepted = await client.submit("running shoes", surfaces=["chatgpt"], regions=["US"])
        async for read in client.watch(accepted.job_id):
            print(read.job.counts)
        async for envelope in client.results(accepted.job_id):
            print(envelope.answer.text)

The server is `PARALLAX_URL` and the key `PARALLAX_API_KEY` unless given. Whatever goes wrong is one
`ApiError` with a stable code. Records ignore fields they do not know; `Client.get` gives any read
as the server sent it.
"""

from orchestrator.client.errors import ApiError
from orchestrator.client.http import Client
from orchestrator.client.records import Health, Surfaces
from orchestrator.domain.documents import Accepted, Envelope, JobRead
from orchestrator.domain.snapshot import Snapshot

__all__ = [
    "Accepted",
    "ApiError",
    "Client",
    "Envelope",
    "Health",
    "JobRead",
    "Snapshot",
    "Surfaces",
]
