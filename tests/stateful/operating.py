"""What operators tell lanes, and what time does for them: pauses end, tokens come back."""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator import operating
from orchestrator.store.lanes import LaneRow
from tests.stateful import looking
from tests.stateful.lanes import Bucket, Lane
from tests.stateful.strategies import gathered, indexes, lane_places, operators, pick
from tests.stateful.waiting import Waiting

STRUCK = """
UPDATE lane SET failures = %(failures)s, open_until = %(open_until)s WHERE id = %(id)s
"""
# Days ago: no moment comes while it is looked at.
PAUSED_ENOUGH = """
UPDATE lane SET open_until = open_until - interval '72 hours' WHERE open_until > now()
"""
WAITED_ENOUGH = """
UPDATE lane SET not_before = not_before - interval '72 hours' WHERE not_before > now()
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
FILLED = """
INSERT INTO lane_pace (lane_id, tokens, filled_at)
SELECT * FROM unnest(%(lanes)s::int[], %(tokens)s::float8[], %(clocks)s::float8[])
ON CONFLICT (lane_id) DO UPDATE SET tokens = excluded.tokens, filled_at = excluded.filled_at
"""


class Operating(Waiting):
    """Lanes that are paused, resumed, limited, and left alone for a while."""

    @rule(place=lane_places, orders=st.lists(operators, min_size=1, max_size=2))
    def operate(self, place, orders) -> None:
        """One operator or two at the same moment, of a lane used or not: one word after another."""
        told = self.world.run(gathered(self.order(place, order) for order in orders))
        seen = self.bare(looking.lanes_of)
        self.meet(seen)
        n = next(n for n, lane in seen.items() if (lane.surface, lane.country) == place)
        lane = self.rows.lanes[n]
        assert seen[n] in {_obeying(lane, orders), _obeying(lane, orders[::-1])}
        self.rows.lanes[n] = seen[n]
        for order, row in zip(orders, told, strict=True):
            assert _shown(order, row)

    async def order(self, place: tuple[str, str], order: str | int | None) -> LaneRow:
        surface, country = place
        match order:
            case "pause":
                work = operating.pause
            case "resume":
                work = operating.resume
            case _:
                return await self.world.bare(operating.limit, surface, country, order)
        return await self.world.bare(work, surface, country)

    @rule(index=indexes)
    def strike(self, index) -> None:
        """A lane has failed so often that once more opens its breaker."""
        if self.rows.lanes:
            n = pick(sorted(self.rows.lanes), index)
            if self.rows.lanes[n].learned.open_until is None:
                self.teach(n, self.rows.lanes[n].struck())

    def shut(self, place: tuple[str, str], how: str) -> None:
        """A lane, used or not, is paused, or has just failed so often, or a while ago."""
        self.operate(place, ["pause" if how == "paused" else None])
        n = self.places()[place]
        if how != "paused":
            self.teach(n, self.rows.lanes[n].broken())
        if how == "half open":
            self.spare(breakers=True, upstreams=False, tokens=0.5)

    def teach(self, n: int, lane: Lane) -> None:
        self.rows.lanes[n] = lane
        failures, until = lane.learned.failures, lane.learned.open_until
        self.world.execute(STRUCK, id=n, failures=failures, open_until=until)

    @rule(breakers=st.booleans(), upstreams=st.booleans(), tokens=st.sampled_from([0.5, 1.0, 99.0]))
    def spare(self, breakers, upstreams, tokens) -> None:
        """So long nothing starts that pauses are over, and tokens are there again."""
        if breakers:
            self.world.execute(PAUSED_ENOUGH)
            self.changed(lambda lane: lane.later("open_until"))
        if upstreams:
            self.world.execute(WAITED_ENOUGH)
            self.changed(lambda lane: lane.later("not_before"))
        self.fill(tokens)

    def changed(self, how: Callable[[Lane], Lane]) -> None:
        self.rows.lanes = {n: how(lane) for n, lane in self.rows.lanes.items()}

    def fill(self, more: float) -> None:
        """The buckets of lanes with a rate have so many tokens more."""
        paced = {n: lane for n, lane in self.rows.lanes.items() if lane.rate is not None}
        if not paced:
            return
        ((clock,),) = self.bare(looking.rows, CLOCK)
        filled = {n: Bucket(lane.tokens(clock) + more, clock) for n, lane in paced.items()}
        columns = zip(*filled.values(), strict=True)
        named = dict(zip(("tokens", "clocks"), map(list, columns), strict=True))
        self.world.execute(FILLED, lanes=list(filled), **named)
        for n, bucket in filled.items():
            self.rows.lanes[n] = paced[n]._replace(bucket=bucket)


def _obeying(lane: Lane, orders: Sequence[str | int | None]) -> Lane:
    for order in orders:
        match order:
            case "pause":
                lane = lane._replace(paused=True)
            case "resume":
                lane = lane.resumed()
            case _:
                lane = lane.limited(order)
    return lane


def _shown(order: str | int | None, row: LaneRow) -> bool:
    """Whether the operator was shown what was ordered."""
    if isinstance(order, str):
        return (row.paused_at is not None) == (order == "pause")
    return row.limited == order
