"""The main job: keys, parents, children, lanes, nodes and the counters over them."""
# ruff: noqa: E501 - Alembic writes a constraint as it stands

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="client", nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("sync_limit", sa.Integer(), nullable=False),
        sa.Column("queue_capacity", sa.Integer(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("role IN ('client', 'operator')", name="api_key_role"),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND sync_limit >= 0 AND queue_capacity >= 0 AND concurrency > 0 AND weight > 0",
            name="api_key_limits",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "backlog",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "priority"),
        postgresql_with={
            "fillfactor": 50,
            "autovacuum_vacuum_scale_factor": 0.0,
            "autovacuum_vacuum_threshold": 2000,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    op.create_table(
        "child",
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lost", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("claim", sa.BigInteger(), nullable=True),
        sa.Column("node", sa.Integer(), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_code", sa.SmallInteger(), nullable=True),
        sa.Column("error", postgresql.JSON(), nullable=True),
        sa.Column("log", sa.ARRAY(postgresql.JSON()), nullable=True),
        sa.Column("result", postgresql.JSON(), nullable=True),
        sa.CheckConstraint("(claim IS NOT NULL) = (state = 'processing')", name="child_claim"),
        sa.CheckConstraint(
            "state IN ('queued', 'processing', 'retrying', 'completed', 'failed', 'canceled', 'expired')",
            name="child_state",
        ),
        sa.PrimaryKeyConstraint("parent_id", "ordinal"),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.01,
            "autovacuum_vacuum_threshold": 5000,
            "autovacuum_analyze_scale_factor": 0.02,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    op.create_index(
        "child_due", "child", ["run_at"], postgresql_where=sa.text("state = 'retrying'")
    )
    op.create_index(
        "child_node", "child", ["node"], postgresql_where=sa.text("state = 'processing'")
    )
    op.create_index(
        "child_ready",
        "child",
        ["key_id", sa.literal_column("priority DESC"), "parent_id", "ordinal"],
        postgresql_include=["lane_id"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "inflight",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("waiting", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("queued", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("processing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retrying", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("ready", sa.Boolean(), sa.Computed("queued > 0", persisted=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", "lane_id"),
        postgresql_with={
            "fillfactor": 50,
            "autovacuum_vacuum_scale_factor": 0.0,
            "autovacuum_vacuum_threshold": 2000,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    op.create_index(
        "inflight_ready", "inflight", ["lane_id", "key_id"], postgresql_where=sa.text("ready")
    )
    op.create_table(
        "lane",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.CheckConstraint("concurrency >= 0", name="lane_concurrency"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("surface", "country", name="lane_place"),
    )
    op.create_table(
        "lane_load",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("queued", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("processing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retrying", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("lane_id"),
        postgresql_with={
            "fillfactor": 20,
            "autovacuum_vacuum_scale_factor": 0.0,
            "autovacuum_vacuum_threshold": 2000,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("surfaces", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "parent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("lanes", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("canceled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expired", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("run", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("payload", postgresql.JSON(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'processing', 'completed', 'partial', 'failed', 'canceled', 'expired')",
            name="parent_state",
        ),
        sa.CheckConstraint("done BETWEEN 0 AND total", name="parent_done"),
        sa.CheckConstraint("priority BETWEEN 1 AND 10", name="parent_priority"),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.01,
            "autovacuum_vacuum_threshold": 5000,
            "autovacuum_analyze_scale_factor": 0.02,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    op.create_index(
        "parent_queue",
        "parent",
        ["key_id", sa.literal_column("priority DESC"), "id"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "surface",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("descriptor", postgresql.JSON(), nullable=False),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "usage",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("depth", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("queued", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("processing", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retrying", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("capacity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("concurrency", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Float(), server_default=sa.text("1"), nullable=False),
        sa.Column("turn", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("fan_turn", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("fan_served", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("drained", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("drained_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "open",
            sa.Boolean(),
            sa.Computed(
                "depth > 0 AND queued + processing + retrying < 2 * concurrency", persisted=True
            ),
            nullable=True,
        ),
        sa.Column(
            "able",
            sa.Boolean(),
            sa.Computed("queued > 0 AND processing < concurrency", persisted=True),
            nullable=True,
        ),
        sa.PrimaryKeyConstraint("key_id"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("usage_open", "usage", ["fan_turn"], postgresql_where=sa.text("open"))
    op.create_table(
        "api_secret",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_key.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(op.f("ix_api_secret_key_id"), "api_secret", ["key_id"])
    op.execute(
        sa.text(Path(__file__).with_name("0001_counters.sql").read_text().replace(":", r"\:"))
    )
