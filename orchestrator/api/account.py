"""What an API key is and has used: `GET /v1/key`, `GET /v1/usage`."""

from typing import Any

from litestar import Request, get

from admission import usage as usages
from admission.budget import Quota
from admission.keys import Key
from orchestrator.api import services
from orchestrator.api.replies import Reply, document
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339
from orchestrator.store import lanes

AnyRequest = Request[Any, Any, Any]
PLAN = "self-hosted"


class LimitsView(Wire):
    """The limits of a key: requests a minute, sync callers, parents waiting, children running.

    Quotas are cells a day and a month of UTC, null without one. Cells of a key that does not
    `coalesce` share no upstream call with another.
    """

    requests_per_minute: int
    sync_limit: int
    queue_capacity: int
    concurrency: int
    weight: float
    quota_daily: int | None
    quota_monthly: int | None
    coalesce: bool


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
    """Credits that jobs may still be admitted for; null when they are unlimited."""

    plan: str
    credits: int | None
    unlimited: bool


class QuotaView(Wire):
    """Cells admitted since the day or month of UTC began, of how many, until when."""

    limit: int
    used: int
    resets_at: str


class Quotas(Wire):
    """Cells a day and a month; null where there is no quota."""

    daily: QuotaView | None = None
    monthly: QuotaView | None = None


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
    async with services.of(request.scope).reading() as connection:
        by_surface = await lanes.asked(connection, asking.id)
        budget = await usages.budget_of(connection, asking.id)
    return document(
        UsageView(
            plan=PLAN,
            usage=Used(total_jobs=sum(by_surface.values()), by_surface=by_surface),
            balance=Balance(plan=PLAN, credits=budget.credits, unlimited=budget.credits is None),
            quotas=Quotas(**{quota.period: _quota(quota) for quota in budget.quotas}),
        )
    )


def _quota(quota: Quota) -> QuotaView:
    return QuotaView(limit=quota.limit, used=quota.used, resets_at=rfc3339(quota.resets_at))


def _key(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        role=key.role,
        limits=LimitsView(**key.limits._asdict()),
        expires_at=rfc3339(key.expires_at),
    )
