"""Guards of lanes: what starts in them, what they learn, what they keep in the queues."""

from tests.store.mutating import (
    CLAIM,
    FAN_OUT,
    LANE_ORDERS,
    LANE_PACE,
    PACE,
    PARENT_COUNTERS,
    RUNNER,
    SETTLE,
    STRANDS,
    SURFACES,
    Mutation,
    swap,
)

PACED = ("tests/store/test_pace.py",)
ADAPTED = ("tests/store/test_adaptive.py",)
HELD = ("tests/store/test_strands.py",)

LANES = (
    Mutation(
        "claim: nothing in a paused lane",
        CLAIM,
        swap(("WHEN l.paused_at IS NOT NULL OR l.not_before", "WHEN l.not_before")),
        PACED,
    ),
    Mutation(
        "claim: nothing before the upstream wants it",
        CLAIM,
        swap(("WHEN l.paused_at IS NOT NULL OR l.not_before > now()", "WHEN l.paused_at < now()")),
        PACED,
    ),
    Mutation(
        "claim: no more than there are tokens",
        CLAIM,
        swap(("least(own.places, floor(own.tokens))", "own.places")),
        PACED,
    ),
    Mutation(
        "claim: tokens are taken",
        CLAIM,
        swap(("    tokens = excluded.tokens,", "    tokens = p.tokens,")),
        PACED,
    ),
    Mutation(
        "claim: all limits of a lane",
        CLAIM,
        swap(("THEN l.allowed - x.processing", "THEN l.concurrency - x.processing")),
        PACED,
    ),
    Mutation(
        "pace: a bucket nobody knows is empty",
        PACE,
        swap(
            (
                "                                      0)) END",
                "                                      1)) END",
            )
        ),
        PACED,
    ),
    Mutation(
        "claim: a bucket nobody knew fills from now on",
        CLAIM,
        swap(
            (
                "AND NOT EXISTS (SELECT FROM lane_pace WHERE",
                "AND EXISTS (SELECT FROM lane_pace WHERE",
            )
        ),
        PACED,
    ),
    Mutation(
        "claim: who started is later in the row",
        CLAIM,
        swap(("DO UPDATE SET turn = excluded.turn", "DO NOTHING")),
        PACED,
    ),
    Mutation(
        "claim: turns by weight",
        CLAIM,
        swap(("c.start + 1 / c.weight AS next", "c.start + 1 AS next")),
        PACED,
    ),
    Mutation(
        "claim: who comes anew begins where the last start was",
        CLAIM,
        swap(("    turn = greatest(p.turn, excluded.turn)", "    turn = p.turn")),
        PACED,
    ),
    Mutation(
        "claim: sync starts move nobody's turn",
        CLAIM,
        swap(("AS turn WHERE NOT c.sync) AS p", "AS turn) AS p")),
        PACED,
    ),
    Mutation(
        "claim: all of a batch have started",
        CLAIM,
        swap(("coalesce(max(start), 0) AS turn", "coalesce(min(start), 0) AS turn")),
        PACED,
    ),
    Mutation(
        "claim: nobody is further ahead than one start",
        CLAIM,
        swap(("least(coalesce(t.turn, p.turn), p.turn + 1 / weight)", "coalesce(t.turn, p.turn)")),
        PACED,
    ),
    Mutation(
        "fan-out: a healthy lane with a wide parent is not still",
        FAN_OUT,
        swap(("OR l.allowed < l.concurrency AND own.ready", "OR own.ready")),
        HELD,
    ),
    Mutation(
        "fan-out: what a still lane keeps makes nobody busy",
        FAN_OUT,
        swap(("own.load = 0 AS idle", "in_flight = 0 AS idle")),
        HELD,
    ),
    Mutation(
        "turns: only those that are past are forgotten",
        LANE_PACE,
        swap(("OR t.turn <= p.turn", "OR t.turn > p.turn")),
        PACED,
    ),
    Mutation(
        "runner: what a claim waited for others is not late",
        RUNNER,
        swap((" + child.waited", "")),
        ("tests/workers/test_pacing.py",),
    ),
    Mutation(
        "lanes: who makes one meets no registration",
        SURFACES,
        swap((" ORDER BY name FOR SHARE", " ORDER BY name")),
        ("tests/store/test_lanes.py",),
    ),
    Mutation(
        "settle: what started before a halving halves no more",
        SETTLE,
        swap(("t.throttled_at > coalesce(l.halved_at, '-infinity')", "t.throttled_at IS NOT NULL")),
        ADAPTED,
    ),
    Mutation(
        "settle: lanes learn in turn",
        SETTLE,
        swap(("  FOR NO KEY UPDATE OF l\n", "")),
        ADAPTED,
    ),
    Mutation(
        "fan-out: nothing past the window of a shut lane",
        FAN_OUT,
        swap(("CASE WHEN shut THEN 0 ELSE own.window END AS extra", "own.window AS extra")),
        HELD,
    ),
    Mutation(
        "fan-out: one probe of a half-open lane",
        FAN_OUT,
        swap((" - own.ready - coalesce(x.processing, 0)", "")),
        HELD,
    ),
    Mutation(
        "fan-out: full strands are passed by",
        FAN_OUT,
        swap((" AND waiting AND NOT lanes && f.passed_by AND own.room > 0", " AND waiting")),
        HELD,
    ),
    Mutation(
        "fan-out: what is passed over gets its turn",
        FAN_OUT,
        swap(("AND since < f.clock - %(passed_over)s AND NOT", "AND false AND NOT")),
        HELD,
    ),
    Mutation(
        "fan-out: one that is passed over each ten seconds",
        FAN_OUT,
        swap(("WHERE k.fan_passed < f.clock - %(passed_over)s AND key_id", "WHERE key_id")),
        HELD,
    ),
    Mutation(
        "fan-out: what a lane cut down keeps is not its key's load",
        FAN_OUT,
        swap((" AND own.ready > 4 * own.window", " AND false")),
        HELD,
    ),
    Mutation(
        "fan-out: what a still lane keeps does not rank its key",
        FAN_OUT,
        swap(("in_flight - coalesce(stuck.still, 0) AS load", "in_flight AS load")),
        HELD,
    ),
    Mutation(
        "parents: a strand that lets one go is served",
        PARENT_COUNTERS,
        swap(("CASE WHEN s.n > 0 AND excluded.n > 0 THEN s.since ELSE clock END", "s.since")),
        HELD,
    ),
    Mutation(
        "strands: only empty ones are swept away",
        STRANDS,
        swap(("WHERE NOT waiting AND n = 0 AND since <", "WHERE since <")),
        HELD,
    ),
    Mutation(
        "pause: no claim is under way when it is answered",
        LANE_ORDERS,
        swap(('    await connection.execute(LOCK, {"lock": LOCK_ID})\n', "")),
        ("tests/store/test_races_claim.py",),
    ),
)
