"""Guards of pruning, each taken away."""

from tests.store.mutating import ERASE, PLANS, PRUNE, PRUNED, Mutation, swap

MUTEX = "await usage.lock(connection, grouped.values())"
OLD = """
  AND NOT EXISTS (SELECT FROM group_usage o WHERE o.group_id = u.group_id AND o.n <> 0)
"""
PRUNING = (
    Mutation(
        "prune: SKIP LOCKED",
        PRUNE,
        swap(
            ("  LIMIT %(parents)s\n  FOR UPDATE SKIP LOCKED", "  LIMIT %(parents)s\n  FOR UPDATE")
        ),
        (PRUNED,),
    ),
    Mutation(
        "prune: what is picked is locked",
        PRUNE,
        swap(("  LIMIT %(parents)s\n  FOR UPDATE SKIP LOCKED", "  LIMIT %(parents)s")),
        (PRUNED,),
    ),
    Mutation(
        "prune: the oldest first",
        PRUNE,
        swap(("  ORDER BY finished_at\n  LIMIT %(parents)s", "  ORDER BY id\n  LIMIT %(parents)s")),
        (PRUNED,),
    ),
    Mutation(
        "prune: a batch is of so many cells",
        PRUNE,
        swap(("WHERE before < %(cells)s", "WHERE before < %(cells)s OR true")),
        (PRUNED,),
    ),
    Mutation(
        "prune: the usage row is locked before a group's counters",
        PRUNE,
        swap((MUTEX, "pass")),
        (PRUNED,),
    ),
    Mutation(
        "erase: the usage row is locked before a group's counters",
        ERASE,
        swap(("await usage.lock(connection, [key_id])", "pass")),
        (PRUNED,),
    ),
    Mutation(
        "prune: a group that has parents keeps its counts", PRUNE, swap((OLD, "\n")), (PRUNED,)
    ),
    Mutation(
        "plans: prune under its settings",
        PRUNE,
        swap(("await connection.execute(plans.IN_ORDER)", "pass")),
        (PLANS,),
    ),
)
