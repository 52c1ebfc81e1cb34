"""Reads of many: what a job or a group found, a key's jobs, a group."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.client import paths
from orchestrator.client.connection import Connection, decoded
from orchestrator.client.lines import Lines
from orchestrator.client.paths import PAGE
from orchestrator.client.records import ResultsPage
from orchestrator.domain.documents import Envelope, ParentJob
from orchestrator.domain.many import GroupView, Jobs


class Reading(Connection):
    """The methods of a client that read many things, holding a page of them at most."""

    async def results(self, job: str) -> AsyncIterator[Envelope]:
        """The Envelopes of a parent's cells in their order, ended or not, fetched page by page."""
        async for raw in self.raw_results(job):
            yield msgspec.json.decode(raw, type=Envelope)

    async def raw_results(self, job: str) -> AsyncIterator[msgspec.Raw]:
        """The same Envelopes as the JSON the server sent."""
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
            page = await self.typed(ResultsPage, "GET", paths.job(job, "/results"), params=params)
            for raw in page.results:
                yield raw
            cursor = page.next_cursor

    async def jobs(
        self,
        *,
        status: str | None = None,
        surface: str | None = None,
        region: str | None = None,
        group: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[ParentJob]:
        """The key's parents that are all of this, newest first, fetched page by page.

        Times have a time zone. Where a parent stands in its queue is not said in lists.
        """
        wanted = {"status": status, "surface": surface, "region": region, "group": group}
        wanted |= {"createdAfter": _text(created_after), "createdBefore": _text(created_before)}
        wanted |= {f"metadata.{name}": value for name, value in (metadata or {}).items()}
        params: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        params["limit"] = PAGE
        more: str | None = ""
        while more is not None:
            page = await self.typed(Jobs, "GET", "/v1/jobs", params=params)
            for job in page.jobs:
                yield job
            more = params["cursor"] = page.next_cursor

    async def group(self, name: str) -> GroupView:
        """How many parents and cells of a group are in which status."""
        return await self.typed(GroupView, "GET", paths.group(name))

    async def group_results(self, name: str) -> AsyncGenerator[Envelope]:
        """The Envelopes of all parents of a group, the oldest parent's first, ended or not.

        One stream, of which one Envelope is held at a time, however many there are. `ApiError` when
        it is cut off: it cannot go on, only begin anew.
        """
        headers, lines = {"Accept": "application/x-ndjson"}, Lines()
        async with self.stream("GET", paths.group(name, "/results"), headers=headers) as response:
            async for part in response.aiter_bytes():
                for line in lines.feed(part):
                    yield decoded(Envelope, response, line)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
