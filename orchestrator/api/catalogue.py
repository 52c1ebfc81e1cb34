"""What can be captured: the registered surfaces, who serves them, and what a plan asks beyond."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg import AsyncConnection

from orchestrator.api import option_checks
from orchestrator.api.codes import Code
from orchestrator.api.option_checks import Made
from orchestrator.api.problems import Fault, Problem
from orchestrator.domain import known, queues
from orchestrator.domain.addresses import Network
from orchestrator.domain.dialects.task_types import TaskType
from orchestrator.domain.envelope import Warning  # noqa: A004 - the contract's word
from orchestrator.domain.plan import Plan
from orchestrator.store import lanes, nodes
from orchestrator.store import surfaces as registered
from orchestrator.store.lanes import Place
from orchestrator.surfaces import SurfaceDescriptor


class Catalogue(NamedTuple):
    """The surfaces by name, the live worker processes of each, and the checks of what it is asked.

    `demanding` are those that nobody can ask without options; `cut_off` has the lanes in which
    nothing starts, and for how many seconds.
    """

    surfaces: dict[str, SurfaceDescriptor]
    workers: Mapping[str, int]
    checks: Made
    demanding: frozenset[str]
    cut_off: Mapping[Place, float]


async def read(connection: AsyncConnection, *, reachable: Sequence[Network] = ()) -> Catalogue:
    """The catalogue as the database has it now; URLs in options may lead to these networks too."""
    surfaces = await registered.all_surfaces(connection)
    workers = await nodes.serving(connection)
    return make(surfaces, workers, await lanes.cut_off(connection), reachable)


def make(
    surfaces: list[SurfaceDescriptor],
    workers: Mapping[str, int],
    cut_off: Mapping[Place, float],
    reachable: Sequence[Network] = (),
) -> Catalogue:
    """The catalogue of these surfaces."""
    return Catalogue(
        {surface.name: surface for surface in surfaces},
        workers,
        option_checks.made(surfaces, reachable),
        frozenset(s.name for s in surfaces if s.options_schema.get("required")),
        cut_off,
    )


def of_task(kind: TaskType, catalogue: Catalogue) -> SurfaceDescriptor | None:
    """The surface that cloro's tasks of this kind are captured from, if there is one."""
    named = (one for one in catalogue.surfaces.values() if kind in one.cloro_tasks)
    return next(named, None)


def unsupported(plan: Plan, catalogue: Catalogue) -> Problem | None:
    """Why some cell of the plan can never be captured here; one such cell refuses them all."""
    unknown = [name for name in plan.surfaces if not _askable(name, catalogue)]
    faults = [*_unsupported(plan, catalogue)]
    if not faults:
        return None
    askable = (one for one in catalogue.surfaces.values() if not queues.is_queue(one.name))
    exist = ", ".join(map(_served, askable))
    cells = "; ".join(fault.message for fault in faults)
    message = f"These cells cannot be captured here: {cells}. What exists: {exist}."
    for name in dict.fromkeys(unknown):
        if how := known.how(name):
            message += f" Whoever runs this server can configure {name}: {how}."
    code = Code.UNSUPPORTED_SURFACE if unknown else Code.UNSUPPORTED_REGION
    return Problem(code, message, faults)


def _unsupported(plan: Plan, catalogue: Catalogue) -> Iterator[Fault]:
    for place, name in enumerate(plan.surfaces):
        surface = catalogue.surfaces.get(name)
        if surface is None or queues.is_queue(name):
            everywhere = ", ".join(dict.fromkeys(region.country for region in plan.regions))
            yield Fault(path=f"surfaces[{place}]", message=f"{name} in {everywhere}")
            continue
        for at, region in enumerate(plan.regions):
            if surface.countries is not None and region.country not in surface.countries:
                yield Fault(path=f"regions[{at}].country", message=f"{name} in {region.country}")


def _askable(name: str, catalogue: Catalogue) -> bool:
    return name in catalogue.surfaces and not queues.is_queue(name)


def _served(surface: SurfaceDescriptor) -> str:
    where = "any country" if surface.countries is None else ", ".join(surface.countries)
    return f"{surface.name} ({where})"


def option_faults(plan: Plan, catalogue: Catalogue) -> list[Fault]:
    """What the published schemas of the surfaces say against the plan's options, and its query."""
    return [
        *(
            fault
            for name in plan.surfaces
            if (check := catalogue.checks.queries.get(name)) is not None
            for fault in option_checks.faults(check, "query", plan.query)
        ),
        *(
            fault
            for name in plan.surfaces
            if name in plan.options or name in catalogue.demanding
            for fault in option_checks.faults(
                catalogue.checks.options[name], f"options.{name}", plan.options.get(name, {})
            )
        ),
    ]


def warnings(plan: Plan, catalogue: Catalogue) -> tuple[Warning, ...]:
    """What the submitter should know although the plan is admitted."""
    return tuple(
        Warning(code="no_worker", message=f"No live worker serves {name} now; its cells wait.")
        for name in plan.surfaces
        if not catalogue.workers.get(name)
    )


def dead_for(plan: Plan, catalogue: Catalogue) -> float:
    """Seconds until the first of the plan's lanes may start anything; 0 when one may now."""
    if not catalogue.cut_off:
        return 0.0
    return min(
        catalogue.cut_off.get(Place(surface, region.country), 0.0)
        for surface in plan.surfaces
        for region in plan.regions
    )
