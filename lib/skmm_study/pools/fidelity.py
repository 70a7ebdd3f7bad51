"""What a compact copy of the features loses: on the rows, on their second moment, on a probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Inverse penalty of the probe, the same for exact and compact rows.
PROBE_C = 0.1


def measure_fidelity(
    exact: Sequence[NDArray],
    compact: Sequence[NDArray],
    labels: Sequence[NDArray],
    *,
    widths: Sequence[int],
) -> dict:
    r"""Compares the r leading coordinates of compact features with all of the exact ones.

    Args:
        exact: pool ``[N, r]`` and test ``[N_test, r]``.
        compact: the same rows after compression.
        labels: classes of pool and test.
        widths: numbers of leading coordinates to measure at; each fits one probe, which takes up
            to a minute for Stanford Cars.

    Returns:
        ``exact``: accuracy and macro-F1 of a probe that is fitted on the whole pool; ``compact``:
        for each width the same and relative errors in the Frobenius norm.
    """
    pool, test = exact
    moment = pool.T @ pool
    report = {"probe_C": PROBE_C, "exact": _probe(pool, test, labels), "compact": []}
    for r in widths:
        rows = [part[:, :r] for part in compact]
        lost = moment.copy()
        lost[:r, :r] -= rows[0].T.astype(np.float64) @ rows[0]
        entry = {
            "r": r,
            "relative_error_pool": _relative_error(rows[0], pool),
            "relative_error_test": _relative_error(rows[1], test),
            "relative_error_second_moment": _ratio(lost, moment),
        }
        report["compact"].append(entry | _probe(*rows, labels))
    return report


def _relative_error(rows: NDArray, whole: NDArray) -> float:
    left = whole.copy()
    left[:, : rows.shape[1]] -= rows
    return _ratio(left, whole)


def _ratio(part: NDArray, whole: NDArray) -> float:
    return round(float(np.linalg.norm(part) / np.linalg.norm(whole)), 4)


def _probe(pool: NDArray, test: NDArray, labels: Sequence[NDArray]) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    probe = LogisticRegression(C=PROBE_C, max_iter=500)
    predicted = probe.fit(pool.astype(np.float32), labels[0]).predict(test.astype(np.float32))
    return {
        "accuracy": round(float(np.mean(predicted == labels[1])), 4),
        "macro_f1": round(float(f1_score(labels[1], predicted, average="macro")), 4),
    }
