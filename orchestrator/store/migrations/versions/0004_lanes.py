"""Lanes with rates, pauses and adaptive limits; queues as strands."""
# ruff: noqa: E501 - Alembic writes a constraint as it stands

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
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
    widen_lanes()
    pace()
    part_queues()
    functions = Path(__file__).with_name("0004_counters.sql").read_text()
    op.execute(sa.text(functions.replace(":", r"\:")))
    op.execute("""
        INSERT INTO strand (key_id, strand, priority, lanes, n, since)
        SELECT key_id, strand, min(priority),
               (SELECT array_agg(DISTINCT l) FROM unnest(min(cells)) AS l), count(*),
               extract(epoch FROM now())
        FROM (SELECT key_id, strand, priority,
                     CASE WHEN todo IS NULL THEN lanes
                          ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) AS o) END AS cells
              FROM parent WHERE state = 'queued') AS queued
        GROUP BY 1, 2""")


def widen_lanes() -> None:
    for column in (
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("limited", sa.Integer(), nullable=True),
        moment("paused_at"),
        sa.Column("adaptive", sa.Integer(), nullable=True),
        counter("good"),
        moment("halved_at"),
        moment("not_before"),
    ):
        op.add_column("lane", column)
    op.create_check_constraint("lane_rate", "lane", "rate > 0")
    op.create_check_constraint("lane_limited", "lane", "limited > 0")
    allowed = sa.Computed("LEAST(concurrency, limited, adaptive)", persisted=True)
    op.add_column("lane", sa.Column("allowed", sa.Integer(), allowed, nullable=True))


def pace() -> None:
    op.create_table(
        "lane_pace",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("filled_at", sa.Float(), nullable=False),
        sa.Column("turn", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("lane_id"),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "lane_turn",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("lane_id", "key_id"),
        prefixes=["UNLOGGED"],
        postgresql_with=SHORT_LIVED,
    )


def part_queues() -> None:
    passed = sa.Column("fan_passed", sa.Float(), server_default=sa.text("0"), nullable=False)
    op.add_column("usage", passed)
    strand = sa.Computed(
        "hash_array_extended(lanes, key_id::bigint * 16 + priority) # COALESCE(hash_array_extended(todo, 0), 0)",
        persisted=True,
    )
    op.add_column("parent", sa.Column("strand", sa.BigInteger(), strand, nullable=True))
    op.drop_index("parent_queue", "parent")
    op.create_index(
        "parent_queue", "parent", ["strand", "id"], postgresql_where=sa.text("state = 'queued'")
    )
    op.create_table(
        "strand",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("strand", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("lanes", postgresql.ARRAY(sa.Integer()), nullable=False),
        counter("n"),
        sa.Column("since", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("waiting", sa.Boolean(), sa.Computed("n > 0", persisted=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", "strand"),
        postgresql_with=COUNTERS,
    )
    op.create_index(
        "strand_waiting",
        "strand",
        ["key_id", sa.text("priority DESC"), "strand"],
        postgresql_where=sa.text("waiting"),
    )


def counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)
