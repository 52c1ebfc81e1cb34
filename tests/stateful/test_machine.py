"""The invariants that hold after every step, whatever the steps, on a real database."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from orchestrator.store import surfaces
from orchestrator.surfaces import RegionLimits
from tests.stateful.machine import Machine
from tests.stateful.served import Served
from tests.stateful.serving import ServedMachine
from tests.stateful.strategies import SURFACES, descriptor
from tests.stateful.wire import Process
from tests.stateful.world import world


def look(machine: Callable[[], RuleBasedStateMachine], *, short: int, long: int) -> None:
    """So many examples, of more steps when there is time."""
    thorough = settings.get_current_profile_name() == "long"
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            max_examples=long if thorough else short,
            stateful_step_count=80 if thorough else 30,
        ),
    )


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_the_invariants_hold_after_every_step(database):
    """No place, counter, outcome, token or limit is ever off, and in the end everything ends."""
    with world(database) as made:
        look(partial(Machine, made), short=50, long=80)


@pytest.fixture
async def processes(anyio_backend, connection, database) -> Iterator[list[Process]]:
    """Two API processes, or those in their place."""
    limits = RegionLimits(concurrency=2)
    await surfaces.register(connection, [descriptor(name, limits) for name in SURFACES])
    living = [Process(database) for _ in range(2)]
    yield living
    for process in living:
        process.kill()


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_they_hold_over_http_and_two_processes_too(database, processes):
    """Whoever is answered has what the rows say; whoever hangs up or is killed leaves nothing."""
    with world(database, Served, processes=processes) as made:
        look(partial(ServedMachine, made), short=10, long=24)
