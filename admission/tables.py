"""The tables of admission: keys, their secrets, and what each has taken."""

from datetime import datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlmodel import Field, SQLModel

NOW = text("now()")
ZERO = text("0")


def moment(*, nullable: bool = True, now: bool = False) -> Column[datetime]:
    """A column for a time, in UTC; the database's clock fills it in when `now`."""
    return Column(DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None)


def count() -> Column[int]:
    """A counter. No CHECK (n >= 0): an upsert checks the proposed row before the conflict."""
    return Column(Integer, nullable=False, server_default=ZERO)


def epoch() -> Column[float]:
    """Seconds since 1970, as a scheduler's memory."""
    return Column(Float, nullable=False, server_default=ZERO)


class ApiKey(SQLModel, table=True):
    """An account: its name, its role and its limits."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint("role IN ('client', 'operator')", name="api_key_role"),
        CheckConstraint(
            "requests_per_minute > 0 AND sync_limit >= 0 AND queue_capacity >= 0"
            " AND concurrency > 0 AND weight > 0",
            name="api_key_limits",
        ),
    )

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    role: str = Field(sa_column=Column(Text, nullable=False, server_default="client"))
    requests_per_minute: int = Field(sa_column=Column(Integer, nullable=False))
    sync_limit: int = Field(sa_column=Column(Integer, nullable=False))
    queue_capacity: int = Field(sa_column=Column(Integer, nullable=False))
    concurrency: int = Field(sa_column=Column(Integer, nullable=False))
    weight: float = Field(sa_column=Column(Float, nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))


class ApiSecret(SQLModel, table=True):
    """A secret of a key, as its SHA-256 digest. Several may be live: a rotation overlaps."""

    __tablename__ = "api_secret"

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    key_id: int = Field(sa_column=Column(ForeignKey("api_key.id"), nullable=False, index=True))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    expires_at: datetime | None = Field(sa_column=moment())
    revoked_at: datetime | None = Field(sa_column=moment())


class UsageRow(SQLModel, table=True):
    """What a key has taken, kept by triggers; its limits are copied here when they change.

    `depth` counts parents in the admission queue, the other three its children. `turn`, `fan_turn`
    and `fan_served` are when it was last claimed from, looked at and fanned out; `drained` is the
    decayed count behind the drain rate. `open` and `able` are what fan-out and claim look for.
    """

    __tablename__ = "usage"
    __table_args__ = (
        Index("usage_open", "fan_turn", postgresql_where=text("open")),
        {"postgresql_with": {"fillfactor": 50}},
    )

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    depth: int = Field(sa_column=count())
    queued: int = Field(sa_column=count())
    processing: int = Field(sa_column=count())
    retrying: int = Field(sa_column=count())
    capacity: int = Field(sa_column=count())
    concurrency: int = Field(sa_column=count())
    weight: float = Field(sa_column=Column(Float, nullable=False, server_default=text("1")))
    turn: float = Field(sa_column=epoch())
    fan_turn: float = Field(sa_column=epoch())
    fan_served: float = Field(sa_column=epoch())
    drained: float = Field(sa_column=epoch())
    drained_at: float = Field(sa_column=epoch())
    open: bool = Field(
        sa_column=Column(
            Boolean,
            Computed(
                "depth > 0 AND queued + processing + retrying < 2 * concurrency", persisted=True
            ),
        )
    )
    able: bool = Field(
        sa_column=Column(
            Boolean, Computed("queued > 0 AND processing < concurrency", persisted=True)
        )
    )
