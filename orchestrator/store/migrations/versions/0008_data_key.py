"""Secrets are sealed under a key of the database's own, which is kept sealed itself."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_key",
        sa.Column(
            "id",
            sa.SmallInteger(),
            autoincrement=False,
            server_default=sa.text("1"),
            nullable=False,
        ),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="data_key_one"),
        sa.PrimaryKeyConstraint("id"),
    )
