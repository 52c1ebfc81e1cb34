"""Webhook secrets as clients read them."""

from typing import Any

from orchestrator.domain.envelope import Wire
from orchestrator.surfaces import Discreet


class WebhookSecret(Wire):
    """A live secret, without what it is; `expires_at` null: it signs until it is revoked."""

    id: str
    created_at: str
    expires_at: str | None


class WebhookSecrets(Wire):
    """The live secrets of an API key, newest first; each signs every delivery."""

    secrets: tuple[WebhookSecret, ...]


class NewWebhookSecret(Discreet, Wire, kw_only=True):
    """A secret that was just stored; it is told this once."""

    id: str
    secret: str

    def _shown(self) -> dict[str, Any]:
        return {"id": self.id}
