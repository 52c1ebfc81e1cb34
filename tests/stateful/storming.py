"""Everything at the same moment: whatever the order, nothing is lost, doubled or past a limit."""

from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.fanout import fan_out
from orchestrator.store import children, delays, pruning, steering, waits
from orchestrator.store.steering import Canceled, Erased
from tests.stateful.ends import WEEK_SECONDS
from tests.stateful.orders import Cancel, Clear, Erase, Read, Retried, Retry
from tests.stateful.pacing import Pacing
from tests.stateful.storm import Storm
from tests.stateful.strategies import deeds, gathered, pick, picked

STEERING = {"cancel", "clear", "expire", "retry", "erase", "act"}


class Storming(Pacing):
    """Several deeds whose order nobody knows."""

    @rule(some=st.lists(deeds, min_size=2, max_size=6))
    def all_at_once(self, some) -> None:
        """Whatever happens at the same moment: nothing is lost, doubled or past its limit."""
        old: set[UUID] = set()
        for deed, how in some:
            if deed == "prune":
                old.update(self.long_ago(how))
            if deed == "expire":
                late = picked(sorted(self.rows.live()), how)
                self.deadlines_pass([one for one in late if self.rows.parents[one].deadline])
        steered = any(deed in STEERING for deed, _ in some)
        storm = Storm(before=self.rows.copy(), dead=self.dead, steered=steered, old=old)
        self.world.run(gathered(self.do(storm, *deed) for deed in some))
        storm.pruned += self.pruned()
        self.pause()
        self.settled_down(storm)

    def settled_down(self, storm: Storm) -> None:
        """Judge what there is now, and go on with it."""
        came = storm.before.callers | storm.joined
        over = [parent for parent, row in self.look().parents.items() if row.state.ended]
        waiting = self.world.run(self.world.still(came, storm.left, over))
        seen = self.look()
        storm.judge_callers(waiting, seen)
        storm.judge(seen, self.limits)
        seen.finished = self.rows.finished
        self.ends = storm.judge_ends(self.ends, seen)
        self.rows = seen
        self.held += storm.fences
        self.resume()

    async def do(self, storm: Storm, deed: str, how: Any) -> None:
        match deed:
            case "submit":
                storm.admit(await self.world.ask(self.keys, how, self.surfaces))
            case "leave":
                callers = picked(sorted(storm.before.callers.keys() - storm.left), how)
                storm.left.update(callers)
                await self.world.leave(callers)
            case "fan out":
                born = await self.world.bare(fan_out)
                storm.born += born
            case "claim":
                await self.do_claim(storm, *how)
            case "settle":
                fences = storm.before.fences()
                outcomes = self.of(fences, how)
                if outcomes:
                    storm.settle(outcomes, await self.world.bare(children.settle, outcomes))
            case "stage":
                await self.world.bare(children.stage)
            case "rescue":
                storm.ended += (await self.world.on(children.rescue)).parents
                await self.world.bare(waits.forget_dead)
            case "operate":
                await self.do_operate(storm, *how)
            case _:
                await self.do_steer(storm, deed, how)

    async def do_operate(
        self, storm: Storm, place: tuple[str, str], order: str | int | None
    ) -> None:
        """And after a pause there is a claim at once."""
        known = storm.before.lanes.items()
        own = {n for n, lane in known if (lane.surface, lane.country) == place}
        storm.taught |= own
        storm.resumed |= own if order == "resume" else set()
        await self.order(place, order)
        if order == "pause":
            storm.paused |= own
            await self.do_claim(storm, 0, 4)

    async def do_claim(self, storm: Storm, index: int, slots: int) -> None:
        """Nothing of it was canceled, or paused, by an answer there was when it began."""
        canceled, paused = frozenset(storm.canceled), frozenset(storm.paused)
        taken = await self.claiming(pick(self.nodes, index), slots)
        storm.claim(taken, canceled, paused)

    async def do_steer(self, storm: Storm, deed: str, how: Any) -> None:
        match deed:
            case "cancel" | "retry" | "read" | "erase":
                await self.do_to_one(storm, deed, how)
            case "clear":
                await self.world.steer(Clear(self.key(how)))
            case "expire":
                await self.world.bare(steering.expire)
            case "release":
                await self.world.bare(delays.release)
            case "prune":
                pruned = await self.world.bare(pruning.prune, retention_seconds=WEEK_SECONDS)
                storm.pruned += pruned.parents
            case "act":
                acted = await self.world.act()
                storm.acted |= acted

    async def do_to_one(self, storm: Storm, deed: str, how: tuple[int, Any]) -> None:
        waited_for = {caller.parent for caller in storm.before.callers.values()}
        known = set(storm.before.parents) - (waited_for if deed == "erase" else set())
        for parent in picked(sorted(known), how[:1]):
            owner = self.owner(parent)
            match deed:
                case "cancel":
                    lanes = storm.before.parents[parent].lanes
                    cell = None if how[1] is None else how[1] % len(lanes) + 1
                    await self.do_cancel(storm, Cancel(owner, parent, cell))
                case "retry":
                    told = await self.world.steer(Retry(owner, parent, how[1]))
                    storm.retried[parent] += isinstance(told, Retried)
                case "read":
                    told = await self.world.steer(Read(owner, parent))
                    assert told in {None, len(storm.before.parents[parent].lanes)}
                    storm.missed.update([parent] if told is None else [])
                case "erase":
                    told = await self.world.steer(Erase(owner, parent))
                    storm.erased += [parent] if isinstance(told, Erased) else []

    async def do_cancel(self, storm: Storm, order: Cancel) -> None:
        """And what is claimed at once afterwards."""
        if isinstance(await self.world.steer(order), Canceled):
            storm.canceled.add((order.parent, order.ordinal))
            await self.do_claim(storm, 0, 4)
