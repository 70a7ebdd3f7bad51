"""Pools as large as one likes, written to a file block by block."""

from __future__ import annotations

import os

import numpy as np

from skmm.numerics.streams import as_generator

_BLOCK = 1 << 15
"""Rows that are drawn at once."""

_GROUPS, _SPREAD = 1_000, 0.4


def write_pool(
    path: str | os.PathLike,
    N: int,
    m: int,
    *,
    seed: int,
    directions: int | None = None,
    beyond: float = 0.0,
) -> None:
    r"""Writes a mixture of 1,000 groups of unequal size as ``float32`` ``[N, m]``.

    .. math:: x = c_k + 0.4\,z, \qquad c_k, z \sim N(0, \operatorname{diag}(1/j)_j), \qquad
              p_k \propto 1/(10 + k)

    The groups overlap, and every direction carries something, as in features of a network. The same
    seed gives the same first rows whatever N is.

    Args:
        path: of the file, ``.npy``.
        N: Rows.
        m: Numbers of each.
        seed: of everything drawn.
        directions: how many carry that; the others, if any, noise alone. All of them unless told.
        beyond: standard deviation of that noise.
    """
    rng = as_generator(seed, "written pool")
    k = m if directions is None else directions
    scale = np.arange(1.0, k + 1) ** -0.5
    share = 1.0 / np.arange(10, 10 + _GROUPS)
    centers = scale * rng.standard_normal((_GROUPS, k))
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=(N, m))
    for begin in range(0, N, _BLOCK):
        groups = rng.choice(_GROUPS, _BLOCK, p=share / share.sum())
        block = np.zeros((_BLOCK, m))
        block[:, :k] = centers[groups] + _SPREAD * scale * rng.standard_normal((_BLOCK, k))
        block[:, k:] = beyond * rng.standard_normal((_BLOCK, m - k))
        size = min(_BLOCK, N - begin)
        rows[begin : begin + size] = block[:size]
    rows.flush()
