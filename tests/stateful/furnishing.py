"""Keys, surfaces and nodes: what the machine stands on and what administrators change."""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from admission import keys
from admission.keys import Key
from admission.limits import Limits
from orchestrator.store import lanes, nodes, surfaces
from orchestrator.store.children import Fence
from orchestrator.store.nodes import NewNode
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful.checks import Seen
from tests.stateful.lanes import Breaker, Lane
from tests.stateful.strategies import (
    FIRST_LIMITS,
    MOST,
    SURFACES,
    descriptor,
    few,
    indexes,
    pick,
    some_limits,
    some_surfaces,
)
from tests.stateful.world import API, World

ALIVE = "UPDATE node SET heartbeat_at = now() + interval '1 day' WHERE id = %(id)s"


class Node(NamedTuple):
    id: int
    new: NewNode


class Furnished(RuleBasedStateMachine):
    """A world, its model, and what was given out so far."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.rows = Seen()
        self.keys: list[Key] = []
        self.nodes: list[Node] = []
        self.dead: set[int] = set()
        self.gone: set[int] = set()
        self.held: list[Fence] = []
        self.ends: Counter[UUID] = Counter()
        self.surfaces = {
            name: descriptor(name, most, {})
            for name, most in zip(SURFACES, FIRST_LIMITS, strict=True)
        }
        world.run(world.open())
        for door in world.doors:
            self.keep_alive(Node(door.node, API))
        for name in SURFACES:
            self.register(self.surfaces[name])

    def on(self, work: Any, *args: Any, **named: Any) -> Any:
        return self.world.run(self.world.on(work, *args, **named))

    def bare(self, work: Any, *args: Any, **named: Any) -> Any:
        return self.world.run(self.world.bare(work, *args, **named))

    def look(self) -> Seen:
        return self.world.run(self.world.look())

    @property
    def limits(self) -> dict[int, Limits]:
        return {key.id: key.limits for key in self.keys}

    def lane_rows(self) -> Sequence[lanes.LaneRow]:
        return self.bare(lanes.all_lanes)

    def lanes(self, served: Sequence[str] = SURFACES) -> dict[int, Lane]:
        """What may run in the lanes of these surfaces."""
        return {
            lane.id: Lane(lane.concurrency, self.rows.breakers.get(lane.id, Breaker()))
            for lane in self.lane_rows()
            if lane.surface in served
        }

    @rule(
        change=st.one_of(
            st.tuples(st.just("key"), some_limits),
            st.tuples(st.just("limits"), st.tuples(indexes, some_limits)),
            st.tuples(st.just("surface"), st.tuples(st.sampled_from(SURFACES), few, few)),
            st.tuples(st.just("node"), some_surfaces),
        )
    )
    def administer(self, change) -> None:
        match change:
            case "key", limits if len(self.keys) < MOST:
                self.new_key(limits)
            case "limits", (index, limits):
                place, allowed = index % len(self.keys), self.allowed(limits)
                self.keys[place] = self.on(keys.set_limits, self.keys[place], allowed)
            case "surface", (name, most, of_gb):
                self.register(descriptor(name, most, {"GB": of_gb}))
            case "node", serving if len(self.nodes) < MOST:
                self.new_node(serving)

    def new_key(self, limits: Limits) -> None:
        issued = self.on(keys.create, secrets.token_hex(8), limits=self.allowed(limits))
        self.world.know(issued)
        self.keys.append(issued.key)

    def allowed(self, limits: Limits) -> Limits:
        return limits

    def key(self, index: int) -> Key:
        return pick(self.keys, index)

    def register(self, surface: SurfaceDescriptor) -> None:
        self.surfaces[surface.name] = surface
        self.on(surfaces.register, [surface])

    def new_node(self, serving: Sequence[str]) -> None:
        new = NewNode("test", 1, 8, tuple(serving))
        self.nodes.append(Node(self.on(nodes.register, new), new))
        self.keep_alive(self.nodes[-1])

    def keep_alive(self, node: Node) -> None:
        """However slow this run: nobody dies but by a rule."""
        assert self.world.execute(ALIVE, id=node.id) == 1
        self.dead.discard(node.id)
        self.gone.discard(node.id)

    def pause(self) -> None:
        self.world.pause()

    def end(self, parents: Iterable[UUID]) -> None:
        """These have ended; whoever is answered now goes."""
        parents = list(parents)
        self.ends.update(parents)
        self.left([], parents)

    def left(self, callers: Iterable[int], ended: Iterable[UUID]) -> None:
        """These callers went, and those who are answered."""
        before = self.rows.callers
        still = self.world.run(self.world.still(before, callers, ended))
        self.rows.leave(before.keys() - still.keys())
