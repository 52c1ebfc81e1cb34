"""Jobs submitted one at a time."""

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import anyio
import httpx
import msgspec

from orchestrator.client.errors import ApiError
from orchestrator.client.reading import Reading
from orchestrator.client.watching import Watching
from orchestrator.domain.documents import Accepted, Envelope, SyncResult

Regions = Sequence[str | Mapping[str, str]]
Webhook = str | Mapping[str, Any]
"""A URL, or `{url, secret?, events?}`."""


class Submitting(Watching, Reading):
    """The methods of a client that take one job in."""

    async def submit(
        self,
        query: str,
        *,
        surfaces: Sequence[str],
        regions: Regions = (),
        priority: int | None = None,
        delay: float | None = None,
        deadline: float | None = None,
        max_attempts: int | None = None,
        finish_at_least: int | None = None,
        webhook: Webhook | None = None,
        group: str | None = None,
        max_credits: int | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        reservation: str | None = None,
    ) -> Accepted:
        """Submit a parent: `query` to every surface in every region; stored when this returns.

        A region is a country (`"US"`) or `{country, city?, language?}`; without any the server's
        default country is used. `delay` and `deadline` are in seconds from now. Once
        `finish_at_least` cells are completed the rest is canceled. What ends is told to `webhook`:
        a URL, or `{url, secret?, events?}`. The same request under the same `idempotency_key` is
        the same job. A `reservation` of a preflight is drawn on first. A full
        queue is an `ApiError` with status 429 and `retry_after`.
        """
        body = {
            "query": query,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "priority": priority,
            "delay": delay,
            "deadline": deadline,
            "maxAttempts": max_attempts,
            "finish": None if finish_at_least is None else {"atLeast": finish_at_least},
            "webhook": {"url": webhook} if isinstance(webhook, str) else webhook,
            "group": group,
            "maxCredits": max_credits,
            "options": options,
            "metadata": metadata,
            "idempotencyKey": idempotency_key,
        }
        headers = {"X-Reservation": reservation} if reservation else {}
        return await self.typed(Accepted, "POST", "/v1/search", json=said(body), headers=headers)

    async def ask(
        self,
        query: str,
        *,
        surfaces: Sequence[str],
        regions: Regions = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
        seconds: float = 300.0,
    ) -> list[Envelope]:
        """Ask and wait: the Envelopes of all cells, in their order, on the key's sync budget.

        A lost connection, a server that restarts or is busy costs time and never a second job: the
        request is sent again under one idempotency key, made here unless given. Raises `ApiError`
        when there is no job once these seconds are over, and at once for what no patience mends;
        cells that have not ended by then come as they are.
        """
        body = {
            "query": query,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "options": options,
            "idempotencyKey": idempotency_key or secrets.token_urlsafe(16),
        }
        until = time.monotonic() + seconds
        while True:
            try:
                return await self._answer(said(body), until)
            except ApiError as error:
                rest = 1.0 if error.status is None else error.retry_after
                if rest is None or time.monotonic() + rest > until:
                    raise
            await anyio.sleep(rest)

    async def _answer(self, body: dict[str, Any], until: float) -> list[Envelope]:
        """The answer as it is at this moment of the monotonic clock."""
        seconds = max(1, math.floor(until - time.monotonic()))
        patience = httpx.Timeout(30.0, read=seconds + 30.0)
        headers = {"Prefer": f"wait={seconds}"}
        reply = await self.send("POST", "/v1/search", json=body, headers=headers, timeout=patience)
        if reply.status_code != HTTPStatus.OK:
            job = reply.headers["Location"].rpartition("/")[2]
            with anyio.move_on_after(until - time.monotonic()):
                await self.wait(job)
            return [envelope async for envelope in self.results(job)]
        if len(body["surfaces"]) * len(body.get("regions", [""])) == 1:
            return [msgspec.json.decode(reply.content, type=Envelope)]
        return list(msgspec.json.decode(reply.content, type=SyncResult).children)


def said(body: Mapping[str, Any]) -> dict[str, Any]:
    """Only what the caller named: the defaults stay the server's."""
    return {name: value for name, value in body.items() if value is not None}
