"""The operating half of a client of `test_torture`: operators, and upstreams that throttle."""

from datetime import datetime

from psycopg_pool import AsyncConnectionPool

from orchestrator import operating
from orchestrator.domain.envelope import Failure
from orchestrator.domain.lanes import STRIKES
from orchestrator.store.children import Completed, Failed, Fence, GivenBack, Outcome, Retry
from tests.stateful.callers import COUNTRIES, PRICE, tell
from tests.stateful.stewards import Stewards

BROKEN = Failure(code="CONNECT_FAILED", message="nobody answers", retryable=True)
LONGEST_BURST = 40
STARTED = """
SELECT paused_at, (SELECT count(*) FROM child WHERE lane_id = lane.id AND claim = ANY(%(claims)s))
FROM lane WHERE id = %(lane)s
"""
STRUCK = """
UPDATE lane SET failures = %(failures)s
WHERE id = (SELECT id FROM lane WHERE open_until IS NULL ORDER BY random() LIMIT 1)
"""
# One lane at a time: whoever changes several locks them by id.
OVER = """
UPDATE lane
SET open_until = CASE WHEN open_until > now() THEN now() ELSE open_until END,
    not_before = CASE WHEN not_before > now() THEN now() ELSE not_before END
WHERE id = (SELECT id FROM lane WHERE open_until > now() OR not_before > now()
            ORDER BY random() LIMIT 1)
RETURNING open_until IS NOT NULL
"""


class Operators(Stewards):
    """Pauses, resumes and limits lanes; what it captures fails in bursts, or is throttled."""

    def __init__(self, pool: AsyncConnectionPool, seed: int) -> None:
        super().__init__(pool, seed)
        self._burst = 0

    async def _operate(self) -> None:
        surface = self._random.choice(sorted(self._surfaces))
        country = self._random.choice(COUNTRIES)
        order = self._random.choices(["pause", "resume", "limit"], [2, 5, 2])[0]
        async with self._pool.connection() as connection:
            match order:
                case "pause":
                    row = await operating.pause(connection, surface, country)
                case "resume":
                    row = await operating.resume(connection, surface, country)
                case _:
                    most = self._random.choice([1, 2, 4, None])
                    row = await operating.limit(connection, surface, country, most)
        tell(ordered=f"Lane: {order}")
        if order == "pause":
            await self._look_at(row.id, row.paused_at)

    async def _look_at(self, lane: int, paused_at: datetime) -> None:
        """Nothing starts in a lane after a pause was answered, unless it was resumed meanwhile."""
        claims = list({fence.claim for fence in await self._claimed(20)})
        async with self._pool.connection() as connection:
            cursor = await connection.execute(STARTED, {"lane": lane, "claims": claims})
            still, started = await cursor.fetchone()
        if started and still == paused_at:
            tell(error="started in a pause", lane=lane, paused_at=str(paused_at))

    async def _strike(self) -> None:
        """A lane has failed so often that once more opens its breaker."""
        async with self._pool.connection() as connection:
            await connection.execute(STRUCK, {"failures": STRIKES - 1})

    async def _spare(self) -> None:
        """So long nothing started in a lane that a probe may, or its upstream bears more."""
        async with self._pool.connection() as connection:
            found = await (await connection.execute(OVER)).fetchone()
        if found and found[0]:
            tell(ordered="Lane: probe")

    def _outcome(self, fence: Fence) -> Outcome:
        if self._random.random() < 0.02:
            self._burst = LONGEST_BURST
        self._burst -= 1
        how = self._random.choices(
            ["done", "absent", "failed", "retry", "throttled", "back"], [8, 1, 1, 3, 1, 1]
        )
        match "retry" if self._burst > 0 else how[0]:
            case "done":
                return Completed(fence, f'{{"by": {fence.claim}}}', charge=PRICE)
            case "absent":
                return Completed(fence, f'{{"by": {fence.claim}}}')
            case "failed":
                return Failed(fence, BROKEN)
            case "retry":
                return Retry(fence, BROKEN, self._random.random() / 10)
            case "throttled":
                asked = self._random.choice([0.0, 0.05])
                return Retry(fence, BROKEN, self._random.random() / 10, 429, asked)
        return GivenBack(fence)
