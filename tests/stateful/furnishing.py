"""Keys, surfaces and nodes: what the machine stands on and what administrators change."""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from admission import keys
from admission.keys import Key
from admission.limits import Limits
from orchestrator.domain import lanes as domain
from orchestrator.store import nodes, surfaces
from orchestrator.store.children import Fence
from orchestrator.store.nodes import NewNode
from orchestrator.surfaces import RegionLimits, SurfaceDescriptor, per_second
from tests.stateful import looking
from tests.stateful.checks import Seen
from tests.stateful.lanes import Lane
from tests.stateful.strategies import (
    FIRST_LIMITS,
    MOST,
    SURFACES,
    described,
    descriptor,
    indexes,
    new_credits,
    pick,
    some_credits,
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
        self.surfaces: dict[str, SurfaceDescriptor] = {}
        world.run(world.open())
        for door in world.doors:
            self.keep_alive(Node(door.node, API))
        for name, most in zip(SURFACES, FIRST_LIMITS, strict=True):
            self.register(descriptor(name, RegionLimits(concurrency=most)))

    def on(self, work: Any, *args: Any, **named: Any) -> Any:
        return self.world.run(self.world.on(work, *args, **named))

    def bare(self, work: Any, *args: Any, **named: Any) -> Any:
        return self.world.run(self.world.bare(work, *args, **named))

    def look(self) -> Seen:
        seen = self.world.run(self.world.look())
        self.meet(seen.lanes)
        return seen

    @property
    def limits(self) -> dict[int, Limits]:
        return {key.id: key.limits for key in self.keys}

    def meet(self, seen: Mapping[int, Lane]) -> None:
        """Lanes are made by whoever needs them first, with what is configured then."""
        for n in seen.keys() - self.rows.lanes.keys():
            self.rows.lanes[n] = self.fresh(seen[n])

    def fresh(self, lane: Lane) -> Lane:
        limits = self.surfaces[lane.surface].limits(lane.country)
        learned = domain.Lane(concurrency=limits.concurrency)
        return lane._replace(learned=learned, rate=per_second(limits.rate), paused=False)

    def places(self) -> dict[tuple[str, str], int]:
        """The lane of each surface and country there is one of."""
        self.meet(self.bare(looking.lanes_of))
        return {(lane.surface, lane.country): n for n, lane in self.rows.lanes.items()}

    def lanes(self, served: Sequence[str] = SURFACES) -> dict[int, Lane]:
        """Those of these surfaces."""
        return {n: lane for n, lane in self.rows.lanes.items() if lane.surface in served}

    @rule(
        change=st.one_of(
            st.tuples(st.just("key"), st.tuples(some_limits, new_credits)),
            st.tuples(st.just("limits"), st.tuples(indexes, some_limits)),
            st.tuples(st.just("credits"), st.tuples(indexes, some_credits)),
            st.tuples(st.just("surface"), described),
            st.tuples(st.just("node"), some_surfaces),
        )
    )
    def administer(self, change) -> None:
        match change:
            case "key", (limits, free) if len(self.keys) < MOST:
                self.new_key(limits, free)
            case "limits", (index, limits):
                place, allowed = index % len(self.keys), self.allowed(limits)
                self.keys[place] = self.on(keys.set_limits, self.keys[place], allowed)
            case "credits", (index, free):
                self.grant(index, free)
            case "surface", surface:
                self.register(surface)
            case "node", serving if len(self.nodes) < MOST:
                self.new_node(serving)

    def new_key(self, limits: Limits, free: int | None = None) -> None:
        issued = self.on(keys.create, secrets.token_hex(8), limits=self.allowed(limits))
        self.world.know(issued)
        self.keys.append(issued.key)
        self.rows.charged[issued.key.id] = 0
        self.grant(-1, free)

    def grant(self, index: int, free: int | None) -> None:
        """A key has so many credits to spend, beside what its jobs hold."""
        place = index % len(self.keys)
        self.keys[place] = self.on(keys.set_credits, self.keys[place], free)
        self.rows.free[self.keys[place].id] = free

    def allowed(self, limits: Limits) -> Limits:
        return limits

    def key(self, index: int) -> Key:
        return pick(self.keys, index)

    def register(self, surface: SurfaceDescriptor) -> None:
        self.surfaces[surface.name] = surface
        self.on(surfaces.register, [surface])
        for n, lane in self.lanes([surface.name]).items():
            self.rows.lanes[n] = lane.configured(surface.limits(lane.country))

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
        self.rows.lanes = {n: lane.pinned() for n, lane in self.rows.lanes.items()}

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
