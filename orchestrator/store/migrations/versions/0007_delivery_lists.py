"""Deliveries that wait and those that ended are listed by an index each.

Some databases have them by an early form of 0006: there they are made anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PLACE = ["key_id", "created_at", "parent_id", "ordinal", "run"]


def upgrade() -> None:
    op.drop_index("delivery_listed", "delivery")
    op.drop_index("delivery_waiting", "delivery", if_exists=True)
    index("delivery_waiting", PLACE, "status = 'pending'")
    index("delivery_listed", ["status", *PLACE], "status <> 'pending'")


def index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "delivery", columns, postgresql_where=sa.text(where))
