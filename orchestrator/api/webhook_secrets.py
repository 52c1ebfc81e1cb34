"""The secrets a key's deliveries are signed with, over HTTP: made, listed, revoked."""

import base64
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from litestar import HttpMethod, Request, delete, route
from pydantic import Field

from orchestrator.api import bodies, moments, problems, queries, records, services
from orchestrator.api.moments import Moment
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.replies import NOTHING, Reply, document
from orchestrator.api.webhooks import ENCODED, LongSecret
from orchestrator.domain import ids
from orchestrator.domain.secret_views import NewWebhookSecret, WebhookSecret, WebhookSecrets
from orchestrator.domain.times import rfc3339
from orchestrator.store import webhook_secrets as store
from orchestrator.store.webhook_secrets import WebhookSecretRow

AnyRequest = Request[Any, Any, Any]
SECRET_BYTES = 32
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""No secret ends that late: PostgreSQL has later years, and what reads it has not."""


class WebhookSecretRequest(Strict):
    """The body of a new secret; all of it may be left out."""

    expires_at: Annotated[
        Moment | None,
        Field(
            validation_alias="expiresAt",
            description="When it stops signing, in the future; when revoked if left out.",
        ),
    ] = None
    secret: Annotated[
        LongSecret | None, Field(description="One of your own; made by the server if left out.")
    ] = None


@route("/v1/webhooks/secrets", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
async def webhook_secrets(request: AnyRequest) -> Reply:
    """`GET` and `POST` of secrets: one handler, or what OPTIONS allows would be the first's."""
    if request.method == HttpMethod.POST:
        return await create(request)
    return await listed(request)


async def create(request: AnyRequest) -> Reply:
    """Store a new secret: 201 with the secret itself, this once."""
    scope = request.scope
    here = services.of(scope)
    body = await bodies.read_any(scope, request.receive)
    asked = records.read(WebhookSecretRequest, scope, body or b"{}", across)
    if isinstance(asked, Problem):
        return problems.reply(asked, scope)
    if (sealer := await here.vault.sealer()) is None:
        return problems.reply(problems.keeps_no_secrets(), scope)
    secret = asked.secret.get_secret_value() if asked.secret else _new()
    sealed, made = sealer.seal(secret), ids.new()
    async with here.pool.connection() as connection, connection.transaction():
        stored = await store.make(
            connection, made, key_id=scope["auth"].id, sealed=sealed, expires_at=asked.expires_at
        )
    if not stored:
        return problems.reply(_crowded(), scope)
    told = NewWebhookSecret(id=ids.webhook_secret_text(made), secret=secret)
    return document(told, status=HTTPStatus.CREATED)


async def listed(request: AnyRequest) -> Reply:
    """The key's live secrets, without what they are."""
    scope = request.scope
    async with services.of(scope).pool.connection() as connection:
        rows = await store.live(connection, scope["auth"].id)
    return document(WebhookSecrets(secrets=tuple(map(_view, rows))))


@delete("/v1/webhooks/secrets/{secret:str}", status_code=200)  # the reply has its own
async def revoke_webhook_secret(request: AnyRequest) -> Reply:
    """Have a secret sign nothing any more."""
    scope = request.scope
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    secret = ids.read_webhook_secret(scope["path_params"]["secret"])
    if secret is not None and await _revoked(request, secret):
        return NOTHING
    return problems.reply(problems.webhook_secret_not_found(), scope)


async def _revoked(request: AnyRequest, secret: UUID) -> bool:
    async with services.of(request.scope).pool.connection() as connection:
        return await store.revoke(connection, secret, key_id=request.scope["auth"].id)


def across(given: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with when a secret is to end."""
    ends = moments.read(given.get("expiresAt"))
    if ends and not datetime.now(UTC) < ends < NEVER:
        yield Fault(path="expiresAt", message=f"Must be in the future, before {NEVER.year}.")


def _new() -> str:
    """A secret nobody has seen."""
    return ENCODED + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _view(row: WebhookSecretRow) -> WebhookSecret:
    return WebhookSecret(
        id=ids.webhook_secret_text(row.id),
        created_at=rfc3339(row.created_at),
        expires_at=rfc3339(row.expires_at),
    )


def _crowded() -> Problem:
    message = (
        f"This API key has {store.MOST} live webhook secrets, the most there may be:"
        " revoke one or let one expire."
    )
    return problems.fault("", message)
