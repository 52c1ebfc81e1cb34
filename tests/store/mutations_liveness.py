"""Guards of who lives and who may say so, each taken away."""

from tests.store.mutating import BEATS, NODES, RESCUE, RESCUES, Mutation, swap

LATE = """CASE
    WHEN now() BETWEEN node.heartbeat_at AND node.heartbeat_at + %(late)s * interval '1 second'
    THEN node.good_since ELSE now() END"""
LONG = """
  AND a.xact_start < now() - %(long)s * interval '1 second'
"""
OURS = "n.heartbeat_at < now() - %(dead)s * interval '1 second'"
LIVENESS = (
    Mutation("beat: a late one counts anew", NODES, swap((LATE, "node.good_since")), (BEATS,)),
    Mutation(
        "beat: one in the future is late as well",
        NODES,
        swap(("now() BETWEEN node.heartbeat_at AND", "now() <=")),
        (BEATS,),
    ),
    Mutation(
        "steady: the judge lives itself",
        NODES,
        swap(("WHERE id = %(id)s AND heartbeat_at >", "WHERE id = %(id)s OR heartbeat_at >")),
        (BEATS,),
    ),
    Mutation(
        "steady: the witness beats now",
        NODES,
        swap(("heartbeat_at BETWEEN now() - %(late)s * interval '1 second' AND now()", "true")),
        (BEATS,),
    ),
    Mutation(
        "steady: the witness was there for long",
        NODES,
        swap(("good_since <= now() - %(dead)s * interval '1 second'", "true")),
        (BEATS,),
    ),
    Mutation("cut off: what stands still for long", NODES, swap((LONG, "\n")), (BEATS,)),
    Mutation(
        "cut off: its own alone", NODES, swap(("ELSE n.id = %(node)s", "ELSE true")), (BEATS,)
    ),
    Mutation("cut off: of the dead alone", NODES, swap(("THEN " + OURS, "THEN true")), (BEATS,)),
    Mutation("blame: under its claim", RESCUE, swap((" AND claim = %(claim)s", "")), (RESCUES,)),
)
