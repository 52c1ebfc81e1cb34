"""The tables of admission: keys, their secrets, and what each has taken."""

import uuid
from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlmodel import Field, SQLModel

# Rows that live for seconds: vacuumed by their number, often.
SHORT_LIVED = {
    "fillfactor": 100,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
}
NOW = text("now()")
ZERO = text("0")


def moment(*, nullable: bool = True, now: bool = False) -> Column[datetime]:
    """A column for a time, in UTC; the database's clock fills it in when `now`."""
    return Column(DateTime(timezone=True), nullable=nullable, server_default=NOW if now else None)


def count() -> Column[int]:
    """A counter. No CHECK (n >= 0): an upsert checks the proposed row before the conflict."""
    return Column(Integer, nullable=False, server_default=ZERO)


def large() -> Column[int]:
    """A counter of what may be more than two thousand million."""
    return Column(BigInteger, nullable=False, server_default=ZERO)


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
        CheckConstraint("quota_daily >= 0 AND quota_monthly >= 0", name="api_key_quotas"),
    )

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    role: str = Field(sa_column=Column(Text, nullable=False, server_default="client"))
    requests_per_minute: int = Field(sa_column=Column(Integer, nullable=False))
    sync_limit: int = Field(sa_column=Column(Integer, nullable=False))
    queue_capacity: int = Field(sa_column=Column(Integer, nullable=False))
    concurrency: int = Field(sa_column=Column(Integer, nullable=False))
    weight: float = Field(sa_column=Column(Float, nullable=False))
    quota_daily: int | None = Field(sa_column=Column(Integer))
    quota_monthly: int | None = Field(sa_column=Column(Integer))
    coalesce: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))
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

    `depth` counts parents in the admission queue, `delayed` those of them that may not leave yet,
    `detached` sync parents nobody waits for any more, the others its children; `sync_…` are those
    of them whose parent is or was sync. `turn` and `sync_turn` are when it was last claimed from,
    `fan_turn` and `fan_served` when it was last looked at and fanned out, `fan_passed` when it last
    had a parent leave past the windows of full lanes; `fanned` and `claimed` count picks, of which
    every tenth is the oldest. `drained` and `ended` are the decayed counts behind the rates of
    parents that leave the queue and of children that end; `busy` and `spent` are the decayed
    seconds that its children were running and that its attempts took which are
    over, as of `busy_at`. `promised` and `sync_promised` are until when the places that will be
    free are promised to callers who were refused. `open` and `able` are what fan-out and claim look
    for.

    `credits` are those that may still be spent (None: without end), `held` those that parents which
    have not ended may still be charged, `charged` those that were. `used_day` and `used_month` are
    the cells admitted on the day `used_on` of UTC and in its month.
    """

    __tablename__ = "usage"
    __table_args__ = (
        CheckConstraint("credits >= 0", name="usage_credits"),
        Index("usage_open", "fan_turn", postgresql_where=text("open")),
        {"postgresql_with": {"fillfactor": 50}},
    )

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    depth: int = Field(sa_column=count())
    delayed: int = Field(sa_column=count())
    queued: int = Field(sa_column=count())
    processing: int = Field(sa_column=count())
    retrying: int = Field(sa_column=count())
    detached: int = Field(sa_column=count())
    sync_queued: int = Field(sa_column=count())
    sync_processing: int = Field(sa_column=count())
    sync_retrying: int = Field(sa_column=count())
    capacity: int = Field(sa_column=count())
    sync_limit: int = Field(sa_column=count())
    concurrency: int = Field(sa_column=count())
    weight: float = Field(sa_column=Column(Float, nullable=False, server_default=text("1")))
    turn: float = Field(sa_column=epoch())
    sync_turn: float = Field(sa_column=epoch())
    fan_turn: float = Field(sa_column=epoch())
    fan_served: float = Field(sa_column=epoch())
    fan_passed: float = Field(sa_column=epoch())
    drained: float = Field(sa_column=epoch())
    drained_at: float = Field(sa_column=epoch())
    drained_from: float = Field(sa_column=epoch())
    ended: float = Field(sa_column=epoch())
    ended_at: float = Field(sa_column=epoch())
    ended_from: float = Field(sa_column=epoch())
    busy: float = Field(sa_column=epoch())
    spent: float = Field(sa_column=epoch())
    busy_at: float = Field(sa_column=epoch())
    fanned: int = Field(sa_column=count())
    claimed: int = Field(sa_column=count())
    promised: float = Field(sa_column=epoch())
    sync_promised: float = Field(sa_column=epoch())
    credits: int | None = Field(sa_column=Column(BigInteger))
    held: int = Field(sa_column=large())
    charged: int = Field(sa_column=large())
    quota_daily: int | None = Field(sa_column=Column(Integer))
    quota_monthly: int | None = Field(sa_column=Column(Integer))
    used_on: date | None = Field(sa_column=Column(Date))
    used_day: int = Field(sa_column=count())
    used_month: int = Field(sa_column=count())
    open: bool = Field(
        sa_column=Column(
            Boolean,
            Computed(
                "depth > delayed AND queued + processing + retrying"
                " - sync_queued - sync_processing - sync_retrying < 2 * concurrency",
                persisted=True,
            ),
        )
    )
    able: bool = Field(
        sa_column=Column(
            Boolean,
            Computed(
                "processing < concurrency + sync_limit AND (sync_queued > 0"
                " OR (queued > sync_queued AND processing - sync_processing < concurrency))",
                persisted=True,
            ),
        )
    )


class SyncWait(SQLModel, table=True):
    """A caller that waits for the end of a parent, and the API process that holds it.

    Each takes a place of the key's sync limit. Rows, not counters: whoever dies leaves rows that
    others delete.
    """

    __tablename__ = "sync_wait"
    __table_args__ = ({"postgresql_with": SHORT_LIVED},)

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    key_id: int = Field(sa_column=Column(Integer, nullable=False, index=True))
    parent_id: uuid.UUID = Field(sa_column=Column(Uuid, nullable=False, index=True))
    node: int = Field(sa_column=Column(Integer, nullable=False, index=True))
    since: datetime = Field(sa_column=moment(nullable=False, now=True))


class Reservation(SQLModel, table=True):
    """Places of the admission queue held for submissions to come; `places` are those not drawn.

    It counts until `expires_at`, and no longer: time alone frees what is left.
    """

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("places >= 0", name="reservation_places"),
        Index("reservation_expired", "expires_at"),
        {"postgresql_with": SHORT_LIVED},
    )

    id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False, index=True))
    places: int = Field(sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    expires_at: datetime = Field(sa_column=moment(nullable=False))


class RateBucket(SQLModel, table=True):
    """The token bucket of a key's request rate, as of `filled_at` (epoch seconds).

    Tokens leased to a process are not in it any more.
    """

    __tablename__ = "rate_bucket"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    tokens: float = Field(sa_column=Column(Float, nullable=False))
    filled_at: float = Field(sa_column=Column(Float, nullable=False))


class RateLot(SQLModel, table=True):
    """Tokens of a key leased to an API process and, as far as it has told, not spent.

    `leased_at` (epoch seconds) is when it last spoke of them; a silent one loses them.
    """

    __tablename__ = "rate_lot"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    node: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    tokens: int = Field(sa_column=count())
    leased_at: float = Field(sa_column=Column(Float, nullable=False))
