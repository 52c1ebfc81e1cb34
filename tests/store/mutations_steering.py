"""Guards of cancels, retries and early ends, each taken away."""

from tests.store.mutating import (
    CANCEL,
    ERASE,
    FAN_OUT,
    PARENT_COUNTERS,
    RESCUE,
    RETRY,
    SETTLE,
    STEERED,
    STEERING_RACES,
    STOP,
    Mutation,
    swap,
)

STEERING = (STEERED, STEERING_RACES)
# The first for those that are ready, the second for those that run: who is claimed meanwhile is
# met by neither.
TWO_UPDATES = (
    ("WITH stopped AS (\n", "WITH ready AS (\n"),
    (
        "  RETURNING c.parent_id, c.state\n), ends",
        """    AND c.state <> 'processing'
  RETURNING c.parent_id, c.state
), running AS (
  UPDATE child c SET stop = coalesce(c.stop, %(end)s)
  WHERE c.parent_id = ANY(%(parents)s::uuid[]) AND c.state = 'processing'
    AND c.ordinal = coalesce(%(ordinal)s::int2, c.ordinal)
  RETURNING c.parent_id, c.state
), stopped AS (SELECT * FROM ready UNION ALL SELECT * FROM running), ends""",
    ),
)
STEER = (
    Mutation(
        "settle: what is to stop is not tried again",
        SETTLE,
        swap(("ELSE coalesce(c.stop, o.stop, o.state) END", "ELSE coalesce(o.stop, o.state) END")),
        STEERING,
    ),
    Mutation(
        "settle: enough completed cells end the rest",
        SETTLE,
        swap(
            ("SELECT id, 'canceled' AS stop FROM locked\n", "SELECT id, NULL AS stop FROM locked\n")
        ),
        STEERING,
    ),
    Mutation(
        "settle: only what is recorded is enough",
        SETTLE,
        swap(
            (
                " AND c.ordinal = o.ordinal AND c.claim = o.claim\n  ORDER",
                " AND c.ordinal = o.ordinal\n  ORDER",
            )
        ),
        STEERING,
    ),
    Mutation(
        "rescue: what is to stop is not queued again",
        RESCUE,
        swap(("state = coalesce(c.stop, CASE", "state = coalesce(CASE")),
        STEERING,
    ),
    Mutation("stop: one UPDATE of all children", STOP, swap(*TWO_UPDATES), STEERING),
    Mutation(
        "cancel: the parent is locked before",
        CANCEL,
        swap(("\nFOR NO KEY UPDATE\n", "\n")),
        STEERING,
    ),
    Mutation("erase: the parent is locked before", ERASE, swap(("\nFOR UPDATE\n", "\n")), STEERING),
    Mutation(
        "retry: the parent is locked before",
        RETRY,
        swap((" FOR NO KEY UPDATE\n", "\n")),
        STEERING,
    ),
    Mutation(
        "retry: only some cells run again",
        FAN_OUT,
        swap(("WHERE m.todo IS NULL OR cell.ordinal = ANY(m.todo)\n", "")),
        STEERING,
    ),
    Mutation(
        "retry: the others keep what they ended as",
        RETRY,
        swap(("p.stop IS NOT NULL AND o <> ALL", "false AND o <> ALL")),
        STEERING,
    ),
    Mutation(
        "counters: only the cells of this run wait in their lanes",
        PARENT_COUNTERS,
        lambda text: text.replace("WHEN todo IS NULL THEN lanes", "WHEN true THEN lanes"),
        STEERING,
    ),
)
