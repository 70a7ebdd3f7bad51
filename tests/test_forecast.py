"""What is announced of a choice, against what it takes."""

import os
import subprocess
import sys

import numpy as np
import pytest

from skmm_cli import forecast
from skmm_study.pools.written import write_pool
from skmm_study.trials.costs import resident_peak

CHILD = """
import sys, time
import numpy as np
import skmm
import skmm_cli.commands.select
from skmm.selection.selectors import stratified
from skmm_cli import forecast
from skmm_study.trials.costs import resident_peak
path, n, criterion = sys.argv[1], int(sys.argv[2]), sys.argv[3]
stratified._LEAST = stratified._MOST = 2_000
rows = np.load(path, mmap_mode="r")
N, m = rows.shape
skmm.select(rows[:50], 5, rng=0)
seconds = forecast.seconds("skmm", N, m, m, n, criterion)
megabytes = forecast.megabytes(N, m, n, criterion)
begin = time.process_time()
skmm.select(rows, n, rng=0, criterion=criterion)
print(seconds, time.process_time() - begin, megabytes, resident_peak())
"""


@pytest.mark.parametrize(
    ("N", "m", "n", "criterion"), [(16_000, 32, 160, "balanced"), (70_000, 64, 700, "full")]
)
def test_time_and_memory_are_those_announced(tmp_path, N, m, n, criterion):
    """Processor time of one thread within a factor of two, memory within a quarter."""
    write_pool(tmp_path / "rows.npy", N, m, seed=0)
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "rows.npy"), str(n), criterion],
        env={**os.environ, **single},
        capture_output=True,
        text=True,
        check=True,
    )
    announced, taken, megabytes, peak = map(float, run.stdout.split())
    assert 0.5 < announced / taken < 2
    if np.isfinite(resident_peak()):
        assert megabytes == pytest.approx(peak, rel=0.25)


@pytest.mark.parametrize("criterion", ["auto", "balanced", "diagonal", "full"])
def test_forecast_grows_as_large_pools_do(criterion):
    """In proportion to the rows, about, and memory far below it."""
    times = [forecast.seconds("skmm", N, 64, 64, N // 100, criterion) for N in (10**5, 10**6)]
    sizes = [forecast.megabytes(N, 64, N // 100, criterion) for N in (10**5, 10**6)]
    assert 2 * times[0] < times[1] < 12 * times[0]
    assert sizes[0] < sizes[1] < 2 * sizes[0]


@pytest.mark.parametrize("criterion", ["auto", "diagonal", "v-optimal", "unknown"])
@pytest.mark.parametrize(("N", "n"), [(1, 1), (3, 0), (20, 20), (20, 90), (12_000, 12_000)])
def test_any_budget_has_a_forecast(criterion, N, n):
    """Those that no choice can have, too: what is wrong with them is said when it is made."""
    assert 0 < forecast.seconds("skmm", N, 4, 4, n, criterion) < 1e5
    assert 0 < forecast.megabytes(N, 4, n, criterion) < 1e5
