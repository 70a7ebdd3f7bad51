"""How good a subset of a pool is that is too large for exact criteria: estimated on a part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.stored import StoredRows
from skmm.numerics.streams import as_generator

_DRAWS = 2
"""Uniform subsets whose mean coverage is the unit."""


def gauge(
    path: Path, indices: NDArray[np.intp], *, part: int = 8192, seed: int = 0
) -> dict[str, float]:
    r"""Estimates coverage and fourth moment of a subset; 1 is what a uniform draw has on average.

    Both are those of `skmm.Coverage` and `skmm.FourthMoment` on unit rows, with means over the pool
    replaced by means over some of its rows. Of the fourth moment,

    .. math:: \|T_S - T\|^2 \approx \overline{k(x_S, x_S')} - 2\,\overline{k(x_S, x)} +
              \overline{k(x, x')}_{x \ne x'}

    in units of :math:`(1 - \overline{k(x, x')})/n`: without bias for the law that the pool is a
    sample of, and so below the pool's own by n/N.

    Args:
        path: of the rows, ``.npy``.
        indices: of the subset, ``[n]``.
        part: rows of the pool that stand for all.
        seed: of these and of the uniform subsets.
    """
    pool, rng = StoredRows.over(np.load(path, mmap_mode="r")), as_generator(seed, "gauge")
    N, n = len(pool), len(indices)

    def unit(some: NDArray[np.intp]) -> NDArray[np.float32]:
        rows = pool[np.sort(some)]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    some = unit(rng.choice(N, min(part, N), replace=False))
    subset = unit(indices)
    inside, across, among = _fourth(subset, subset), _fourth(subset, some), _fourth(some, some)
    apart = (among * len(some) - 1.0) / (len(some) - 1.0)
    chance = [_missed(some, unit(rng.choice(N, n, replace=False))) for _ in range(_DRAWS)]
    return {
        "coverage": _missed(some, subset) / float(np.mean(chance)),
        "fourth": (inside - 2.0 * across + apart) / ((1.0 - apart) / n),
    }


def _fourth(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Returns the mean fourth power of the inner products."""
    total = 0.0
    for cut in _cuts(one, other):
        squares = np.square(one[cut] @ other.T)  # a power of 4 takes ten times as long
        total += float(np.einsum("ij,ij->", squares, squares, dtype=np.float64))
    return total / (len(one) * len(other))


def _missed(some: NDArray[np.float32], subset: NDArray[np.float32]) -> float:
    """Returns the mean of what the nearest of a subset leaves of the Gaussian kernel's 1."""
    nearest = [(some[b] @ subset.T).max(axis=1) for b in _cuts(some, subset)]
    return float(1.0 - np.exp(2.0 * np.concatenate(nearest) - 2.0).mean(dtype=np.float64))


def _cuts(one: NDArray[np.float32], other: NDArray[np.float32]) -> list[slice]:
    return list(blocks(len(one), len(other)))
