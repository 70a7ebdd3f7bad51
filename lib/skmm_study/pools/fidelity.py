"""What a compact copy of the features loses: on rows, on inner products, on a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LogisticProbe:
    """A multinomial logistic regression, fitted on the whole pool, scored on the test rows.

    Attributes:
        C: inverse penalty, the same for exact and compact rows.
    """

    C: float = 0.1

    def scores(self, pool: NDArray, test: NDArray, labels: Sequence[NDArray]) -> dict[str, float]:
        """Returns accuracy and macro-F1; takes up to a minute for Stanford Cars."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

        probe = LogisticRegression(C=self.C, max_iter=500)
        predicted = probe.fit(pool.astype(np.float32), labels[0]).predict(test.astype(np.float32))
        return {
            "accuracy": round(float(np.mean(predicted == labels[1])), 4),
            "macro_f1": round(float(f1_score(labels[1], predicted, average="macro")), 4),
        }


@dataclass(frozen=True)
class RidgeProbe:
    """A ridge regression with intercept, fitted on the whole pool, scored on the test rows.

    Attributes:
        penalties: candidates; leaving one row out of the pool at a time chooses, by absolute error.
    """

    penalties: tuple[float, ...] = tuple(float(10**power) for power in range(-1, 7))

    def scores(self, pool: NDArray, test: NDArray, labels: Sequence[NDArray]) -> dict[str, float]:
        """Returns the mean absolute error, the penalty chosen, and the error of a constant."""
        from sklearn.linear_model import RidgeCV

        probe = RidgeCV(self.penalties, scoring="neg_mean_absolute_error").fit(pool, labels[0])
        constant = np.median(labels[0])
        return {
            "mean_absolute_error": _mean_distance(probe.predict(test), labels[1]),
            "penalty": float(probe.alpha_),
            "mean_absolute_error_of_median": _mean_distance(constant, labels[1]),
        }


def measure_fidelity(
    exact: Sequence[NDArray],
    compact: Sequence[NDArray],
    labels: Sequence[NDArray],
    *,
    widths: Sequence[int],
    probe: LogisticProbe | RidgeProbe | None = None,
) -> dict:
    r"""Compares the r leading coordinates of compact features with all of the exact ones.

    Args:
        exact: pool ``[N, r]`` and test ``[N_test, r]``, ``float64``.
        compact: the same rows after compression.
        labels: classes, or a regression's targets, of pool and test.
        widths: numbers of leading coordinates to measure at; each fits one probe.
        probe: what is fitted; without it a :class:`LogisticProbe`.

    Returns:
        The settings of the probe; ``exact``: its scores; ``compact``: for each width the same, and
        relative errors in the Frobenius norm of the rows, of the pool's second moment, and of the
        inner products among its rows.
    """
    probe = probe or LogisticProbe()
    pool, test = exact
    moment = pool.T @ pool
    report = {f"probe_{setting}": value for setting, value in asdict(probe).items()}
    report |= {"exact": probe.scores(pool, test, labels), "compact": []}
    for r in widths:
        rows = [part[:, :r].astype(np.float64) for part in compact]
        second = rows[0].T @ rows[0]
        lost = moment.copy()
        lost[:r, :r] -= second
        entry = {
            "r": r,
            "relative_error_pool": _relative_error(rows[0], pool),
            "relative_error_test": _relative_error(rows[1], test),
            "relative_error_second_moment": _ratio(lost, moment),
            "relative_error_gram": _gram_error(pool.T @ rows[0], second, moment),
        }
        report["compact"].append(entry | probe.scores(*rows, labels))
    return report


def _relative_error(rows: NDArray, whole: NDArray) -> float:
    left = whole.copy()
    left[:, : rows.shape[1]] -= rows
    return _ratio(left, whole)


def _ratio(part: NDArray, whole: NDArray) -> float:
    return round(float(np.linalg.norm(part) / np.linalg.norm(whole)), 4)


def _gram_error(cross: NDArray, second: NDArray, moment: NDArray) -> float:
    r"""Relative error of ``G Gᵀ``, ``[N, N]``, from products of its factors, ``[r, r]``.

    .. math:: \|A A^\top - B B^\top\|_F^2 = \|A^\top A\|_F^2 + \|B^\top B\|_F^2 - 2 \|A^\top B\|_F^2
    """
    squares = [np.vdot(product, product) for product in (moment, second, cross)]
    return round(float(np.sqrt(max(squares[0] + squares[1] - 2 * squares[2], 0) / squares[0])), 4)


def _mean_distance(predicted: NDArray | float, targets: NDArray) -> float:
    return round(float(np.mean(np.abs(predicted - targets))), 4)
