"""The benchmarks run, and find all their work done; how fast is for `make bench` to say."""

import pytest

from tests.bench import captures, fanout, snapshot, submissions


@pytest.mark.parametrize("bench", [fanout, submissions, snapshot, captures])
def test_a_benchmark_does_all_its_work_at_a_small_size(bench):
    """Each bench checks its own answers and rows; a broken one would measure nothing."""
    rows = bench.run(0.01)
    assert rows
    assert all(row.value > 0 for row in rows)
