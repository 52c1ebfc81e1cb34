"""What an API key is and has used: `GET /v1/key`, `GET /v1/usage`."""

from typing import Any

from litestar import Request, get

from admission.keys import Key
from orchestrator.api import services
from orchestrator.api.replies import Reply, document
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339
from orchestrator.store import lanes

AnyRequest = Request[Any, Any, Any]
PLAN = "self-hosted"


class LimitsView(Wire):
    """The limits of a key: requests a minute, sync callers, parents waiting, children running."""

    requests_per_minute: int
    sync_limit: int
    queue_capacity: int
    concurrency: int
    weight: float


class KeyView(Wire):
    """The answer to `GET /v1/key`; `expires_at` is of the secret that asked."""

    id: int
    name: str
    role: str
    limits: LimitsView
    expires_at: str | None


class Used(Wire):
    """Cells asked for since the key was made, whatever became of them."""

    total_jobs: int
    by_surface: dict[str, int]


class Balance(Wire):
    """Credits left; null when they are unlimited."""

    plan: str
    credits: int | None
    unlimited: bool


class Quotas(Wire):
    """Jobs a day and a month; null where there is no quota."""

    daily: None = None
    monthly: None = None


class UsageView(Wire):
    """The answer to `GET /v1/usage`."""

    plan: str
    usage: Used
    balance: Balance
    quotas: Quotas


@get("/v1/key")
async def key(request: AnyRequest) -> Reply:
    """The key that asks."""
    return document(_key(request.scope["auth"]))


@get("/v1/usage")
async def usage(request: AnyRequest) -> Reply:
    """What the key has asked for in its lifetime."""
    asking: Key = request.scope["auth"]
    async with services.of(request.scope).pool.connection() as connection:
        by_surface = await lanes.asked(connection, asking.id)
    return document(
        UsageView(
            plan=PLAN,
            usage=Used(total_jobs=sum(by_surface.values()), by_surface=by_surface),
            balance=Balance(plan=PLAN, credits=None, unlimited=True),
            quotas=Quotas(),
        )
    )


def _key(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        role=key.role,
        limits=LimitsView(**key.limits._asdict()),
        expires_at=rfc3339(key.expires_at),
    )
