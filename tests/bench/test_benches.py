"""The benchmarks run, and find all their work done; how fast is for `make bench` to say."""

import pytest

from tests.bench import (
    adapters,
    batches,
    breaker,
    captures,
    dead,
    deliveries,
    fairness,
    fanout,
    flat,
    lanes,
    normalising,
    pruning,
    snapshot,
    starts,
    steering,
    submissions,
    sync,
    telling,
    waiting,
    wide,
)


@pytest.mark.parametrize(
    "bench",
    [
        *(fanout, submissions, batches, snapshot),
        *(captures, adapters, sync, waiting, steering),
        *(lanes, breaker, fairness, dead, wide, pruning, starts, flat, telling, deliveries),
        normalising,
    ],
)
def test_a_benchmark_does_all_its_work_at_a_small_size(bench):
    """Each bench checks its own answers and rows; a broken one would measure nothing."""
    rows = bench.run(0.01)
    assert rows
    assert all(row.value > 0 or row.bar == 0 for row in rows)


def test_a_waiting_request_is_small_and_has_no_thread():
    """500 callers who wait at one API process cost it 28 KiB each at most."""
    for row in waiting.run(0.5):
        assert row.reached, row
