"""Guards of sync work, of waiting callers and of breakers, each taken away."""

from tests.store.mutating import (
    BREAKER,
    CLAIM,
    COUNTED,
    COUNTERS,
    FAN_OUT,
    FANNED_OUT,
    NODES,
    ORDER,
    PARENT_COUNTERS,
    PLANS,
    RESCUE,
    RESCUED,
    SETTLE,
    SURFACES,
    SYNC_CLAIMS,
    WAIT_RACES,
    WAITED,
    WAITS,
    Mutation,
    swap,
)

ASYNC_ROOM = " AND c.nth - c.sync_before <= rooms.of_async[c.lane]"
SYNC = (
    Mutation(
        "claim: what the sync twin may take is taken",
        CLAIM,
        swap(("room - sync, %(slots)s", "room, %(slots)s")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: async inside the concurrency",
        CLAIM,
        swap(("least(async, concurrency - async_processing, ", "least(async, ")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: all inside concurrency and sync limit",
        CLAIM,
        swap(("least(r.sync, u.concurrency + u.sync_limit - u.processing, ", "least(r.sync, ")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: sync claimants first",
        CLAIM,
        swap(("ORDER BY sync DESC, running / weight", "ORDER BY running / weight")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: sync shares first",
        CLAIM,
        swap(("ORDER BY k.sync DESC, (k.running", "ORDER BY (k.running")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: sync children of a lane first",
        CLAIM,
        swap(("ORDER BY sync DESC, coalesce(start", "ORDER BY coalesce(start")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: a slot left free", CLAIM, swap((" - (l.allowed >= 4)::int", "")), (SYNC_CLAIMS,)
    ),
    Mutation(
        "claim: the slot left free is not for sharing",
        CLAIM,
        swap((ASYNC_ROOM, "")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: async passes by lanes without room for it",
        CLAIM,
        swap(("ELSE rooms.async_ids END", "ELSE rooms.ids END")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: sync has a turn of its own",
        CLAIM,
        swap(("sync_turn AS turn", "turn")),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: sync calls do not move the async turn",
        COUNTERS,
        swap(
            ("WHEN excluded.processing > excluded.sync_processing", "WHEN excluded.processing > 0")
        ),
        (SYNC_CLAIMS,),
    ),
    Mutation(
        "claim: an open breaker",
        CLAIM,
        swap(("WHEN l.open_until <= now() AND", "WHEN")),
        (BREAKER,),
    ),
    Mutation("claim: one probe at a time", CLAIM, swap((" AND x.processing = 0", "")), (BREAKER,)),
    Mutation(
        "fan-out: the window is for async children",
        FAN_OUT,
        swap(
            (
                "- sync_queued - sync_processing - sync_retrying AS in_flight",
                "AS in_flight",
            )
        ),
        (FANNED_OUT,),
    ),
    Mutation(
        "fan-out: counting begins anew",
        FAN_OUT,
        swap(("< 0.05\n", "< -1\n")),
        (FANNED_OUT,),
    ),
    Mutation("settle: lanes by id", SETTLE, swap(("ORDER BY l.id\n", "ORDER BY l.id DESC\n"))),
    Mutation(
        "settle: healthy work locks no lane",
        SETTLE,
        swap(("AND (l.failures <> 0 OR l.open_until IS NOT NULL", "AND (true")),
        (ORDER, BREAKER),
    ),
    Mutation(
        "settle: an open breaker counts nothing",
        SETTLE,
        swap((" OR l.open_until > now() THEN 0", " THEN 0")),
        (BREAKER,),
    ),
    Mutation(
        "settle: only transient failures are strikes",
        SETTLE,
        swap((" AND o.error ->> 'retryable' = 'true'", "")),
        (BREAKER,),
    ),
    Mutation(
        "settle: callers are told",
        SETTLE,
        swap(('await waits.tell(connection, columns["parents"])', "pass")),
        (WAITED,),
    ),
    Mutation(
        "rescue: callers are told",
        RESCUE,
        swap(("await waits.tell(connection, rescued.parents)", "pass")),
        (WAITED,),
    ),
    Mutation(
        "tell: only what ended just now",
        WAITS,
        swap(("SELECT finished_at = now() FROM parent", "SELECT finished_at <= now() FROM parent")),
        (WAITED,),
    ),
    Mutation(
        "leave: parents locked by a statement of its own",
        WAITS,
        swap(('        await connection.execute(HOLD, {"ids": list(ids)})\n', "")),
        (WAIT_RACES,),
    ),
    Mutation(
        "leave: parents by id", WAITS, swap(("ORDER BY id\nFOR NO", "ORDER BY id DESC\nFOR NO"))
    ),
    Mutation(
        "leave: callers by id",
        WAITS,
        swap(("ORDER BY id FOR UPDATE", "ORDER BY id DESC FOR UPDATE")),
    ),
    Mutation(
        "leave: what has ended stays",
        WAITS,
        swap(("AND p.mode = 'sync' AND p.finished_at IS NULL", "AND p.mode = 'sync'")),
        (WAITED, WAIT_RACES),
    ),
    Mutation(
        "leave: only the last detaches",
        WAITS,
        swap(("w.parent_id = p.id AND w.id <> ALL(%(ids)s)", "false")),
        (WAITED,),
    ),
    Mutation(
        "leave: who leaves does not remain",
        WAITS,
        swap((" AND w.id <> ALL(%(ids)s)", "")),
        (WAITED,),
    ),
    Mutation("leave: only sync", WAITS, swap(("p.mode = 'sync' AND ", "")), (WAITED,)),
    Mutation(
        "sweep: the young stay",
        WAITS,
        swap(("\n  AND since < now() - %(young)s * interval '1 second'", "")),
        (WAITED,),
    ),
    Mutation(
        "forget: the living keep their places",
        WAITS,
        swap((" AND n.heartbeat_at > now() - %(dead)s * interval '1 second'", "")),
        (WAITED,),
    ),
    Mutation(
        "bury: not while callers are left",
        NODES,
        swap(("\n  AND NOT EXISTS (SELECT FROM sync_wait w WHERE w.node = n.id)", "")),
        (WAITED,),
    ),
    Mutation(
        "rescuer: callers of the dead are forgotten",
        "workers/roles/rescuer.py",
        swap(("forgotten = await waits.forget_dead(connection, most=MOST)", "forgotten = 0")),
        (RESCUED,),
    ),
    Mutation(
        "registration: lanes of all surfaces by id",
        SURFACES,
        swap(
            (
                "await lanes.hold(connection, [descriptor.name for descriptor in descriptors])",
                "pass",
            )
        ),
        (ORDER,),
    ),
    Mutation(
        "counters: detached until the end",
        PARENT_COUNTERS,
        lambda text: text.replace("mode = 'detached' AND finished_at IS NULL", "mode = 'detached'"),
        (COUNTED,),
    ),
    Mutation(
        "counters: sync children wait at their parent's priority",
        COUNTERS,
        swap(("CASE WHEN p > 100 THEN p - 100 ELSE p END", "p")),
        (COUNTED,),
    ),
    Mutation(
        "plans: an end is looked up by its key",
        WAITS,
        swap(
            (
                "WHERE (SELECT finished_at = now() FROM parent WHERE id = parent_id)) AS told",
                "JOIN parent ON id = parent_id WHERE finished_at = now()) AS told",
            )
        ),
        (PLANS,),
    ),
)
