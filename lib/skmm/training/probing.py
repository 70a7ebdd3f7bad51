"""Linear probes: penalised multinomial logistic regression on the selected rows, and its scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from skmm.numerics.eigen import rank_cutoff
from skmm.numerics.inputs import (
    check_integer,
    check_labels,
    check_positive,
    check_rows,
    check_weights,
)
from skmm.numerics.streams import as_generator

# Decades from "nearly the class means" to "nearly the widest margin" in the units of LinearProbe.
# At the last ones the accuracy no longer changes: an optimum at the end of the list is not cut off.
ALPHAS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


@dataclass(frozen=True)
class LinearProbe:
    r"""Multinomial logistic regression with a penalty chosen on the rows it was given.

    .. math:: \min_{W, b} -\sum_i w_i \log p_{y_i}(x_i)
              + \frac{\alpha}{2}\,\bar e\,\|W\|_F^2, \qquad p(x) = \mathrm{softmax}(W^\top x + b),

    with weights :math:`w_i` of sum 1, all :math:`1/n` unless told, and :math:`\bar e` the rows'
    mean squared distance from their mean, both so weighted: rescaling, shifting or rotating the
    features changes no prediction; scikit-learn's ``C`` is :math:`1/(n\alpha\bar e)`. The solution
    lies in the span of the centred rows: they are rotated to their principal axes first, which is
    exact, shrinks the problem where ``n < d``, and lets a diagonal scaling, renewed at every
    penalty, precondition L-BFGS.

    Attributes:
        classes: labels that were seen, ascending, shape ``[C]``; one of them is always predicted.
        weights: :math:`W` in the coordinates of the features, shape ``[d, C]``.
        intercept: :math:`b`, shape ``[C]``.
        alpha: the penalty chosen.
        alphas: all penalties, descending, shape ``[A]``.
        accuracies: held-out accuracy of each, NaN where there was nothing to compare, ``[A]``.

    Example:
        >>> import skmm
        >>> probe = skmm.LinearProbe.fit([[0.0], [0.1], [1.0], [1.1]], [5, 5, 9, 9], rng=0)
        >>> probe.predict([[0.2], [0.9]]).tolist()
        [5, 9]
    """

    classes: NDArray[np.int64]
    weights: NDArray[np.floating]
    intercept: NDArray[np.floating]
    alpha: float
    alphas: NDArray[np.float64]
    accuracies: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        labels: ArrayLike,
        *,
        rng: int | np.random.Generator,
        alphas: ArrayLike = ALPHAS,
        folds: int = 3,
        tolerance: float = 1e-4,
        weights: ArrayLike | None = None,
    ) -> LinearProbe:
        """Fits the probe; float32 rows are fitted in float32, at half the time.

        The penalty with the best accuracy over shuffled stratified folds wins, the largest of
        equals. A class with a single row counts as missed when that row is held out. One class,
        one row or one penalty leave nothing to choose: the largest penalty is taken. Costs
        ``folds + 1`` warm-started paths over the penalties, each of some 30 products
        ``[n, d] x [d, C]`` a penalty at the default tolerance.

        Args:
            features: selected rows, shape ``[n, d]``.
            labels: whole numbers, shape ``[n]``; classes may be missing.
            rng: deals the rows into folds.
            alphas: penalties, shape ``[A]``.
            folds: number of folds, at most n of them are used.
            tolerance: relative decrease of the objective below which a fit stops.
            weights: of the rows' losses, and of the rows that a fold holds out, positive numbers
                of any scale, shape ``[n]``, such as ``selection.weights``; unless told, all alike.

        Raises:
            ValueError: rows, labels, penalties, folds, tolerance or weights are not as described.
        """
        rows = check_rows(features)
        labels = check_labels(labels, len(rows))
        masses = check_weights(weights, len(rows))
        folds = check_integer(folds, "folds", low=2, hint="3 is usual, n leaves one row out")
        tolerance = check_positive(tolerance, "tolerance", hint="1e-4 is usual")
        path = np.sort(np.atleast_1d(np.asarray(alphas, dtype=np.float64)).ravel())[::-1]
        if path.size == 0 or not (np.isfinite(path) & (path > 0)).all():
            raise ValueError(f"alphas must be finite and positive, got {alphas!r}")
        rng = as_generator(rng, "probe")

        center, rotation = _principal_axes(rows, masses)
        rotated = (rows - center) @ rotation
        classes, targets = np.unique(labels, return_inverse=True)
        accuracies = np.full(len(path), np.nan)
        if len(classes) > 1 and len(path) > 1:
            dealt = _deal(targets, min(folds, len(rows)), rng)
            accuracies = _held_out_accuracies(rotated, targets, masses, dealt, path, tolerance)
        best = 0 if np.isnan(accuracies[0]) else int(np.argmax(accuracies))
        for W, b in _fit_path(rotated, targets, masses, path[: best + 1], tolerance):
            slopes, intercept = W, b
        slopes = rotation @ slopes.astype(rows.dtype)
        intercept = (intercept - center @ slopes).astype(rows.dtype)
        return cls(classes, slopes, intercept, float(path[best]), path, accuracies)

    def predict(self, features: ArrayLike) -> NDArray[np.int64]:
        """Returns the most probable class of each row, ``[M, d]`` to ``[M]``."""
        rows = check_rows(features)
        if rows.shape[1] != len(self.weights):
            raise ValueError(
                f"features must have d={len(self.weights)} columns as in fit, got {rows.shape[1]}"
            )
        return self.classes[np.argmax(rows @ self.weights + self.intercept, axis=1)]


def _principal_axes(
    rows: NDArray[np.floating], masses: NDArray[np.float64]
) -> tuple[NDArray, NDArray]:
    """Returns the rows' mean and their principal axes ``[d, k]``, scaled to unit mean energy."""
    center = (masses[:, None] * rows).mean(axis=0)
    centred = np.sqrt(masses)[:, None] * (rows - center)
    n, d = centred.shape
    gram = centred @ centred.T if n <= d else centred.T @ centred
    values, vectors = scipy.linalg.eigh(gram, check_finite=False)
    keep = values > rank_cutoff(len(gram), max(np.trace(gram), 1e-300))
    axes = vectors[:, keep]
    if n <= d:
        axes = centred.T @ (axes / np.sqrt(values[keep]))
    energy = values[keep].sum() / n
    return center.astype(rows.dtype), (axes / np.sqrt(energy or 1)).astype(rows.dtype)


def _deal(targets: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns a fold for each row: classes and folds both in shares that differ by at most one."""
    order = rng.permutation(len(targets))
    order = order[np.argsort(rng.permutation(targets.max() + 1)[targets[order]], kind="stable")]
    dealt = np.empty_like(order)
    dealt[order] = np.arange(len(order)) % folds
    return dealt


def _held_out_accuracies(rows, targets, masses, dealt, alphas, tolerance) -> NDArray[np.float64]:
    """Returns the share of mass that a fit without its fold classifies correctly, ``[A]``."""
    hits = np.zeros(len(alphas))
    for fold in range(dealt.max() + 1):
        kept, held_out = dealt != fold, dealt == fold
        seen, relabelled = np.unique(targets[kept], return_inverse=True)
        share = masses[kept] / masses[kept].mean()
        for a, (W, b) in enumerate(_fit_path(rows[kept], relabelled, share, alphas, tolerance)):
            guesses = seen[np.argmax(rows[held_out] @ W.astype(rows.dtype) + b, axis=1)]
            hits[a] += masses[held_out][guesses == targets[held_out]].sum()
    return hits / len(rows)


def _softmax(logits: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Overwrites logits by probabilities; returns them and the log of their normalisation."""
    top = logits.max(axis=1, keepdims=True)
    logits -= top
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    logits /= total
    return logits, (top + np.log(total))[:, 0]


def _fit_path(rows, targets, masses, alphas, tolerance) -> Iterator[tuple[NDArray, NDArray]]:
    """Yields weights ``[k, C]`` and intercept ``[C]`` for each penalty, each warm-started.

    Masses have mean one.

    Unknowns are scaled by the curvature's diagonal, averaged over classes, at the start of each
    penalty: it falls by orders of magnitude as the fit grows confident.
    """
    (n, k), C, each = rows.shape, targets.max() + 1, np.arange(len(targets))
    W, b = np.zeros((k, C)), np.zeros(C)
    squares, mass_of = rows**2, masses.astype(rows.dtype, copy=False)[:, None]

    def logits(W, b):
        return rows @ W.astype(rows.dtype, copy=False) + b.astype(rows.dtype, copy=False)

    for alpha in alphas:
        P, _ = _softmax(logits(W, b))
        curvature = mass_of[:, 0] * (P * (1 - P)).mean(axis=1)
        scale = 1 / np.sqrt(squares.T @ curvature[:, None] / n + alpha)
        # The intercept has no penalty; this floor keeps its scale finite once all rows are fitted.
        scale = np.vstack([scale, [[1 / np.sqrt(curvature.mean() + alpha)]]])
        penalty = alpha * scale**2
        penalty[-1] = 0

        def objective(flat, scale=scale, penalty=penalty):
            U = flat.reshape(k + 1, C)
            scaled = scale * U
            Z = logits(scaled[:k], scaled[k])
            reached = Z[each, targets].astype(np.float64)
            residual, normaliser = _softmax(Z)
            residual[each, targets] -= 1
            residual *= mass_of
            gradient = penalty * U
            shrunk = gradient.ravel() @ flat / 2
            gradient[:k] += scale[:k] * (rows.T @ residual) / n
            gradient[k] += scale[k] * residual.sum(axis=0, dtype=np.float64) / n
            return np.mean(masses * (normaliser - reached)) + shrunk, gradient.ravel()

        start = (np.vstack([W, b]) / scale).ravel()
        options = {"ftol": tolerance, "gtol": 0, "maxiter": 2000, "maxfun": 4000}
        fitted = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
        solution = scale * fitted.reshape(k + 1, C)
        W, b = solution[:k], solution[k]
        yield W, b


@dataclass(frozen=True)
class ProbeScores:
    """Scores of a probe on test rows.

    Attributes:
        accuracy: share of correct predictions.
        macro_f1: F1 score averaged over the classes among the test labels; one never predicted
            counts 0.
    """

    accuracy: float
    macro_f1: float


def probe_scores(probe: LinearProbe, features: ArrayLike, labels: ArrayLike) -> ProbeScores:
    """Scores ``probe`` on test rows ``[M, d]`` with labels ``[M]``.

    Example:
        >>> import skmm
        >>> probe = skmm.LinearProbe.fit([[0.0], [0.1], [1.0], [1.1]], [5, 5, 9, 9], rng=0)
        >>> skmm.probe_scores(probe, [[0.2], [0.3], [0.8], [0.9]], [5, 9, 9, 9]).accuracy
        0.75
    """
    guesses = probe.predict(features)
    labels = check_labels(labels, len(guesses))
    hits = guesses == labels
    classes, true_counts = np.unique(labels, return_counts=True)
    hit_counts = np.array([hits[labels == c].sum() for c in classes])
    guess_counts = np.array([(guesses == c).sum() for c in classes])
    f1 = 2 * hit_counts / (true_counts + guess_counts)
    return ProbeScores(float(hits.mean()), float(f1.mean()))
