"""Sync callers, idempotency keys, request rates, breakers."""
# ruff: noqa: E501 - Alembic writes a constraint as it stands

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTERS = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
}


def upgrade() -> None:
    widen()
    count_sync()
    create()
    op.execute("DROP FUNCTION drain_rate(float8, float8, float8)")
    op.execute(
        sa.text(Path(__file__).with_name("0002_counters.sql").read_text().replace(":", r"\:"))
    )
    op.execute("UPDATE usage u SET sync_limit = k.sync_limit FROM api_key k WHERE k.id = u.key_id")
    op.execute("""
        UPDATE inflight i SET asked = a.n
        FROM (SELECT key_id, lane_id, count(*) AS n FROM parent, unnest(lanes) AS lane_id GROUP BY 1, 2) a
        WHERE (a.key_id, a.lane_id) = (i.key_id, i.lane_id)""")


def widen() -> None:
    op.add_column("parent", sa.Column("mode", sa.Text(), server_default="async", nullable=False))
    op.add_column("parent", sa.Column("idempotency_key", sa.Text(), nullable=True))
    op.add_column("parent", sa.Column("fingerprint", sa.LargeBinary(), nullable=True))
    op.create_check_constraint("parent_mode", "parent", "mode IN ('async', 'sync', 'detached')")
    op.create_check_constraint(
        "parent_fingerprint", "parent", "(idempotency_key IS NULL) = (fingerprint IS NULL)"
    )
    op.create_index(
        "parent_idempotency",
        "parent",
        ["key_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.add_column("node", sa.Column("kind", sa.Text(), server_default="worker", nullable=False))
    op.create_check_constraint("node_kind", "node", "kind IN ('worker', 'api')")
    op.add_column("lane", counter("failures"))
    op.add_column("lane", sa.Column("open_until", sa.DateTime(timezone=True), nullable=True))


def count_sync() -> None:
    op.add_column("inflight", counter("sync_queued"))
    op.add_column(
        "inflight", sa.Column("asked", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("lane_load", counter("sync_processing"))
    for name in ("detached", "sync_queued", "sync_processing", "sync_retrying", "sync_limit"):
        op.add_column("usage", counter(name))
    for name in ("sync_turn", "drained_from", "promised", "sync_promised"):
        op.add_column(
            "usage", sa.Column(name, sa.Float(), server_default=sa.text("0"), nullable=False)
        )
    op.drop_index("usage_open", "usage")
    for name, said in (
        (
            "open",
            "depth > 0 AND queued + processing + retrying - sync_queued - sync_processing - sync_retrying < 2 * concurrency",
        ),
        (
            "able",
            "processing < concurrency + sync_limit AND (sync_queued > 0 OR (queued > sync_queued AND processing - sync_processing < concurrency))",
        ),
    ):
        op.drop_column("usage", name)
        op.add_column(
            "usage", sa.Column(name, sa.Boolean(), sa.Computed(said, persisted=True), nullable=True)
        )
    op.create_index("usage_open", "usage", ["fan_turn"], postgresql_where=sa.text("open"))


def create() -> None:
    op.create_table(
        "sync_wait",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column(
            "since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={**COUNTERS, "fillfactor": 100},
    )
    for column in ("key_id", "parent_id", "node"):
        op.create_index(f"ix_sync_wait_{column}", "sync_wait", [column])
    op.create_table(
        "rate_bucket",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("filled_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "rate_lot",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.Integer(), autoincrement=False, nullable=False),
        counter("tokens"),
        sa.Column("leased_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "node"),
        postgresql_with={"fillfactor": 50},
    )


def counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
