"""The tables of what is told: the outbox of webhooks, its replays, and what signs them."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from admission.tables import moment
from orchestrator.store.tables.storage import OUTBOX

PLACE = ("key_id", "created_at", "parent_id", "ordinal", "run")
"""Of a delivery in a list. Two indexes have it: a settle writes into the smaller one alone."""


class Delivery(SQLModel, table=True):
    """An event to be told, written by the transaction that made it one: its key tells it once.

    `ordinal` is the child's, 0 for its parent. Of a parent `counts` are how its cells ended then:
    completed, failed, canceled, expired. Of a child the body is made from its row, or from `cell`,
    that row as it was before its parent was run again.

    While it is pending it is attempted at `due_at`, if it was before `again`. `claim` is the token
    of whoever does that now, and `due_at` when nobody believes in them any more.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="delivery_status"),
        CheckConstraint("claim IS NULL OR status = 'pending'", name="delivery_claim"),
        CheckConstraint(
            "(delivered_at IS NOT NULL) = (status = 'delivered')", name="delivery_delivered"
        ),
        Index(
            "delivery_pending",
            "again",
            "endpoint",
            "due_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "delivery_waiting",
            *PLACE,
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "delivery_listed",
            "status",
            *PLACE,
            postgresql_where=text("status <> 'pending'"),
        ),
        {"postgresql_with": OUTBOX},
    )

    parent_id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    run: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    ordinal: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    attempts: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    again: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    endpoint: int = Field(sa_column=Column(BigInteger, nullable=False))
    due_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False, server_default="pending"))
    claim: int | None = Field(sa_column=Column(BigInteger))
    last_code: int | None = Field(sa_column=Column(SmallInteger))
    delivered_at: datetime | None = Field(sa_column=moment())
    counts: list[int] | None = Field(sa_column=Column(ARRAY(Integer)))
    cell: dict[str, Any] | None = Field(sa_column=Column(JSON))


class DeliveryReplay(SQLModel, table=True):
    """A request to send a time's deliveries of a key again, carried out in batches; then deleted.

    Those of `statuses` one after the other, created from `since` on, before `until`, as they were
    when it was made. `reached_at` and so on are the last one looked at of the first status.
    """

    __tablename__ = "delivery_replay"
    __table_args__ = (
        CheckConstraint("statuses <> '{}'", name="delivery_replay_statuses"),
        Index("delivery_replay_turn", "turn_at", "id"),
    )

    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    statuses: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    since: datetime = Field(sa_column=moment(nullable=False))
    until: datetime = Field(sa_column=moment(nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    turn_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    reached_at: datetime | None = Field(sa_column=moment())
    reached_parent: uuid.UUID | None = Field(sa_column=Column(Uuid))
    reached_ordinal: int | None = Field(sa_column=Column(SmallInteger))
    reached_run: int | None = Field(sa_column=Column(Integer))


class WebhookSecret(SQLModel, table=True):
    """A secret that a key's events are signed with, encrypted; several may be live."""

    __tablename__ = "webhook_secret"
    __table_args__ = (Index("webhook_secret_key", "key_id", "created_at"),)

    id: uuid.UUID = Field(sa_column=Column(Uuid, primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    sealed: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    expires_at: datetime | None = Field(sa_column=moment())


class DataKey(SQLModel, table=True):
    """The one key that secrets are sealed under, itself sealed under `PARALLAX_SECRET_KEY`."""

    __tablename__ = "data_key"
    __table_args__ = (CheckConstraint("id = 1", name="data_key_one"),)

    id: int = Field(
        sa_column=Column(
            SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")
        )
    )
    sealed: str = Field(sa_column=Column(Text, nullable=False))
