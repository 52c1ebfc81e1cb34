"""The tables of groups: a handle on many parents of a key."""

import uuid
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlmodel import Field, SQLModel

from admission.tables import count, moment
from orchestrator.store.tables.storage import COUNTERS


class ParentGroup(SQLModel, table=True):
    """The name a client gave many parents, with a small id that is used everywhere."""

    __tablename__ = "parent_group"
    __table_args__ = (UniqueConstraint("key_id", "name", name="parent_group_name"),)

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))


class GroupUsage(SQLModel, table=True):
    """What a group has of each: `parents.<status>`, `cells`, and `cells.` running or ended so."""

    __tablename__ = "group_usage"
    __table_args__ = ({"postgresql_with": COUNTERS},)

    group_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    what: str = Field(sa_column=Column(Text, primary_key=True))
    n: int = Field(sa_column=count())


class GroupAction(SQLModel, table=True):
    """A request on all parents a group had then, carried out in batches.

    `statuses` are those of the cells a retry is for. `reached` is the last parent looked at, of
    those that wait or (`working`) of those that work. Nothing is done before `retry_at`.
    """

    __tablename__ = "group_action"
    __table_args__ = (
        CheckConstraint("kind IN ('cancel', 'retry')", name="group_action_kind"),
        Index("group_action_due", "retry_at", "id", postgresql_where=text("finished_at IS NULL")),
        Index("group_action_open", "group_id", postgresql_where=text("finished_at IS NULL")),
        Index("group_action_done", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: int = Field(sa_column=Column(Integer, Identity(), primary_key=True))
    key_id: int = Field(sa_column=Column(Integer, nullable=False))
    group_id: int = Field(sa_column=Column(Integer, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    statuses: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    working: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    reached: uuid.UUID | None = Field(sa_column=Column(Uuid))
    created_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    retry_at: datetime = Field(sa_column=moment(nullable=False, now=True))
    finished_at: datetime | None = Field(sa_column=moment())
