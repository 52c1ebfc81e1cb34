"""Counters kept by the database itself: statement triggers on parents, children and keys.

No statement can forget them and no code path can drift. Each trigger folds its transition tables
into sorted deltas once, leaves at once when all are zero, and applies them as sorted upserts:
`usage` of all touched keys first (that row is then the mutex of a key's other counters), then
`backlog`, `inflight`, `lane_load`, and the groups last. A plain UPDATE … FROM has no order and
deadlocks.
"""

from orchestrator.store.counters.children import COUNT_CHILDREN
from orchestrator.store.counters.groups import COUNT_GROUPED_CHILDREN, COUNT_GROUPED_PARENTS
from orchestrator.store.counters.limits import COPY_LIMITS
from orchestrator.store.counters.pace import PACE_REFILL, PACE_TOKENS
from orchestrator.store.counters.parents import COUNT_PARENTS
from orchestrator.store.counters.rates import DECAYED, DRAIN_RATE
from orchestrator.store.counters.recount import Difference, differences
from orchestrator.store.counters.rollup import HELD, ROLLED_UP

__all__ = ["FUNCTIONS", "TRIGGERS", "Difference", "differences"]

FUNCTIONS = (
    DECAYED,
    DRAIN_RATE,
    ROLLED_UP,
    HELD,
    PACE_REFILL,
    PACE_TOKENS,
    COUNT_PARENTS,
    COUNT_CHILDREN,
    COUNT_GROUPED_PARENTS,
    COUNT_GROUPED_CHILDREN,
    COPY_LIMITS,
)

TRIGGERS = (
    """CREATE TRIGGER parent_counted_in AFTER INSERT ON parent REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents()""",
    """CREATE TRIGGER parent_counted AFTER UPDATE ON parent
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents()""",
    """CREATE TRIGGER parent_counted_out AFTER DELETE ON parent REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_parents()""",
    """CREATE TRIGGER child_counted_in AFTER INSERT ON child REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_children()""",
    """CREATE TRIGGER child_counted AFTER UPDATE ON child
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_children()""",
    """CREATE TRIGGER child_counted_out AFTER DELETE ON child REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_children()""",
    """CREATE TRIGGER parent_grouped_in AFTER INSERT ON parent REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_grouped_parents()""",
    """CREATE TRIGGER parent_grouped AFTER UPDATE ON parent
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_grouped_parents()""",
    """CREATE TRIGGER parent_grouped_out AFTER DELETE ON parent REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_grouped_parents()""",
    """CREATE TRIGGER child_grouped AFTER UPDATE ON child
       REFERENCING OLD TABLE AS before NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION count_grouped_children()""",
    """CREATE TRIGGER child_grouped_out AFTER DELETE ON child REFERENCING OLD TABLE AS before
       FOR EACH STATEMENT EXECUTE FUNCTION count_grouped_children()""",
    """CREATE TRIGGER api_key_limited_in AFTER INSERT ON api_key REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION copy_limits()""",
    """CREATE TRIGGER api_key_limited AFTER UPDATE ON api_key
       REFERENCING NEW TABLE AS after
       FOR EACH STATEMENT EXECUTE FUNCTION copy_limits()""",
)
"""Statement triggers with transition tables; their functions bind late."""
