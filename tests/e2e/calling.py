"""A caller with one connection of its own, which sees what a client sees: statuses and headers."""

from typing import Any, NamedTuple, Self

import aiohttp


class Answer(NamedTuple):
    """What was said; `job` is the id in `Location`, `again` the seconds in `Retry-After`."""

    status: int
    job: str | None
    replayed: bool
    again: int | None
    body: dict[str, Any]


class Caller:
    """Calls a server with a key; use it in `async with`. Hanging up is cancelling the call."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def __aenter__(self) -> Self:
        one = aiohttp.TCPConnector(limit=1)
        self._http = aiohttp.ClientSession(self._url, connector=one, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(
        self,
        query: str,
        surface: str,
        *,
        path: str = "/v1/search",
        key: str | None = None,
        prefer: str | None = None,
    ) -> Answer:
        """Submit one cell, perhaps under an idempotency key, perhaps with a preference."""
        named = {"Idempotency-Key": key, "Prefer": prefer}
        headers = {name: value for name, value in named.items() if value is not None}
        body = {"query": query, "surfaces": [surface]}
        async with self._http.post(path, json=body, headers=headers) as said:
            again = said.headers.get("Retry-After")
            return Answer(
                said.status,
                said.headers.get("Location", "").removeprefix("/v1/jobs/") or None,
                "Idempotent-Replayed" in said.headers,
                None if again is None else int(again),
                await said.json(),
            )
