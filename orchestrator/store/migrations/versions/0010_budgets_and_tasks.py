"""Credits and quotas of keys, tasks of queues, lanes whose upstreams are each job's own."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    budgets()
    tasks()
    op.add_column(
        "lane",
        sa.Column("learns", sa.Boolean(), server_default=sa.text("true"), nullable=False),
    )
    counters = Path(__file__).with_name("0010_counters.sql").read_text()
    op.execute(sa.text(counters.replace(":", r"\:")))
    op.execute(HELD_SO_FAR)


def budgets() -> None:
    for table in ("api_key", "usage"):
        for name in ("quota_daily", "quota_monthly"):
            op.add_column(table, sa.Column(name, sa.Integer(), nullable=True))
    op.create_check_constraint(
        "api_key_quotas", "api_key", "quota_daily >= 0 AND quota_monthly >= 0"
    )
    zero = sa.text("0")
    for column in (
        sa.Column("credits", sa.BigInteger(), nullable=True),
        sa.Column("held", sa.BigInteger(), server_default=zero, nullable=False),
        sa.Column("charged", sa.BigInteger(), server_default=zero, nullable=False),
        sa.Column("used_on", sa.Date(), nullable=True),
        sa.Column("used_day", sa.Integer(), server_default=zero, nullable=False),
        sa.Column("used_month", sa.Integer(), server_default=zero, nullable=False),
    ):
        op.add_column("usage", column)
    op.create_check_constraint("usage_credits", "usage", "credits >= 0")


def tasks() -> None:
    op.add_column("parent", sa.Column("queue", sa.Text(), nullable=True))
    of_tasks = sa.text("queue IS NOT NULL")
    order = ["key_id", "state", "id"]
    op.create_index("parent_tasks", "parent", order, postgresql_where=of_tasks)
    op.create_index("parent_queue_tasks", "parent", ["queue", *order], postgresql_where=of_tasks)


HELD_SO_FAR = """
UPDATE usage u SET held = p.held, charged = p.charged
FROM (SELECT key_id, sum(held(finished_at, estimated, charged)) AS held, sum(charged) AS charged
      FROM parent GROUP BY 1) AS p
WHERE u.key_id = p.key_id AND (p.held > 0 OR p.charged > 0)
"""
