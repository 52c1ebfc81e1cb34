"""Plans that do not depend on luck.

The hot statements touch few rows of large tables, always by an index. The planner does not know
that on a fresh database, or keeps a plan it made while a table was small, and then reads the
whole table: a claim took 290 ms instead of 4. These settings hold for one transaction and leave
it only the probes; each says all there is to say, so that what was set before it in the same
transaction does not count. Nor is anything compiled: what a statement seems to cost then would
have a server with LLVM compile it for seconds, where a pooler keeps us from saying so at the start.

Where rows are found by their primary key and their state is asked again, it is asked as
`lower(state) = …`: plain, it would let the planner walk the partial index of all rows in that
state instead.
"""

from typing import LiteralString

_KINDS: tuple[LiteralString, ...] = ("seqscan", "hashjoin", "mergejoin", "bitmapscan", "sort")


def _without(*kinds: LiteralString) -> LiteralString:
    """Has the planner do without these kinds of nodes, for the transaction."""
    off: list[LiteralString] = [f"set_config('enable_{kind}', 'off', true)" for kind in kinds]
    on: list[LiteralString] = [
        f"set_config('enable_{kind}', 'on', true)" for kind in _KINDS if kind not in kinds
    ]
    return "SELECT set_config('jit', 'off', true), " + ", ".join([*off, *on])


PROBE = _without("seqscan", "hashjoin", "mergejoin")
"""Nested loops over indexes only: for statements that go from few rows to others by their keys."""

PROBE_FIRST = _without("seqscan", "hashjoin", "mergejoin", "bitmapscan")
"""As PROBE, from the first rows of an order; what was found may be sorted in another."""

IN_ORDER = _without("seqscan", "hashjoin", "mergejoin", "bitmapscan", "sort")
"""As PROBE, and the first rows of an order are read from the index that has it, not all of them."""

NO_SCAN = _without("seqscan", "mergejoin", "bitmapscan")
"""Indexes in their order, and what was read may be hashed: for joins of many rows in memory."""
