"""Guards of the outbox, each taken away."""

from tests.store.mutating import (
    CANCEL,
    CLAIM_DELIVERIES,
    DELIVERIES,
    DELIVERY_PLANS,
    ERASE,
    KEEPING,
    PRUNE,
    RANGES,
    RECORD,
    REPLAY,
    RESCUE,
    RETRY,
    SETTLE,
    STOP,
    TELLING,
    TOLD,
    Mutation,
    swap,
)

SKIPPED = "    LIMIT w.n\n    FOR NO KEY UPDATE SKIP LOCKED"
DELIVERY = (
    Mutation(
        "tell: settle tells of children",
        SETTLE,
        swap(("  WHERE r.tells & 1 = 1\n", "  WHERE false\n")),
        (TOLD,),
    ),
    Mutation(
        "tell: of parents, by settle",
        SETTLE,
        swap(("FROM rolled WHERE ended AND tells & 2 = 2", "FROM rolled WHERE false")),
        (TOLD,),
    ),
    Mutation(
        "tell: of ended parents only",
        SETTLE,
        swap(("FROM rolled WHERE ended AND tells & 2 = 2", "FROM rolled WHERE tells & 2 = 2")),
        (TOLD,),
    ),
    Mutation(
        "tell: of what an early end cancels",
        SETTLE,
        swap(
            (
                "array_agg(ordinal) AS ordinals",
                "array_agg(ordinal) FILTER (WHERE state <> 'canceled') AS ordinals",
            )
        ),
        (TOLD,),
    ),
    Mutation(
        "tell: of ends only, by settle",
        SETTLE,
        swap(
            (
                "WHERE state IN ('completed', 'failed', 'canceled', 'expired')\n  GROUP BY 1",
                "GROUP BY 1",
            )
        ),
        (TOLD,),
    ),
    Mutation(
        "tell: what a rescue gives up",
        RESCUE,
        swap(("    await deliveries.tell(connection, row[4])\n", "")),
        (TOLD,),
    ),
    Mutation(
        "tell: what is stopped",
        STOP,
        swap(("    await deliveries.tell(connection, parents, cells=not waiting)\n", "")),
        (TOLD,),
    ),
    Mutation(
        "tell: not of cells that end with a parent that waits",
        STOP,
        swap(("cells=not waiting", "cells=True")),
        (TOLD,),
    ),
    Mutation(
        "tell: a cell canceled alone in the queue",
        CANCEL,
        swap(("        await deliveries.tell(connection, [parent])\n", "")),
        (TOLD,),
    ),
    Mutation(
        "tell: what ended now, not before",
        TELLING,
        swap(("AND c.finished_at = now()", "AND c.finished_at IS NOT NULL")),
        (TOLD,),
    ),
    Mutation(
        "tell: a parent that ended now",
        TELLING,
        swap(("FROM ended WHERE now AND", "FROM ended WHERE")),
        (TOLD,),
    ),
    Mutation(
        "keep: a retry keeps what was told of its cells",
        RETRY,
        swap(("    await deliveries.keep(connection, retry.parent, todo)\n", "")),
        (TOLD,),
    ),
    Mutation(
        "keep: of each run what it was",
        KEEPING,
        swap((" AND cell IS NULL", "")),
        (TOLD,),
    ),
    Mutation(
        "forget: an erased parent",
        ERASE,
        swap(("    await deliveries.forget(connection, parents)\n", "")),
        (TOLD,),
    ),
    Mutation(
        "forget: a pruned parent",
        PRUNE,
        swap(('        await deliveries.forget(connection, gone["parents"])\n', "")),
        (TOLD,),
    ),
    Mutation(
        "deliveries: a claim skips what others hold",
        CLAIM_DELIVERIES,
        swap((SKIPPED, "    LIMIT w.n\n    FOR NO KEY UPDATE")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a claim locks what it takes",
        CLAIM_DELIVERIES,
        swap((SKIPPED, "    LIMIT w.n")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: nothing before it is due",
        CLAIM_DELIVERIES,
        swap((" AND due_at <= now()", "")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a claim runs out",
        CLAIM_DELIVERIES,
        swap(("due_at = now() + %(lease)s * interval '1 second'", "due_at = 'infinity'")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a record is fenced",
        RECORD,
        swap(
            ("                 AND d.claim = o.claim\n", ""),
            (' AND d.claim = o.claim\n"', '\n"'),
        ),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a replay takes it from whoever attempts it",
        REPLAY,
        swap(("attempts = 0, claim = NULL", "attempts = 0")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a key replays its own",
        REPLAY,
        swap(("d.key_id = %(key)s AND ", "")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a range does not send a third time",
        RANGES,
        swap(("  AND coalesce(delivered_at < %(began)s, true)\n", "")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a range is of what was there when it was asked for",
        RANGES,
        swap(("least(%(until)s, now())", "%(until)s")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: a range is in one steward's hands",
        RANGES,
        swap(("LIMIT 1\nFOR UPDATE SKIP LOCKED", "LIMIT 1")),
        (DELIVERIES,),
    ),
    Mutation(
        "deliveries: ranges take turns",
        RANGES,
        swap(("SET turn_at = now(), statuses", "SET statuses")),
        (DELIVERIES,),
    ),
    Mutation(
        "plans: endpoints are walked by their index",
        CLAIM_DELIVERIES,
        swap(
            (
                "WHERE status = 'pending' AND again = %(again)s AND endpoint > walk.endpoint",
                "WHERE status = 'pending' AND again = %(again)s AND endpoint + 0 > walk.endpoint",
            )
        ),
        (DELIVERY_PLANS,),
    ),
)
