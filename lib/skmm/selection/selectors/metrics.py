"""Metrics: what rows are compared in, the knobs ``metric`` and ``sigma`` of the selectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_choice

METRICS = ("centred", "raw", "unit")

_AT_THE_MEAN = 1e-9
"""Share of its own and the mean's length at which what is left of a row counts as nothing."""


def measured(features: NDArray[np.floating], metric: str) -> NDArray[np.float64]:
    r"""Returns rows in a metric, ``[N, r]``, as the methods that compare rows see them.

    - ``unit``: :math:`g_i/\|g_i\|`, so that distances are those of angles;
    - ``raw``: the rows as they are, in units of the root of their mean square length;
    - ``centred``: rows less their mean, then of unit norm.

    Rows of zeros, and with ``centred`` those at the mean, stay zero. In each a typical length is
    one, so that the width ``sigma`` of a kernel :math:`e^{-\|x - y\|^2/\sigma^2}` has a meaning:
    1 suits unit rows.

    Raises:
        ValueError: ``metric`` is none of `METRICS`.
    """
    check_choice(metric, "metric", METRICS)
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    if metric == "raw":
        typical = np.sqrt(np.mean(lengths**2))
        return rows / typical if typical > 0.0 else rows
    if metric == "centred":
        mean = rows.mean(axis=0)
        least = _AT_THE_MEAN * (lengths + np.linalg.norm(mean))
        rows -= mean
        lengths = np.linalg.norm(rows, axis=1)
        nothing = lengths <= least
        rows[nothing], lengths[nothing] = 0.0, 0.0
    rows /= np.where(lengths > 0.0, lengths, 1.0)[:, None]
    return rows
