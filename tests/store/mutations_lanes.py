"""Guards of lanes: what starts in them, what they learn, what they keep in the queues."""

from tests.store.mutating import (
    CLAIM,
    FAN_OUT,
    LANE_ORDERS,
    PACE,
    PARENT_COUNTERS,
    SETTLE,
    STRANDS,
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
        swap(("SET tokens = excluded.tokens", "SET tokens = lane_pace.tokens")),
        PACED,
    ),
    Mutation(
        "claim: all limits of a lane",
        CLAIM,
        swap(("THEN l.allowed - x.processing", "THEN l.concurrency - x.processing")),
        PACED,
    ),
    Mutation(
        "pace: empty when the server started",
        PACE,
        swap(("CASE WHEN filled_at > started THEN tokens ELSE 0 END", "coalesce(tokens, 0)")),
        PACED,
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
        swap((" - coalesce(x.queued + x.retrying + x.processing, 0)", "")),
        HELD,
    ),
    Mutation(
        "fan-out: full strands are passed by",
        FAN_OUT,
        swap(("CASE WHEN own.room > 0 THEN 0", "CASE WHEN true THEN 0")),
        HELD,
    ),
    Mutation(
        "fan-out: what is passed over gets its turn",
        FAN_OUT,
        swap(("AND own.hardest > 0 THEN 3", "AND false THEN 3")),
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
