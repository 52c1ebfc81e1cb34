"""What ends is told: an outbox of deliveries, and the secrets they are signed with."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OUTBOX = {
    "fillfactor": 100,
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 5000,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_vacuum_cost_delay": 0,
}


def upgrade() -> None:
    op.add_column("parent", sa.Column("endpoint", sa.BigInteger(), nullable=True))
    op.add_column(
        "parent", sa.Column("tells", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.create_check_constraint("parent_endpoint", "parent", "(endpoint IS NULL) = (tells = 0)")
    outbox()
    secrets()


def outbox() -> None:
    op.create_table(
        "delivery",
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("again", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("endpoint", sa.BigInteger(), nullable=False),
        moment("due_at"),
        moment("created_at"),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("claim", sa.BigInteger(), nullable=True),
        sa.Column("last_code", sa.SmallInteger(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("counts", postgresql.ARRAY(sa.Integer()), nullable=True),
        sa.Column("cell", postgresql.JSON(), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'dead')", name="delivery_status"),
        sa.CheckConstraint("claim IS NULL OR status = 'pending'", name="delivery_claim"),
        sa.CheckConstraint(
            "(delivered_at IS NOT NULL) = (status = 'delivered')", name="delivery_delivered"
        ),
        sa.PrimaryKeyConstraint("parent_id", "run", "ordinal"),
        postgresql_with=OUTBOX,
    )
    op.create_index(
        "delivery_pending",
        "delivery",
        ["again", "endpoint", "due_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "delivery_listed",
        "delivery",
        ["status", "key_id", "created_at", "parent_id", "ordinal", "run"],
    )


def secrets() -> None:
    op.create_table(
        "webhook_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        moment("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhook_secret_key", "webhook_secret", ["key_id", "created_at"])


def moment(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )
