"""Delays, deadlines, early ends, cancels, retries, groups, reservations, watchers."""
# ruff: noqa: E501 - Alembic writes a constraint as it stands

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNTERS = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
}
SHORT_LIVED = {**COUNTERS, "fillfactor": 100}


def upgrade() -> None:
    widen_parents()
    widen_children()
    widen_usage()
    group()
    hold()
    op.drop_index("usage_open", "usage")
    op.drop_column("usage", "open")
    op.add_column(
        "usage",
        sa.Column(
            "open",
            sa.Boolean(),
            sa.Computed(
                "depth > delayed AND queued + processing + retrying - sync_queued - sync_processing - sync_retrying < 2 * concurrency",
                persisted=True,
            ),
            nullable=True,
        ),
    )
    op.create_index("usage_open", "usage", ["fan_turn"], postgresql_where=sa.text("open"))
    op.execute(
        sa.text(Path(__file__).with_name("0003_counters.sql").read_text().replace(":", r"\:"))
    )


def widen_parents() -> None:
    for column in (
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("todo", postgresql.ARRAY(sa.SmallInteger()), nullable=True),
        sa.Column("finish", sa.Integer(), nullable=True),
        sa.Column("stop", sa.Text(), nullable=True),
        counter("estimated"),
        counter("charged"),
        moment("not_before"),
        moment("deadline_at"),
        moment("cancel_requested_at"),
    ):
        op.add_column("parent", column)
    op.drop_constraint("parent_state", "parent")
    op.create_check_constraint(
        "parent_state",
        "parent",
        "state IN ('delayed', 'queued', 'processing', 'completed', 'partial', 'failed', 'canceled', 'expired')",
    )
    op.create_check_constraint("parent_stop", "parent", "stop IN ('canceled', 'expired')")
    op.create_check_constraint(
        "parent_delayed_until", "parent", "state <> 'delayed' OR not_before IS NOT NULL"
    )
    op.create_index("parent_listed", "parent", ["state", "key_id", "id"])
    for name, columns, where in (
        ("parent_grouped", ["group_id", "id"], "group_id IS NOT NULL"),
        ("parent_delayed", ["not_before"], "state = 'delayed'"),
        (
            "parent_overdue",
            ["deadline_at"],
            "deadline_at IS NOT NULL AND stop IS NULL AND finished_at IS NULL",
        ),
    ):
        op.create_index(name, "parent", columns, postgresql_where=sa.text(where))


def widen_children() -> None:
    for column in (
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("stop", sa.Text(), nullable=True),
        counter("charged"),
        moment("cancel_requested_at"),
    ):
        op.add_column("child", column)
    op.create_check_constraint("child_stop", "child", "stop IN ('canceled', 'expired')")
    op.create_index(
        "child_stopped",
        "child",
        ["node"],
        postgresql_where=sa.text("state = 'processing' AND stop IS NOT NULL"),
    )


def widen_usage() -> None:
    for name in ("delayed", "fanned", "claimed"):
        op.add_column("usage", counter(name))
    for name in ("ended", "ended_at", "ended_from", "busy", "spent", "busy_at"):
        op.add_column(
            "usage", sa.Column(name, sa.Float(), server_default=sa.text("0"), nullable=False)
        )


def group() -> None:
    op.create_table(
        "parent_group",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        moment("created_at", now=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_id", "name", name="parent_group_name"),
    )
    op.create_table(
        "group_usage",
        sa.Column("group_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        counter("n"),
        sa.PrimaryKeyConstraint("group_id", "what"),
        postgresql_with=COUNTERS,
    )
    op.create_table(
        "group_action",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("statuses", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("working", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reached", sa.Uuid(), nullable=True),
        moment("created_at", now=True),
        moment("retry_at", now=True),
        moment("finished_at"),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("kind IN ('cancel', 'retry')", name="group_action_kind"),
    )
    unfinished = sa.text("finished_at IS NULL")
    op.create_index(
        "group_action_due", "group_action", ["retry_at", "id"], postgresql_where=unfinished
    )
    op.create_index("group_action_open", "group_action", ["group_id"], postgresql_where=unfinished)


def hold() -> None:
    op.create_table(
        "reservation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        moment("created_at", now=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("places >= 0", name="reservation_places"),
        postgresql_with=SHORT_LIVED,
    )
    op.create_index("ix_reservation_key_id", "reservation", ["key_id"])
    op.create_index("reservation_expired", "reservation", ["expires_at"])
    op.create_table(
        "watcher",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.Integer(), autoincrement=False, nullable=False),
        counter("n"),
        sa.PrimaryKeyConstraint("key_id", "node"),
        postgresql_with=SHORT_LIVED,
    )


def counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def moment(name: str, *, now: bool = False) -> sa.Column[datetime]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        server_default=sa.text("now()") if now else None,
        nullable=not now,
    )
