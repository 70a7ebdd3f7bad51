"""What baselines see beyond features: the outputs of a small first model, the course of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_budget, check_integer, check_labels, check_rows
from skmm.numerics.streams import as_generator
from skmm.training.probing import LinearProbe

_BATCH = 64
_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class FirstModel:
    r"""A linear probe on a few uniformly drawn labels, and what it says about the pool.

    Attributes:
        initial: the labelled rows, shape ``[n_0]``.
        probabilities: shape ``[N, C]``; zero for classes without an initial label.
        logits: shape ``[N, C_0]``, of the :math:`C_0` classes with one.
        weights: the probe's, shape ``[C_0, d]``.
    """

    initial: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64]
    weights: NDArray[np.floating]


def first_model(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    initial: int,
    rng: int | np.random.Generator,
) -> FirstModel:
    r"""Fits the model that active learning starts from: a probe on ``initial`` uniform rows.

    Its labels come on top of a method's budget: what needs a model is given one for nothing.

    Args:
        features: pool rows, shape ``[N, d]``.
        labels: classes ``0..C-1`` of the pool, of which ``initial`` are looked at, shape ``[N]``.
        initial: number of rows labelled at the start, :math:`n_0`.
        rng: draws the rows, then the probe's folds.

    Raises:
        ValueError: ``initial`` lies outside ``1..N``, or the rows drawn are of one class.
    """
    rows = check_rows(features)
    labels = check_labels(labels, len(rows))
    draw_rng, fit_rng = as_generator(rng, "first_model").spawn(2)
    drawn = draw_rng.choice(len(rows), check_budget(initial, len(rows)), replace=False)
    probe = LinearProbe.fit(rows[drawn], labels[drawn], rng=fit_rng)
    if len(probe.classes) < 2:
        raise ValueError(f"initial={initial} rows are all of class {probe.classes[0]}; take more")
    logits = (rows @ probe.weights + probe.intercept).astype(np.float64)
    probabilities = np.zeros((len(rows), labels.max() + 1))
    probabilities[:, probe.classes] = scipy.special.softmax(logits, axis=1)
    return FirstModel(drawn, probabilities, logits, np.ascontiguousarray(probe.weights.T))


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    r"""The course of training on the labelled pool, which no budget pays for.

    Attributes:
        correctness: was row i classified correctly after epoch t, shape ``[T, N]``.
        early_probabilities: those after the first epochs, shape ``[T_0, N, C]``.
    """

    correctness: NDArray[np.bool_]
    early_probabilities: NDArray[np.float32]


def training_history(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    rng: int | np.random.Generator,
    epochs: int = 20,
    early: int = 3,
) -> TrainingHistory:
    r"""Trains a linear classifier on the whole labelled pool and looks at it after every epoch.

    By Adam from zero, in batches of 64 at a rate of 1e-3, without a penalty; an epoch costs four
    products ``[N, d] x [d, C]``.

    Args:
        features: pool rows, shape ``[N, d]``, of unit scale.
        labels: classes ``0..C-1``, shape ``[N]``.
        rng: draws the order of the rows in each epoch.
        epochs: T.
        early: :math:`T_0`, at most T.
    """
    import torch
    from torch import nn

    rows = torch.from_numpy(check_rows(features).astype(np.float32))
    N = len(rows)
    targets = torch.from_numpy(check_labels(labels, N))
    epochs = check_integer(epochs, "epochs", low=2, hint="forgetting takes two epochs to see")
    early = check_integer(early, "early", low=1, high=epochs, hint=f"there are {epochs} epochs")
    rng = as_generator(rng, "training_history")
    model = nn.utils.skip_init(nn.Linear, rows.shape[1], int(targets.max()) + 1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
    correctness, first = np.empty((epochs, N), dtype=np.bool_), []
    for epoch in range(epochs):
        for part in np.array_split(rng.permutation(N), -(-N // _BATCH)):
            optimiser.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(rows[part]), targets[part]).backward()
            optimiser.step()
        with torch.no_grad():
            logits = model(rows)
        correctness[epoch] = (logits.argmax(1) == targets).numpy()
        if epoch < early:
            first.append(logits.softmax(1).numpy())
    return TrainingHistory(correctness, np.stack(first))
