"""What it costs to look at a pool cell by cell, where it can be looked at as a whole as well."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Coverage, FourthMoment
from skmm.numerics.streams import as_generator
from skmm.selection.cells import apportion, cut
from skmm.selection.certificate import certify
from skmm.selection.select import select
from skmm.selection.selectors.balance import EXPLOITATION, Balance
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.seams import choose_in_cells
from skmm.selection.selectors.stratified import Cell, choose_in
from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum
from skmm_study.pools.written import write_pool
from skmm_study.trials.gauge import gauge
from skmm_study.trials.pairing import evaluation_rng

if TYPE_CHECKING:
    import pandas as pd

    from skmm_study.pools.compact import CompactPool
    from skmm_study.trials.fits import Fit

Indices = NDArray[np.intp]


def shortcut_trials(
    rows: NDArray[np.floating],
    n: int,
    sizes: Iterable[int],
    *,
    seeds: int,
    data: CompactPool | None = None,
    fit: Fit | None = None,
) -> pd.DataFrame:
    r"""Chooses from a whole pool, from its cells, mended or not, from a random half and uniformly.

    .. math:: \text{lost} = \frac{b(S) - b(S_0)}{1 + w - b(S_0)}

    with b the sum of regrets that `Balance` lowers, :math:`S_0` its choice from the whole pool, and
    :math:`1 + w` what a uniform draw has on average: 0 is the exact method and 1 is chance.

    Args:
        rows: The pool, ``[N, m]``.
        n: Budget.
        sizes: Rows of a cell, about.
        seeds: Repeats of what is drawn; the exact method draws nothing.
        data: The labels of the rows, and test rows.
        fit: What is trained on the subset, where there are labels.

    Returns:
        One row a choice: ``way`` (``whole``, ``cells of 2500``, ``2500, not mended``, ``random
        half``, ``uniform``), ``cells``, ``seed``, ``lost``, ``coverage``, ``fourth`` (1 is a
        uniform draw), ``score`` (NaN without labels) and processor ``seconds``.
    """
    import pandas as pd

    G = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    begin = time.process_time()
    exact = Balance.of(G, n, sigma=1.0, weight=None)
    whole, best = exact.descend()
    found = [("whole", 1, 0, whole, time.process_time() - begin)]
    for seed in range(seeds):
        for size in sizes:
            begin = time.process_time()
            cells = cells_of_size(rows, n, size, rng=as_generator(seed, "cells"))
            chosen, _ = choose_in_cells(rows, cells)
            taken = time.process_time() - begin
            found.append((f"cells of {size}", len(cells), seed, chosen, taken))
            begin = time.process_time()
            apart = [cell.members[choose_in(rows, cell).indices] for cell in cells]
            taken = time.process_time() - begin
            found.append((f"{size}, not mended", len(cells), seed, np.concatenate(apart), taken))
        rng = as_generator(seed, "parts")
        begin, half = time.process_time(), np.sort(rng.choice(len(G), len(G) // 2, replace=False))
        inside, _ = Balance.of(G[half], n, sigma=1.0, weight=exact.weight).descend()
        found.append(("random half", 1, seed, half[inside], time.process_time() - begin))
        found.append(("uniform", 0, seed, rng.choice(len(G), n, replace=False), 0.0))
    coverage, fourth = Coverage(G, n), FourthMoment(G, n)
    table = []
    for way, cells, seed, chosen, seconds in found:
        exact.criterion.start(chosen)
        fourth.start(chosen)
        value = exact.criterion.value() - exact.least
        row: dict[str, Any] = {"way": way, "cells": cells, "seed": seed}
        row["lost"] = (value - best) / (1.0 + exact.weight - best)
        row |= {"coverage": coverage.value_of(chosen), "fourth": fourth.value()}
        row["score"] = np.nan
        if data is not None and fit is not None:
            train = rows[chosen], data.pool_labels[chosen], data.test, data.test_labels
            row["score"] = fit(*train, weights=None, rng=evaluation_rng(seed))
        table.append(row | {"seconds": seconds})
    return pd.DataFrame(table)


def cells_of_size(
    rows: NDArray[np.floating], n: int, size: int, *, rng: np.random.Generator
) -> list[Cell]:
    """Returns the cells that `select` chooses from in a large pool, but of a size that is told."""
    N, metric = len(rows), Metric("row", Spectrum.of(rows))
    parts = cut(rows, size, measure=metric, rng=rng)
    shares = apportion(n, np.array([len(part) for part in parts]))
    nothing, weight = np.zeros(0, dtype=np.intp), EXPLOITATION * n / N
    knobs: dict[str, Any] = {"criterion": "balanced", "sigma": 1.0, "weight": weight, "seed": 0}
    return [
        Cell(part, int(share), nothing, metric, **knobs)
        for part, share in zip(parts, shares, strict=True)
    ]


def random_part(data: CompactPool, rows: int | None, *, seed: int) -> CompactPool:
    """Returns a data set with so many rows, at most, of its pool and its test, drawn at random.

    ``None``: with all.
    """
    if rows is None:
        return data
    rng = as_generator(seed, "part")
    pool, test = (
        np.sort(rng.choice(len(part), min(rows, len(part)), replace=False))
        for part in (data.pool, data.test)
    )
    some = {"pool": data.pool[pool], "pool_labels": data.pool_labels[pool]}
    return replace(data, **some, test=data.test[test], test_labels=data.test_labels[test])


def written_rows(N: int, m: int, *, seed: int) -> NDArray[np.float32]:
    """Returns the rows of `write_pool` in memory."""
    with tempfile.TemporaryDirectory() as folder:
        write_pool(Path(folder) / "rows.npy", N, m, seed=seed)
        return np.load(Path(folder) / "rows.npy")


def sketch_size_trials(
    N: int, r: int, directions: int, n: int, sizes: Iterable[int], *, seed: int
) -> pd.DataFrame:
    r"""Matches the second moment of a pool on disk in sketches of several sizes.

    Whatever the sketch, the subset is certified in the rows themselves.

    Args:
        N: Rows of the pool.
        r: Numbers of each.
        directions: of which so many carry all but one part in 10⁷: r̄ up to that N.
        n: Budget.
        sizes: of the sketch, m; r is none.
        seed: of pool, sketches and subsets.

    Returns:
        One row a size, and one of a uniform draw with m = 0: ``m``, ``slack`` and ``variance`` of
        the certificate, ``dimension``, which is r̄, and ``coverage`` and ``fourth`` of `gauge`.
    """
    import pandas as pd

    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_pool(path, N, r, seed=seed, directions=directions, beyond=1e-4)
        rows = np.load(path, mmap_mode="r")
        view = PoolView.of(rows, rng=seed)
        drawn = as_generator(seed, "uniform").choice(N, n, replace=False)
        chosen = {0: drawn} | {
            m: select(rows, n, m=m, criterion="full", rng=seed).indices for m in sizes
        }
        for m, indices in chosen.items():
            certificate = certify(view, indices)
            row = {"m": m, "dimension": view.spectrum.intrinsic_dimension}
            row |= {"slack": certificate.slack, "variance": certificate.variance}
            found.append(row | gauge(path, indices, part=4096))
    return pd.DataFrame(found)
