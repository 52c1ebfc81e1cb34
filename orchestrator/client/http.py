"""The client itself: thin methods over one connection."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

from orchestrator.client.bulk import Bulk
from orchestrator.client.records import Health, Surfaces
from orchestrator.client.steering import Steering
from orchestrator.client.submitting import Regions, Submitting, said
from orchestrator.client.webhooks import Webhooks
from orchestrator.domain.preflight import Preflight
from orchestrator.domain.snapshot import Snapshot


class Client(Submitting, Bulk, Steering, Webhooks):
    """An async client; use it in `async with`. Every method may raise `ApiError`.

    `transport` replaces the network, for instance by a test's; `timeout` is in seconds a request.
    """

    async def preflight(
        self,
        *,
        jobs: int,
        surfaces: Sequence[str],
        regions: Regions = (),
        mode: Literal["async", "sync"] | None = None,
        reserve_seconds: float | None = None,
    ) -> Preflight:
        """What would become of so many equal jobs, submitted now: nothing is stored.

        With `reserve_seconds` (1–120) the places of async jobs that would be admitted are held for
        so long, to be drawn on under `reservation.id`.
        """
        body = {
            "jobs": jobs,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "mode": mode,
            "reserveSeconds": reserve_seconds,
        }
        return await self.typed(Preflight, "POST", "/v1/async/preflight", json=said(body))

    async def release(self, reservation: str) -> None:
        """Give back what is left of a reservation."""
        await self.send("DELETE", f"/v1/async/reservations/{quote(reservation, safe='')}")

    async def status(self) -> Snapshot:
        """The snapshot of the key's headroom and work."""
        return await self.typed(Snapshot, "GET", "/v1/async/status")

    async def surfaces(self) -> Surfaces:
        """What can be asked, from where, and who serves it."""
        return await self.typed(Surfaces, "GET", "/v1/surfaces")

    async def health(self, *, ready: bool = False) -> Health:
        """Whether the server and its database are well; `ready` also wants a live worker."""
        return await self.typed(Health, "GET", "/v1/health", params={"ready": "1"} if ready else {})
