"""What is asked of many at once, carried out: a bounded batch at a time, so that all are served.

Of a group: that its parents are canceled or retried. Of a time: that its deliveries are sent again.
"""

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission import gate
from admission.budget import Short
from admission.deciding import Stored
from admission.refusals import Refusal
from orchestrator.store import deliveries, group_actions, steering, strands
from orchestrator.store.group_actions import Action
from orchestrator.store.steering import Again

CANCELED_AT_ONCE = 300
RETRIED_AT_ONCE = 50
SHORT_SECONDS = 60.0
"""How often a retry looks whether its key may spend again."""


async def act(pool: AsyncConnectionPool) -> bool:
    """Carry on with one group's action by one batch; False when there is none that may go on."""
    async with pool.connection() as connection, connection.transaction():
        action = await group_actions.take(connection)
        if action is None:
            return False
        await (_cancel if action.kind == "cancel" else _retry)(connection, action)
    return True


async def replay(pool: AsyncConnectionPool) -> bool:
    """Carry on with one replay of a time by one batch; False when there is none."""
    async with pool.connection() as connection, connection.transaction():
        return await deliveries.go_on(connection)


async def _cancel(connection: AsyncConnection, action: Action) -> None:
    """Those that wait first: what leaves the queue meanwhile is found among those that work."""
    parents = await group_actions.batch(connection, action, most=CANCELED_AT_ONCE)
    await steering.stop(connection, parents, "canceled", waiting=not action.working, asked=True)
    if len(parents) == CANCELED_AT_ONCE:
        reached, working, finished = parents[-1], action.working, False
    else:
        reached, working, finished = None, True, action.working
    await group_actions.go_on(
        connection, action, reached=reached, working=working, finished=finished
    )


async def _retry(connection: AsyncConnection, action: Action) -> None:
    """Each is admitted by itself; when there is no room, or no credit, the action waits for it."""
    parents = await group_actions.batch(connection, action, most=RETRIED_AT_ONCE)
    reached = action.reached
    for parent in parents:
        found = await steering.retryable(
            connection, key_id=action.key_id, parent=parent, statuses=action.statuses
        )
        if isinstance(found, Again):
            demand = found.demand(action.key_id)
            admitted = await gate.enter(connection, demand, strands.resumes)
            if not isinstance(admitted, Stored):
                pause = _pause(admitted)
                await group_actions.go_on(connection, action, reached=reached, pause_seconds=pause)
                return
            await steering.again(connection, found)
        reached = parent
    finished = len(parents) < RETRIED_AT_ONCE
    await group_actions.go_on(connection, action, reached=reached, finished=finished)


def _pause(met: Short | Refusal) -> float:
    return met.retry_after_seconds if isinstance(met, Refusal) else SHORT_SECONDS
