"""Selectors of other packages beside ours: the same rows, the same budget, one run.

None of the packages is a dependency. One that is not installed gives a row with a note.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Coverage, FourthMoment
from skmm.selection.select import select

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.float64]
Indices = NDArray[np.intp]

OURS = ("max_herding", "facility_location", "k_means", "typiclust", "skmm", "uniform")

_WARM = 64
"""Rows of a first run, which loads and compiles what a package loads and compiles once."""


def _max_herding(rows: Rows, n: int, seed: int) -> Indices:
    from skactiveml.pool import MaxHerding

    query = MaxHerding(metric_dict={"gamma": 1.0}, random_state=seed)
    return query.query(rows, np.full(len(rows), np.nan), batch_size=n)


def _typiclust(rows: Rows, n: int, seed: int) -> Indices:
    from skactiveml.pool import TypiClust

    query = TypiClust(random_state=seed)
    return query.query(rows, np.full(len(rows), np.nan), batch_size=n)


def _facility_location(rows: Rows, n: int, seed: int) -> Indices:
    from apricot import FacilityLocationSelection

    kernel = np.exp(2.0 * rows @ rows.T - 2.0)
    chosen = FacilityLocationSelection(n, metric="precomputed", random_state=seed)
    return chosen.fit(kernel).ranking


def _kernel_herding(rows: Rows, n: int, seed: int) -> Indices:
    from coreax import Data
    from coreax.kernels import SquaredExponentialKernel
    from coreax.solvers import KernelHerding

    kernel = SquaredExponentialKernel(length_scale=0.5**0.5)
    coreset, _ = KernelHerding(coreset_size=n, kernel=kernel).reduce(Data(rows))
    return np.asarray(coreset.unweighted_indices)


def _k_means(rows: Rows, n: int, seed: int) -> Indices:
    import faiss

    narrow = rows.astype(np.float32)
    means = faiss.Kmeans(rows.shape[1], n, niter=25, seed=seed, min_points_per_centroid=1)
    means.train(narrow)
    nearest = faiss.IndexFlatL2(rows.shape[1])
    nearest.add(narrow)
    return nearest.search(means.centroids, 1)[1][:, 0]


PEERS: dict[str, tuple[str, str, Callable[[Rows, int, int], Indices]]] = {
    "MaxHerding": ("scikit-activeml", "max_herding", _max_herding),
    "TypiClust": ("scikit-activeml", "typiclust", _typiclust),
    "FacilityLocationSelection": ("apricot-select", "facility_location", _facility_location),
    "KernelHerding": ("coreax", "kernel_herding", _kernel_herding),
    "Kmeans": ("faiss-cpu", "k_means", _k_means),
}
"""Name -> package, the selector of ours that does the same, and how it is called."""


def peer_trials(
    rows: NDArray[np.floating], n: int, peers: Iterable[str], *, seed: int = 0
) -> pd.DataFrame:
    """Runs selectors of ours, then those of other packages, and judges all by the same criteria.

    Before each, a run on a few rows loads and compiles. A subset with rows twice is judged as it
    stands, and one of fewer rows is at a disadvantage.

    Args:
        rows: The pool, ``[N, m]``; each method gets unit rows in double precision.
        n: Budget.
        peers: Names of `PEERS`.
        seed: of every method.

    Returns:
        One row a method: ``package`` (``skmm`` for ours), ``method``, ``ours`` (that does the
        same), ``distinct`` rows, exact ``coverage`` and ``fourth`` (1 is a uniform draw on average;
        lower is better), processor ``seconds`` of all threads, and ``note``, empty or why the row
        has no numbers.
    """
    import pandas as pd

    G = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    coverage, fourth = Coverage(G, n), FourthMoment(G, n)

    def ours(name: str) -> Callable[[Rows, int, int], Indices]:
        return lambda rows, n, seed: select(rows, n, method=name, rng=seed).indices

    runs = [("skmm", name, name, ours(name)) for name in OURS]
    runs += [(PEERS[name][0], name, *PEERS[name][1:]) for name in peers]
    table = []
    for package, method, same, run in runs:
        row: dict[str, Any] = {"package": package, "method": method, "ours": same}
        try:
            known = version(package) if package != "skmm" else ""
            indices, seconds = _timed(run, G, n, seed)
        except (ImportError, PackageNotFoundError):
            table.append(row | {"note": "not installed"})
            continue
        distinct = np.unique(indices)
        fourth.start(distinct)
        row |= {"distinct": len(distinct), "coverage": coverage.value_of(distinct)}
        table.append(row | {"fourth": fourth.value(), "seconds": seconds, "note": known})
    columns = ["package", "method", "ours", "distinct", "coverage", "fourth", "seconds", "note"]
    return pd.DataFrame(table, columns=columns)


def _timed(
    run: Callable[[Rows, int, int], Indices], rows: Rows, n: int, seed: int
) -> tuple[Indices, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs are no failures of the study
        run(rows[:_WARM], 4, seed)
        begin = time.process_time()
        indices = np.asarray(run(rows, n, seed), dtype=np.intp)
    return indices, time.process_time() - begin
