"""The tables of what can be captured, who captures and who looks on."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Float,
    Identity,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from admission.tables import SHORT_LIVED, count, epoch, moment


class Lane(SQLModel, table=True):
    """A surface seen from a country: the unit of upstream capacity.

    `concurrency` and `rate` (starts a second) are as configured. `limited` is an operator's limit,
    `paused_at` since when an operator has nothing start. `adaptive` is how many at once an upstream
    bears that throttled: halved at `halved_at`, grown with each window of `good` captures until
    there is none. `allowed` is the least of these limits: how many run at once.

    `failures` counts attempts that failed in a row; while its breaker is open (`open_until` in the
    future) nothing starts. Nor does before `not_before`: the upstream said when to come again. Of a
    lane that does not `learn` none of this is true: its upstreams are each job's own.
    """

    __tablename__ = "lane"
    __table_args__ = (
        UniqueConstraint("surface", "country", name="lane_place"),
        CheckConstraint("concurrency >= 0", name="lane_concurrency"),
        CheckConstraint("rate > 0", name="lane_rate"),
        CheckConstraint("limited > 0", name="lane_limited"),
    )

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    surface: str = Field(sa_column=Column(Text, nullable=False))
    country: str = Field(sa_column=Column(Text, nullable=False))
    concurrency: int = Field(sa_column=Column(Integer, nullable=False))
    rate: float | None = Field(sa_column=Column(Float))
    limited: int | None = Field(sa_column=Column(Integer))
    paused_at: datetime | None = Field(sa_column=moment())
    adaptive: int | None = Field(sa_column=Column(Integer))
    good: int = Field(sa_column=count())
    halved_at: datetime | None = Field(sa_column=moment())
    failures: int = Field(sa_column=count())
    open_until: datetime | None = Field(sa_column=moment())
    not_before: datetime | None = Field(sa_column=moment())
    learns: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("true")))
    allowed: int = Field(
        sa_column=Column(Integer, Computed("LEAST(concurrency, limited, adaptive)", persisted=True))
    )


class LanePace(SQLModel, table=True):
    """The token bucket of a lane's rate as of `filled_at` (epoch seconds); none is an empty one.

    `turn` is the lane's virtual time, that of its last start. Once the lane is made claims alone
    write it, one by one.
    """

    __tablename__ = "lane_pace"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},)

    lane_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    tokens: float = Field(sa_column=Column(Float, nullable=False))
    filled_at: float = Field(sa_column=Column(Float, nullable=False))
    turn: float = Field(sa_column=epoch())


class LaneTurn(SQLModel, table=True):
    """When a key may start next in a lane with a rate, in the lane's virtual time.

    Claims alone write it; what lies behind the lane's own turn says nothing and is swept away.
    """

    __tablename__ = "lane_turn"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": SHORT_LIVED},)

    lane_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    turn: float = Field(sa_column=Column(Float, nullable=False))


class Node(SQLModel, table=True):
    """A live process: its last heartbeat says until when it counts as alive.

    Since `good_since` none of its heartbeats was late. Its sessions are called `session`.
    """

    __tablename__ = "node"
    __table_args__ = (CheckConstraint("kind IN ('worker', 'api')", name="node_kind"),)

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    kind: str = Field(sa_column=Column(Text, nullable=False, server_default="worker"))
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    slots: int = Field(sa_column=Column(Integer, nullable=False))
    surfaces: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    started_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    heartbeat_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    good_since: datetime = Field(sa_column=moment(nullable=False, now=True))
    session: str = Field(sa_column=Column(Text, nullable=False, server_default=""))


class Surface(SQLModel, table=True):
    """What a worker published of a surface when it registered; the newest registration wins."""

    __tablename__ = "surface"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    descriptor: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    registered_at: datetime = Field(sa_column=moment(nullable=False, now=True))


class Watcher(SQLModel, table=True):
    """How many streams and long polls of a key an API process holds open."""

    __tablename__ = "watcher"
    __table_args__ = ({"postgresql_with": SHORT_LIVED},)

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    node: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    n: int = Field(sa_column=count())
