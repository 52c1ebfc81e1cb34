"""What ended long ago is found by its end; nodes say since when the database has been there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ended("parent_ended", "parent")
    ended("group_action_done", "group_action")
    good_since = sa.Column(
        "good_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )
    op.add_column("node", good_since)
    session = sa.Column("session", sa.Text(), server_default="", nullable=False)
    op.add_column("node", session)


def ended(index: str, table: str) -> None:
    op.create_index(
        index, table, ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
