"""What was told of jobs by webhooks, and the secrets it is signed with."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from orchestrator.client.connection import Connection
from orchestrator.client.paths import PAGE
from orchestrator.client.submitting import said
from orchestrator.domain.deliveries import Deliveries, Delivery, DeliveryStatus, Replayed
from orchestrator.domain.secret_views import NewWebhookSecret, WebhookSecret, WebhookSecrets

DELIVERIES = "/v1/webhooks/deliveries"
SECRETS = "/v1/webhooks/secrets"


class Webhooks(Connection):
    """The methods of a client about its webhooks. Times have a time zone."""

    async def deliveries(
        self,
        *,
        status: DeliveryStatus | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[Delivery]:
        """The key's deliveries that are all of this, newest first, fetched page by page."""
        times = {"createdAfter": created_after, "createdBefore": created_before}
        params: dict[str, Any] = {name: at.isoformat() for name, at in times.items() if at}
        params |= {"limit": PAGE} | ({"status": status} if status else {})
        more: str | None = ""
        while more is not None:
            page = await self.typed(Deliveries, "GET", DELIVERIES, params=params)
            for delivery in page.deliveries:
                yield delivery
            more = params["cursor"] = page.next_cursor

    async def replay(self, delivery: str) -> Delivery:
        """Have a delivery sent again, whatever became of it; the delivery as it is then."""
        path = f"{DELIVERIES}/{quote(delivery, safe='')}/replay"
        return await self.typed(Delivery, "POST", path)

    async def replay_range(
        self, since: datetime, until: datetime, *, status: DeliveryStatus | None = None
    ) -> int:
        """Have all of this time, `since` included, sent again; how many deliveries that is."""
        body = {"from": since.isoformat(), "to": until.isoformat(), "status": status}
        return (await self.typed(Replayed, "POST", f"{DELIVERIES}/replay", json=said(body))).matched

    async def create_webhook_secret(
        self, *, secret: str | None = None, expires_at: datetime | None = None
    ) -> NewWebhookSecret:
        """A secret that signs all deliveries of the key from now on, beside those there are.

        Made by the server unless given. No other answer shows it again.
        """
        ends = expires_at.isoformat() if expires_at else None
        body = {"secret": secret, "expiresAt": ends}
        return await self.typed(NewWebhookSecret, "POST", SECRETS, json=said(body))

    async def webhook_secrets(self) -> tuple[WebhookSecret, ...]:
        """The secrets that sign now, newest first."""
        return (await self.typed(WebhookSecrets, "GET", SECRETS)).secrets

    async def revoke_webhook_secret(self, secret: str) -> None:
        """Have the secret with this id sign nothing any more."""
        await self.send("DELETE", f"{SECRETS}/{quote(secret, safe='')}")
