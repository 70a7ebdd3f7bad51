r"""One entry for all methods: features in, a subset and the certificate of how good it is out."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import (
    check_budget,
    check_choice,
    check_indices,
    check_integer,
    check_pool,
    to_range,
)
from skmm.numerics.streams import as_generator
from skmm.selection.selectors import SELECTORS, Pool
from skmm.sketching import SKETCHES
from skmm.spectrum import Spectrum

_MOST = 0.9
"""A row with more than this share of the second moment leaves next to nothing to the others."""


@dataclass(frozen=True, eq=False)
class Certificate:
    r"""How well a subset stands for its pool, measured in the sketch.

    With :math:`P` the projector on the leading :math:`k = \min(\bar r, n)` eigenvectors of
    :math:`\tilde\Sigma_S`, the theory bounds the excess risk by a variance and a bias term.

    Attributes:
        dimension: :math:`k`, the rank of :math:`P`.
        slack: Achieved :math:`c_S`, the least with :math:`P(c_S \tilde\Sigma_S - \tilde\Sigma)P
            \succeq 0`; the variance grows with it, 1 is a perfect match.
        variance: :math:`\operatorname{tr}(\tilde\Sigma (P\tilde\Sigma_S P)^\dagger) / k`, the mean
            price of a direction; excess risk is about ``variance * k * σ² / n``.
        bias_share: :math:`\operatorname{tr}(\tilde\Sigma (I-P)) / \operatorname{tr}\tilde\Sigma`.
        least_bias_share: The same for the best projector of rank :math:`k`.
    """

    dimension: int
    slack: float
    variance: float
    bias_share: float
    least_bias_share: float


def certify(
    rows: NDArray[np.floating], spectrum: Spectrum, indices: NDArray[np.intp]
) -> Certificate:
    r"""Measures how well ``rows[indices]`` stands for all ``rows``; costs ``n m² + m³``.

    Args:
        rows: Sketched rows, shape ``[N, m]``.
        spectrum: Their spectrum.
        indices: The subset, shape ``[n]``.

    Returns:
        The certificate; slack 1 and no bias for a pool of zero rows.

    Raises:
        ValueError: ``indices`` are not distinct rows of the pool.
    """
    indices = check_indices(indices, len(rows))
    of_subset = Spectrum.of(rows[indices])
    k = of_subset.leading(min(spectrum.intrinsic_dimension, len(indices)))
    if spectrum.trace == 0.0:
        return Certificate(0, 1.0, 1.0, 0.0, 0.0)
    if k == 0:
        return Certificate(0, np.inf, np.inf, 1.0, 1.0)
    basis = of_subset.eigenvectors[:, :k]
    # In this basis the subset's moment is diagonal: whitening it leaves a symmetric eigenproblem.
    pool_factor = np.sqrt(spectrum.eigenvalues)[:, None] * (spectrum.eigenvectors.T @ basis)
    kept = float(np.sum(pool_factor**2))
    pool_factor /= np.sqrt(of_subset.eigenvalues[:k])
    ratios = scipy.linalg.svdvals(pool_factor) ** 2
    return Certificate(
        dimension=k,
        slack=float(ratios[0]),
        variance=float(ratios.mean()),
        bias_share=max(0.0, 1.0 - kept / spectrum.trace),
        least_bias_share=float(spectrum.eigenvalues[k:].sum() / spectrum.trace),
    )


@dataclass(frozen=True, eq=False)
class Selection:
    r"""A subset to label and finetune on. ``str(selection)`` is a readable certificate.

    Attributes:
        indices: Distinct samples, shape ``[n]``, in the order chosen.
        weights: Training weights, shape ``[n]``, sum 1 (all :math:`1/n`: the theory's estimator).
        method: Name of the selector.
        N: Pool size.
        m: Sketch size (``m = r``: no sketch).
        objective: Relaxed objective of the selector, ``nan`` if it has none.
        gap: Certified distance of ``objective`` from its minimum, ``nan`` if there is none.
        settings: What the selector chose where the caller did not, such as its criterion.
        certificate: How well the subset's second moment stands for the pool's.
        seconds: Wall time of the selection, sketch included, certificate not.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    method: str
    N: int
    m: int
    objective: float
    gap: float
    settings: str
    certificate: Certificate
    seconds: float

    @property
    def slack(self) -> float:
        """Achieved :math:`c_S`; see `Certificate`."""
        return self.certificate.slack

    @property
    def bias_share(self) -> float:
        r"""Trace share of :math:`\tilde\Sigma` that the subset leaves out; see `Certificate`."""
        return self.certificate.bias_share

    def __str__(self) -> str:
        c = self.certificate
        meaning = "1 is a perfect match"
        if c.slack < 1 - 1e-9:
            meaning = "below 1: longer rows than the pool's, in every direction"
        lines = [
            f"{self.method}: {len(self.indices)} of {self.N} samples in {self.seconds:.3g} s",
            f"  second moment in {self.m} dimensions, k = {c.dimension} leading directions",
            f"  slack c_S = {c.slack:.3g} ({meaning})",
            f"  variance {c.variance:.3g} x k/n per unit of noise",
            f"  bias share {c.bias_share:.2e} (least possible at rank k: {c.least_bias_share:.2e})",
        ]
        if self.settings:
            lines.insert(1, f"  {self.settings}")
        if np.isfinite(self.objective):
            lines.append(
                f"  relaxed objective {self.objective:.3g}, at most {self.gap:.1g} too high"
            )
        return "\n".join(lines)


def select(
    features: ArrayLike,
    n: int,
    *,
    method: str = "skmm",
    rng: int | np.random.Generator,
    m: int | None = None,
    sketch: str = "gaussian",
    **knobs: Any,
) -> Selection:
    r"""Chooses the ``n`` samples of a pool to label and finetune on.

    SkMM selects in the sketch :math:`\tilde G = G\,\Gamma`, which is the same for the same ``rng``
    and ``m``; the other methods look at the features. Every subset is certified in the sketch, so
    certificates of different methods compare.

    Args:
        features: :math:`G`, shape ``[N, r]``: features (linear probing) or per-sample gradients
            (finetuning); an array, tensor or sparse matrix of real numbers. Sparse rows and tensors
            on an accelerator are sketched as and where they are.
        n: Budget, in ``1..N``.
        method: One of `skmm.SELECTORS`.
        rng: Seed or generator; the same seed gives the same subset on any run.
        m: Sketch size. Unless told, ``min(r, 512)``: rows of at most 512 entries are not sketched.
            Time and memory grow as ``N m``; m should be a small multiple of the intrinsic
            dimension that the certificate tells.
        sketch: One of `skmm.SKETCHES`.
        **knobs: What the method takes beyond this; an unknown one is an error that lists them.

    Returns:
        The subset and its certificate. For a subset of your own, get the sketch's rows and their
        spectrum by `skmm.selection_view` and pass them to `certify`.

    Raises:
        ValueError: an argument is out of its range; the message names it and says what to do.

    Warns:
        UserWarning: one row holds most of the pool's second moment, and so decides the subset.

    References:
        Sketchy Moment Matching (Dong et al., 2024), https://arxiv.org/abs/2407.06120
    """
    check_choice(method, "method", SELECTORS)
    chosen = SELECTORS[method]
    if unknown := sorted(knobs.keys() - set(chosen.knobs)):
        raise ValueError(
            f"method {method!r} takes no {', '.join(unknown)}; "
            f"it takes {', '.join(chosen.knobs) or 'no further knobs'}"
        )
    pool, method_rng = _pool(features, m, sketch, rng)
    n = check_budget(n, pool.N)
    begin = time.perf_counter()
    choice = chosen.choose(pool, n, rng=method_rng, **knobs)
    seconds = time.perf_counter() - begin
    _warn_of_one_row(pool)
    return Selection(
        indices=choice.indices,
        weights=np.full(n, 1.0 / n),
        method=method,
        N=pool.N,
        m=pool.m,
        objective=choice.objective,
        gap=choice.gap,
        settings=choice.settings,
        certificate=certify(pool.sketched, pool.spectrum, choice.indices),
        seconds=seconds,
    )


def selection_view(
    features: ArrayLike,
    m: int | None,
    rng: int | np.random.Generator,
    *,
    sketch: str = "gaussian",
) -> tuple[NDArray[np.floating], Spectrum]:
    r"""Returns what `select` sees under the same arguments, for a subset of your own.

    ``certify(*selection_view(features, m, seed), indices)`` is its certificate, comparable with
    those of selections under that seed.

    Args:
        features: :math:`G`, shape ``[N, r]``, as for `select`.
        m: Sketch size, as for `select`.
        rng: The seed that was given to `select`.
        sketch: One of `skmm.SKETCHES`.

    Returns:
        Sketched rows, shape ``[N, m]``, and their spectrum.

    Raises:
        ValueError: an argument is out of its range.
    """
    pool, _ = _pool(features, m, sketch, rng)
    return pool.sketched, pool.spectrum


def _pool(
    features: ArrayLike, m: int | None, sketch: str, rng: int | np.random.Generator
) -> tuple[Pool, np.random.Generator]:
    """Checks the arguments; returns the pool with its own generator, and one for the method."""
    check_choice(sketch, "sketch", SKETCHES)
    rng = as_generator(rng, "select")
    features = to_range(check_pool(features))
    r = features.shape[1]
    m = min(r, 512) if m is None else m
    check_integer(m, "m", low=1, high=r, hint=f"the features have r={r} columns")
    sketch_rng, method_rng = rng.spawn(2)
    return Pool(features, m, sketch, sketch_rng), method_rng


def _warn_of_one_row(pool: Pool) -> None:
    """Warns if a single row, corrupt or in another unit, leaves little for all others to match."""
    energies = np.einsum("ij,ij->i", pool.sketched, pool.sketched, dtype=np.float64)
    longest = int(energies.argmax())
    if pool.N > 2 and energies[longest] > _MOST * energies.sum():
        share = energies[longest] / energies.sum()
        warnings.warn(
            f"row {longest} alone holds {share:.4g} of the pool's second moment: the subset is "
            "matched to little else; repair or drop this row, or divide rows by their norms",
            stacklevel=3,
        )
