"""The tables of parents, children, lanes and nodes, with their constraints and indexes."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from admission.tables import ApiKey, ApiSecret, UsageRow, count, moment
from orchestrator.domain.states import ChildState, ParentState

__all__ = [
    "ApiKey",
    "ApiSecret",
    "Backlog",
    "Child",
    "Inflight",
    "Lane",
    "LaneLoad",
    "Node",
    "Parent",
    "Surface",
    "UsageRow",
    "metadata",
]

metadata = SQLModel.metadata

# Hot rows die young: vacuum by count, not by share, so that it comes as often for a large table.
BUSY = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 5000,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_vacuum_cost_delay": 0,
}
COUNTERS = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
}


def one_of(column: str, states: type[ParentState] | type[ChildState]) -> str:
    """The CHECK that a text column holds one of these states."""
    return f"{column} IN ({', '.join(repr(state.value) for state in states)})"


def small(default: str | None = None, *, nullable: bool = False) -> Column[int]:
    """A two-byte number."""
    return Column(
        SmallInteger, nullable=nullable, server_default=text(default) if default else None
    )


class Lane(SQLModel, table=True):
    """A surface seen from a country: the unit of upstream capacity."""

    __tablename__ = "lane"
    __table_args__ = (
        UniqueConstraint("surface", "country", name="lane_place"),
        CheckConstraint("concurrency >= 0", name="lane_concurrency"),
    )

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    surface: str = Field(sa_column=Column(Text, nullable=False))
    country: str = Field(sa_column=Column(Text, nullable=False))
    concurrency: int = Field(sa_column=Column(Integer, nullable=False))


class Parent(SQLModel, table=True):
    """A submitted job. Its children exist only once it has left the admission queue."""

    __tablename__ = "parent"
    __table_args__ = (
        CheckConstraint(one_of("state", ParentState), name="parent_state"),
        CheckConstraint("priority BETWEEN 1 AND 10", name="parent_priority"),
        CheckConstraint("done BETWEEN 0 AND total", name="parent_done"),
        Index(
            "parent_queue",
            "key_id",
            text("priority DESC"),
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        {"postgresql_with": BUSY},
    )

    id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False, server_default="queued"))
    priority: int = Field(sa_column=small())
    lanes: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    total: int = Field(sa_column=Column(Integer, nullable=False))
    done: int = Field(sa_column=count())
    failed: int = Field(sa_column=count())
    canceled: int = Field(sa_column=count())
    expired: int = Field(sa_column=count())
    run: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("1")))
    payload: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    started_at: datetime | None = Field(sa_column=moment())
    finished_at: datetime | None = Field(sa_column=moment())


class Child(SQLModel, table=True):
    """A cell that has left the queue: one capture, however many attempts it takes."""

    __tablename__ = "child"
    __table_args__ = (
        CheckConstraint(one_of("state", ChildState), name="child_state"),
        CheckConstraint("(claim IS NOT NULL) = (state = 'processing')", name="child_claim"),
        Index(
            "child_ready",
            "key_id",
            text("priority DESC"),
            "parent_id",
            "ordinal",
            postgresql_include=["lane_id"],
            postgresql_where=text("state = 'queued'"),
        ),
        Index("child_node", "node", postgresql_where=text("state = 'processing'")),
        Index("child_due", "run_at", postgresql_where=text("state = 'retrying'")),
        {"postgresql_with": BUSY},
    )

    parent_id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    ordinal: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    lane_id: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False, server_default="queued"))
    priority: int = Field(sa_column=small())
    attempt: int = Field(sa_column=small("0"))
    lost: int = Field(sa_column=small("0"))
    claim: int | None = Field(sa_column=Column(BigInteger))
    node: int | None = Field(sa_column=Column(Integer))
    run_at: datetime | None = Field(sa_column=moment())
    started_at: datetime | None = Field(sa_column=moment())
    claimed_at: datetime | None = Field(sa_column=moment())
    finished_at: datetime | None = Field(sa_column=moment())
    response_code: int | None = Field(sa_column=small(nullable=True))
    error: dict[str, Any] | None = Field(sa_column=Column(JSON))
    log: list[Any] | None = Field(sa_column=Column(ARRAY(JSON)))
    result: dict[str, Any] | None = Field(sa_column=Column(JSON))


class Node(SQLModel, table=True):
    """A live worker process: its last heartbeat says until when it counts as alive."""

    __tablename__ = "node"

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    host: str = Field(sa_column=Column(Text, nullable=False))
    pid: int = Field(sa_column=Column(Integer, nullable=False))
    slots: int = Field(sa_column=Column(Integer, nullable=False))
    surfaces: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    started_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    heartbeat_at: datetime = Field(sa_column=moment(nullable=False, now=True))


class Surface(SQLModel, table=True):
    """What a worker published of a surface when it registered; the newest registration wins."""

    __tablename__ = "surface"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    descriptor: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    registered_at: datetime = Field(sa_column=moment(nullable=False, now=True))


class Backlog(SQLModel, table=True):
    """Cells of a key that wait at a priority: waiting, queued or retrying."""

    __tablename__ = "backlog"
    __table_args__ = ({"postgresql_with": COUNTERS},)

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    priority: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    n: int = Field(sa_column=count())


class Inflight(SQLModel, table=True):
    """Cells of a key in a lane by state; `waiting` are those whose parent is in the queue."""

    __tablename__ = "inflight"
    __table_args__ = (
        Index("inflight_ready", "lane_id", "key_id", postgresql_where=text("ready")),
        {"postgresql_with": COUNTERS},
    )

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    lane_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    waiting: int = Field(sa_column=count())
    queued: int = Field(sa_column=count())
    processing: int = Field(sa_column=count())
    retrying: int = Field(sa_column=count())
    ready: bool = Field(sa_column=Column(Boolean, Computed("queued > 0", persisted=True)))


class LaneLoad(SQLModel, table=True):
    """Children in a lane by state, over all keys."""

    __tablename__ = "lane_load"
    __table_args__ = ({"postgresql_with": {**COUNTERS, "fillfactor": 20}},)

    lane_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    queued: int = Field(sa_column=count())
    processing: int = Field(sa_column=count())
    retrying: int = Field(sa_column=count())
