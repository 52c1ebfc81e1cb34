"""The invariants that hold after every step, whatever the steps, on a real database."""

from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.machine import Machine
from tests.stateful.world import world

LONG = {"max_examples": 200, "stateful_step_count": 80}
SHORT = {"max_examples": 30, "stateful_step_count": 30}


@pytest.mark.timeout(1200)
def test_the_invariants_hold_after_every_step(database):
    """No place, counter, outcome or limit is ever off, and in the end everything ends."""
    looks = LONG if settings.get_current_profile_name() == "long" else SHORT
    with world(database) as made:
        run_state_machine_as_test(
            partial(Machine, made),
            settings=settings(
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                **looks,
            ),
        )
