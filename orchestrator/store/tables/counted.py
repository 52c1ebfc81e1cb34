"""The tables of counters beside `usage`; `orchestrator.store.counters` keeps them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Index,
    Integer,
    SmallInteger,
    text,
)
from sqlmodel import Field, SQLModel

from admission.tables import ZERO, count, epoch
from orchestrator.store.tables.storage import COUNTERS


class Backlog(SQLModel, table=True):
    """Cells of a key that wait at a priority: waiting, queued or retrying."""

    __tablename__ = "backlog"
    __table_args__ = ({"postgresql_with": COUNTERS},)

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    priority: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    n: int = Field(sa_column=count())


class Strand(SQLModel, table=True):
    """The `n` queued parents of a key that need the same `lanes` at the same priority.

    A queue is a few strands, however long it is: which of its parents may leave is decided by these
    rows. The parents of a strand leave in their order; `since` (epoch seconds) is when the last one
    did, or when it began. Empty ones are swept away after a while.
    """

    __tablename__ = "strand"
    __table_args__ = (
        Index(
            "strand_waiting",
            "key_id",
            text("priority DESC"),
            "strand",
            postgresql_where=text("waiting"),
        ),
        {"postgresql_with": COUNTERS},
    )

    key_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    strand: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    lanes: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    n: int = Field(sa_column=count())
    since: float = Field(sa_column=epoch())
    waiting: bool = Field(sa_column=Column(Boolean, Computed("n > 0", persisted=True)))


class Inflight(SQLModel, table=True):
    """Cells of a key in a lane by state; `waiting` are those whose parent is in the queue.

    `sync_queued` are those of the queued that belong to a sync parent; `asked` counts every cell
    ever accepted.
    """

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
    sync_queued: int = Field(sa_column=count())
    asked: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=ZERO))
    ready: bool = Field(sa_column=Column(Boolean, Computed("queued > 0", persisted=True)))


class LaneLoad(SQLModel, table=True):
    """Children in a lane by state, over all keys."""

    __tablename__ = "lane_load"
    __table_args__ = ({"postgresql_with": {**COUNTERS, "fillfactor": 20}},)

    lane_id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    queued: int = Field(sa_column=count())
    processing: int = Field(sa_column=count())
    retrying: int = Field(sa_column=count())
    sync_processing: int = Field(sa_column=count())
