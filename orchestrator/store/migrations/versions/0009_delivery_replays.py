"""Replays of a time's deliveries are stored, and carried out in batches."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "delivery_replay",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("statuses", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "turn_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reached_parent", sa.Uuid(), nullable=True),
        sa.Column("reached_ordinal", sa.SmallInteger(), nullable=True),
        sa.Column("reached_run", sa.Integer(), nullable=True),
        sa.CheckConstraint("statuses <> '{}'", name="delivery_replay_statuses"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("delivery_replay_turn", "delivery_replay", ["turn_at", "id"])
