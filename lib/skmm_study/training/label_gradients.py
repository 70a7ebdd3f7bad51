r"""Gradients of every sample at every label, from which any way to draw labels is arithmetic.

A per-sample gradient is linear in the residual of its label, so the C gradients of a sample hold
those at drawn, averaged and expected labels alike; a pool passes the network once, however many
draws are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray
from torch import nn

from skmm.gradients.pool import sketched_gradients
from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm.sketching.dense import GaussianSketch
from skmm_study.training.finetuning import classifier_of, pooled_inputs

_LEAST = 1e-20
"""Probabilities below this leave no digits of the gradient that was divided by their root."""


@dataclass(frozen=True, eq=False)
class LabelGradients:
    r"""Sketched gradients :math:`\tilde g_i(c)` of the last two layers, one map for all of them.

    Attributes:
        rows: of sample i at label c, shape ``[N, C, m]``.
    """

    rows: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        tail: nn.Module,
        activations: NDArray[np.floating],
        *,
        m: int,
        rng: int | np.random.Generator,
        batch: int = 128,
    ) -> LabelGradients:
        r"""Computes them as :math:`\sqrt{p_c}\,\tilde g_i(c) / \sqrt{p_c}`.

        The numerators are the rows of the exact Fisher information, see
        `skmm.sketched_gradients`.

        Args:
            tail: maps activations to logits ``[B, C]``.
            activations: of the pool, shape ``[N, ...]``.
            m: sketch size.
            rng: draws the map; no label is drawn.
            batch: samples that are backpropagated at a time.

        Raises:
            ValueError: a class is so improbable for a sample that its gradient is lost.
        """
        inputs = pooled_inputs(tail, activations)
        classifier = tail.get_submodule(classifier_of(tail, activations))
        logits = inputs @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()
        p = scipy.special.softmax(logits.astype(np.float64), axis=1)
        if p.min() < _LEAST:
            raise ValueError(
                f"tail must leave every class a probability of {_LEAST:g} or more, got "
                f"{p.min():.1g}; train it for fewer epochs, or with smoothed labels"
            )
        batches = torch.from_numpy(activations).split(batch)
        scaled = sketched_gradients(tail, batches, m=m, last=2, labels="fisher-exact", rng=rng)
        return cls((scaled / np.sqrt(p)[:, :, None]).astype(np.float32))

    def own(self, draws: int, *, rng: int | np.random.Generator) -> NDArray[np.float32]:
        r"""Returns the mean gradient over labels that every sample draws for itself, ``[N, m]``.

        .. math:: \frac1K \sum_{k=1}^K \tilde g_i(y_{ik}), \qquad y_{ik} \text{ uniform}

        One draw is what the paper's code does.
        """
        check_integer(draws, "draws", low=1, hint="1 is the paper's code")
        N, C, _ = self.rows.shape
        drawn = as_generator(rng, "own labels").integers(C, size=(N, draws))
        shares = np.zeros((N, C), dtype=np.float32)
        np.add.at(shares, (np.arange(N)[:, None], drawn), 1 / draws)
        return np.einsum("nc,ncm->nm", shares, self.rows)

    def shared(self, *, rng: int | np.random.Generator) -> NDArray[np.float32]:
        """Returns the gradients at one random label, the same for all samples, ``[N, m]``."""
        return self.rows[:, as_generator(rng, "shared label").integers(self.rows.shape[1])].copy()

    def expected(self, *, rng: int | np.random.Generator) -> NDArray[np.float32]:
        r"""Returns rows whose inner products are those of gradients, averaged over the label.

        .. math:: \mathbb E\,\langle x_i, x_j\rangle = \frac1C \sum_{c=1}^C
                  \langle \tilde g_i(c), \tilde g_j(c)\rangle

        with the same label in both: the limit of many shared draws. The C gradients side by side,
        sketched to ``m`` entries again; ``[N, m]``.
        """
        N, C, m = self.rows.shape
        sketch = GaussianSketch.draw(C * m, m, rng=as_generator(rng, "expected labels"))
        rows = sketch(self.rows.reshape(N, C * m).astype(np.float64)) / np.sqrt(C)
        return rows.astype(np.float32)
