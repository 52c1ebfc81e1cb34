"""API keys as a shell user sees them: a JSON document and a table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from admission.keys import Issued, Key, Role
from orchestrator.cli.output import table
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339
from orchestrator.surfaces import Discreet

if TYPE_CHECKING:
    from rich.table import Table

NUMBERS = frozenset(
    {"Id", "Per minute", "Sync", "Queue", "Running", "Weight", "A day", "A month", "Credits"}
)


class Allowed(Wire):
    """The limits of a key; quotas are cells, null without one; `coalesce`: they share calls."""

    requests_per_minute: int
    sync_limit: int
    queue_capacity: int
    concurrency: int
    weight: float
    quota_daily: int | None
    quota_monthly: int | None
    coalesce: bool


class Account(Discreet, Wire, kw_only=True):
    """A key; `key` is its secret, there only when it was just made; `credits` null: any number."""

    id: int
    name: str
    key: str | UnsetType = UNSET
    role: Role
    limits: Allowed
    credits: int | None
    expires_at: str | None

    def _shown(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name}


def account(key: Key, secret: str | UnsetType = UNSET) -> Account:
    """The document of a key."""
    return Account(
        id=key.id,
        name=key.name,
        key=secret,
        role=key.role,
        limits=Allowed(**key.limits._asdict()),
        credits=key.credits,
        expires_at=rfc3339(key.expires_at),
    )


def issued(made: Issued) -> Account:
    """The document of a key with the secret just made for it."""
    return account(made.key, made.secret)


def accounts(keys: Iterable[Key]) -> "Table":
    """The keys as a table; whether they coalesce where one does not."""
    listed = list(keys)
    told = ["Coalesce"] if not all(key.limits.coalesce for key in listed) else []
    made = table(
        "Name",
        "Id",
        "Role",
        "Per minute",
        "Sync",
        "Queue",
        "Running",
        "Weight",
        "A day",
        "A month",
        "Credits",
        *told,
        "Expires",
        right=NUMBERS,
    )
    for key in listed:
        *limits, coalesces = key.limits
        taken = [_taken(limit) for limit in (*limits, key.credits)]
        shares = [("yes" if coalesces else "no") for _ in told]
        made.add_row(
            key.name, str(key.id), key.role, *taken, *shares, rfc3339(key.expires_at) or "never"
        )
    return made


def _taken(limit: float | None) -> str:
    return "–" if limit is None else f"{limit:,g}"
