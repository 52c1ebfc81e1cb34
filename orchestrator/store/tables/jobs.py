"""The tables of parents and their children."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from admission.tables import count, moment
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.tables.storage import BUSY

TASKS = ("key_id", "state", "id")
"""The order in which tasks are listed, state by state."""


def one_of(column: str, states: type[ParentState] | type[ChildState]) -> str:
    """The CHECK that a text column holds one of these states."""
    return f"{column} IN ({', '.join(repr(state.value) for state in states)})"


def small(default: str | None = None, *, nullable: bool = False) -> Column[int]:
    """A two-byte number."""
    return Column(
        SmallInteger, nullable=nullable, server_default=text(default) if default else None
    )


class Parent(SQLModel, table=True):
    """A submitted job. Its children exist only once it has left the admission queue.

    A parent of mode `sync` never enters it: somebody waits for its end. Once nobody does it is
    `detached`. `fingerprint` is a digest of the parsed request, to know a replay by.

    `delayed` until `not_before`; past `deadline_at` what has not ended expires. `stop` is what its
    unfinished cells were told to end as; `finish` completed cells are enough. `todo` are the
    ordinals that are to run when not all are: those of a retry, or without some that were canceled.
    Credits are `estimated` when it is admitted and `charged` as its cells complete.

    Of what ends `tells` says which events go to its webhook (`orchestrator.domain.webhooks`), and
    `endpoint` whose: None without one.

    A parent with a `queue` is a task of the queue a client gave that name.

    `strand` names those of its key's parents that need the same lanes at the same priority: what
    one of them waits for in the queue, all do.
    """

    __tablename__ = "parent"
    __table_args__ = (
        CheckConstraint(one_of("state", ParentState), name="parent_state"),
        CheckConstraint("mode IN ('async', 'sync', 'detached')", name="parent_mode"),
        CheckConstraint(
            "(idempotency_key IS NULL) = (fingerprint IS NULL)", name="parent_fingerprint"
        ),
        CheckConstraint("priority BETWEEN 1 AND 10", name="parent_priority"),
        CheckConstraint("done BETWEEN 0 AND total", name="parent_done"),
        CheckConstraint("stop IN ('canceled', 'expired')", name="parent_stop"),
        CheckConstraint("(endpoint IS NULL) = (tells = 0)", name="parent_endpoint"),
        CheckConstraint(
            "state <> 'delayed' OR not_before IS NOT NULL", name="parent_delayed_until"
        ),
        Index("parent_queue", "strand", "id", postgresql_where=text("state = 'queued'")),
        Index(
            "parent_idempotency",
            "key_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index("parent_listed", "state", "key_id", "id"),
        Index("parent_grouped", "group_id", "id", postgresql_where=text("group_id IS NOT NULL")),
        Index("parent_delayed", "not_before", postgresql_where=text("state = 'delayed'")),
        Index(
            "parent_overdue",
            "deadline_at",
            postgresql_where=text(
                "deadline_at IS NOT NULL AND stop IS NULL AND finished_at IS NULL"
            ),
        ),
        Index("parent_tasks", *TASKS, postgresql_where=text("queue IS NOT NULL")),
        Index("parent_queue_tasks", "queue", *TASKS, postgresql_where=text("queue IS NOT NULL")),
        Index("parent_ended", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        {"postgresql_with": BUSY},
    )

    id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False, server_default="queued"))
    mode: str = Field(sa_column=Column(Text, nullable=False, server_default="async"))
    priority: int = Field(sa_column=small())
    lanes: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    total: int = Field(sa_column=Column(Integer, nullable=False))
    done: int = Field(sa_column=count())
    failed: int = Field(sa_column=count())
    canceled: int = Field(sa_column=count())
    expired: int = Field(sa_column=count())
    run: int = Field(sa_column=Column(Integer, nullable=False, server_default=text("1")))
    payload: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    idempotency_key: str | None = Field(sa_column=Column(Text))
    fingerprint: bytes | None = Field(sa_column=Column(LargeBinary))
    group_id: int | None = Field(sa_column=Column(Integer))
    todo: list[int] | None = Field(sa_column=Column(ARRAY(SmallInteger)))
    finish: int | None = Field(sa_column=Column(Integer))
    stop: str | None = Field(sa_column=Column(Text))
    estimated: int = Field(sa_column=count())
    charged: int = Field(sa_column=count())
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    not_before: datetime | None = Field(sa_column=moment())
    deadline_at: datetime | None = Field(sa_column=moment())
    cancel_requested_at: datetime | None = Field(sa_column=moment())
    started_at: datetime | None = Field(sa_column=moment())
    finished_at: datetime | None = Field(sa_column=moment())
    endpoint: int | None = Field(sa_column=Column(BigInteger))
    tells: int = Field(sa_column=small("0"))
    queue: str | None = Field(sa_column=Column(Text))
    strand: int = Field(
        sa_column=Column(
            BigInteger,
            Computed(
                "hash_array_extended(lanes, key_id::bigint * 16 + priority)"
                " # COALESCE(hash_array_extended(todo, 0), 0)",
                persisted=True,
            ),
        )
    )


class Child(SQLModel, table=True):
    """A cell that has left the queue: one capture, however many attempts it takes.

    The priority of a sync parent's child is its parent's + 100. `stop` is what it ends as once it
    stops running; whoever takes it out of `processing` without an end reads it.
    """

    __tablename__ = "child"
    __table_args__ = (
        CheckConstraint(one_of("state", ChildState), name="child_state"),
        CheckConstraint("(claim IS NOT NULL) = (state = 'processing')", name="child_claim"),
        CheckConstraint("stop IN ('canceled', 'expired')", name="child_stop"),
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
        Index(
            "child_stopped",
            "node",
            postgresql_where=text("state = 'processing' AND stop IS NOT NULL"),
        ),
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
    group_id: int | None = Field(sa_column=Column(Integer))
    stop: str | None = Field(sa_column=Column(Text))
    charged: int = Field(sa_column=count())
    cancel_requested_at: datetime | None = Field(sa_column=moment())
    run_at: datetime | None = Field(sa_column=moment())
    started_at: datetime | None = Field(sa_column=moment())
    claimed_at: datetime | None = Field(sa_column=moment())
    finished_at: datetime | None = Field(sa_column=moment())
    response_code: int | None = Field(sa_column=small(nullable=True))
    error: dict[str, Any] | None = Field(sa_column=Column(JSON))
    log: list[Any] | None = Field(sa_column=Column(ARRAY(JSON)))
    result: dict[str, Any] | None = Field(sa_column=Column(JSON))


class SharedCall(SQLModel, table=True):
    """One upstream call for identical cells: `digest` says which, `token` which call.

    It runs in the worker process `node` while it has neither a `capture` nor a `failure`. It counts
    `until` then: the capture's age, or the latest moment at which the call can still be running.
    """

    __tablename__ = "shared_call"
    __table_args__ = (Index("shared_call_until", "until"), {"postgresql_with": BUSY})

    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    token: uuid.UUID = Field(sa_column=Column(Uuid, nullable=False))
    node: int = Field(sa_column=Column(Integer, nullable=False))
    until: datetime = Field(sa_column=moment(nullable=False))
    capture: str | None = Field(sa_column=Column(Text))
    failure: str | None = Field(sa_column=Column(Text))
