"""Whether a connection is to the server itself, or to a pooler before it.

A transaction pooler (PgBouncer) has each transaction run on another connection of its own: what is
prepared or set for a session is elsewhere a moment later, or in the hands of a stranger, and what a
session listens for it does not hear. It may refuse start-up options too. No setting says that there
is one, so each connection looks for itself: a pooler gives its clients a process id of its own
making, the server knows the true one.
"""

from psycopg import AsyncConnection

PREPARE_AFTER = 5
"""Executions of a statement on a connection of our own, before it is prepared there."""

# Both or neither: the settings of a session that is not ours are not touched.
OWN = """
SELECT set_config('jit', 'off', false),
       set_config('plan_cache_mode', 'force_generic_plan', false)
WHERE pg_backend_pid() = %(pid)s
"""


async def furnish(connection: AsyncConnection) -> bool:
    """Set up a session that is our own, in autocommit; False: a pooler's, which is left alone.

    Our statements are short and many: each is prepared, planned once and never compiled. Planning a
    claim anew costs more than running it; plan tests hold the generic plans to the indexes.
    """
    own = await connection.execute(OWN, {"pid": connection.info.backend_pid})
    if not own.rowcount:
        return False
    connection.prepare_threshold = PREPARE_AFTER
    return True
