r"""One entry for all methods: features in, a subset and the certificate of how good it is out."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_budget, check_choice, check_integer
from skmm.numerics.stored import scan
from skmm.numerics.threads import one_thread
from skmm.selection.certificate import Certificate, certify
from skmm.selection.selectors import SELECTORS
from skmm.selection.selectors.base import Pool, Selector
from skmm.selection.view import PoolView, look_at

_MOST = 0.9
"""A row with more than this share of the second moment leaves next to nothing to the others."""


@dataclass(frozen=True, eq=False)
class Selection:
    r"""A subset to label and finetune on. ``str(selection)`` is a readable certificate.

    Attributes:
        indices: Distinct samples, shape ``[n]``, in the order chosen: those to label now.
        weights: Training weights, shape ``[n]``, sum 1, in the order of ``indices``: all
            :math:`1/n`, the theory's estimator, unless the method has its own.
        kept: Samples that were labelled before, ascending, shape ``[k]``; empty in a first round.
        method: Name of the selector.
        settings: What the selector chose where the caller did not, such as its criterion.
        objective: What the method lowered, at `labelled`; ``nan`` if it lowers nothing.
        lower_bound: Proven: no subset of this size has a smaller objective; ``nan`` if nothing is.
        certificate: How well the second moment of `labelled` stands for the pool's.
        view: The pool as the method saw it; ``certify(selection.view, others)`` judges other
            subsets by the same yardstick.
        seconds: Wall time of the selection, sketch included, certificate not.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> features = np.random.default_rng(0).standard_normal((300, 8))
        >>> selection = skmm.select(features, 40, rng=0)
        >>> isinstance(selection, skmm.Selection)
        True
        >>> print(selection)  # doctest: +ELLIPSIS
        skmm: 40 of 300 samples in ... s
          criterion balanced, metric row, weight of the fourth moment 1.33
          second moment in 8 dimensions, of intrinsic dimension 8
          slack c_S = 1... (1 is a perfect match)
          variance ... x k/n per unit of noise
          bias share 0.00e+00 (least possible: 0.00e+00)
          objective ...
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    kept: NDArray[np.intp]
    method: str
    settings: str
    objective: float
    lower_bound: float
    certificate: Certificate
    view: PoolView
    seconds: float

    @property
    def N(self) -> int:
        """Pool size."""
        return len(self.view.rows)

    @property
    def labelled(self) -> NDArray[np.intp]:
        """All that is labelled after this round, ``kept`` before ``indices``: ``[k + n]``."""
        return np.concatenate([self.kept, self.indices])

    @property
    def m(self) -> int:
        """Sketch size; ``m = r``: no sketch."""
        return self.view.rows.shape[1]

    def __str__(self) -> str:
        r_bar = self.view.spectrum.intrinsic_dimension
        beside = f" beside {len(self.kept)} kept" if len(self.kept) else ""
        lines = [
            f"{self.method}: {len(self.indices)} of {self.N} samples{beside} "
            f"in {self.seconds:.3g} s",
            f"  {self.settings}",
            f"  second moment in {self.m} dimensions, of intrinsic dimension {r_bar}",
            str(self.certificate),
        ]
        if np.isfinite(self.lower_bound):
            excess = 100 * (self.objective / self.lower_bound - 1)
            proven = f"no subset lowers it by more than {excess:.2g} %"
            lines.append(f"  objective {self.objective:.3g}: {proven}")
        elif np.isfinite(self.objective):
            lines.append(f"  objective {self.objective:.3g}")
        return "\n".join(line for line in lines if line.strip())


def select(
    features: ArrayLike,
    n: int,
    *,
    method: str = "skmm",
    rng: int | np.random.Generator,
    m: int | None = None,
    sketch: str = "gaussian",
    keep: ArrayLike | None = None,
    **knobs: Any,
) -> Selection:
    r"""Chooses the ``n`` samples of a pool to label and finetune on.

    SkMM selects in the sketch :math:`\tilde G = G\,\Gamma`, which is the same for the same ``rng``
    and ``m``; the other methods look at the features. Every subset is certified in the sketch, so
    certificates of different methods compare.

    Args:
        features: :math:`G`, shape ``[N, r]``: features (linear probing) or per-sample gradients
            (finetuning); an array, tensor or sparse matrix of real numbers. Sparse rows and tensors
            on an accelerator are sketched as and where they are. A memory map, or any object that
            has ``shape``, ``ndim``, ``dtype``, rows by slice and by an array of indices, and is no
            array, stays where it is: ``method="skmm"`` reads it by blocks, in single precision if
            it is of single or half, and the other methods read all of it into memory.
        n: Budget, in ``1..N``, or ``1..N - k`` beside ``k`` samples kept.
        method: One of `skmm.SELECTORS`.
        rng: Seed or generator; the same seed gives the same subset on any run, for any number of
            threads and any processor. A seed is ``skmm.as_generator(seed, "select")``.
        m: Sketch size. Unless told, ``min(r, 512)``: rows of at most 512 entries are not sketched.
            Time and memory grow as ``N m``; m should be a small multiple of the intrinsic
            dimension that the certificate tells.
        sketch: One of `skmm.SKETCHES`.
        keep: Samples that are labelled already, shape ``[k]``, in any order. They count as part of
            the subset, so that the new ones complement them, and none of them is chosen again:
            ``keep=selection.labelled`` is the next round. With none, or ``None``, a first round.
        **knobs: What the method takes beyond this; an unknown one is an error that lists them.

    Returns:
        The ``n`` new samples, the certificate of all that is labelled then, and the view of the
        pool that both were made in.

    Raises:
        ValueError: an argument is out of its range, or ``keep`` is given to one of the methods that
            are defined for whole subsets alone; the message names it and says what to do.

    Warns:
        UserWarning: one row holds most of the pool's second moment, and so decides the subset.
        ConvergenceWarning: an iteration of the method reached its limit of steps.

    References:
        Sketchy Moment Matching (Dong et al., 2024), https://arxiv.org/abs/2407.06120

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> features = np.random.default_rng(0).standard_normal((300, 8))
        >>> skmm.select(features, 40, rng=0).indices.shape
        (40,)
        >>> skmm.select(features, 40, method="leverage", rank=3, rng=0).certificate.dimension
        8
        >>> first = skmm.select(features, 40, rng=0)
        >>> second = skmm.select(features, 20, rng=0, keep=first.indices)  # the next round
        >>> len(second.indices), len(second.labelled), second.certificate.n
        (20, 60, 60)
    """
    check_choice(method, "method", SELECTORS)
    chosen = SELECTORS[method]
    if unknown := sorted(knobs.keys() - set(chosen.knobs)):
        raise ValueError(
            f"method {method!r} takes no {', '.join(unknown)}; "
            f"it takes {', '.join(chosen.knobs) or 'no further knobs'}"
        )
    pool, method_rng = look_at(features, m, sketch, rng, keep)
    _check_kept(pool, chosen)
    n = _check_budget(n, pool)
    with one_thread():
        begin = time.perf_counter()
        choice = chosen.choose(pool, n, rng=method_rng, **knobs)
        seconds = time.perf_counter() - begin
        view = PoolView(pool.sketched, pool.spectrum)
        certificate = certify(view, np.concatenate([pool.kept, choice.indices]))
    _warn_of_one_row(pool)
    return Selection(
        indices=choice.indices,
        weights=np.full(n, 1.0 / n) if choice.weights is None else choice.weights,
        kept=pool.kept,
        method=method,
        settings=choice.settings,
        objective=choice.objective,
        lower_bound=choice.lower_bound,
        certificate=certificate,
        view=view,
        seconds=seconds,
    )


def _check_kept(pool: Pool, chosen: Selector) -> None:
    if len(pool.kept) and not chosen.keeps:
        able = [one.name for one in SELECTORS.values() if one.keeps and not one.needs]
        raise ValueError(
            f"keep must be left out with method {chosen.name!r}, which is defined for whole "
            f"subsets alone, got {len(pool.kept)} samples; choose another method "
            f"({', '.join(able)}), or drop these rows from the pool if they need not count"
        )


def _check_budget(n: Any, pool: Pool) -> int:
    if len(pool.kept) == 0:
        return check_budget(n, pool.N)
    left = pool.N - len(pool.kept)
    hint = f"keep holds {len(pool.kept)} of the pool's N={pool.N} samples, {left} are left"
    return check_integer(n, "n", low=1, high=left, hint=hint)


def _warn_of_one_row(pool: Pool) -> None:
    """Warns if a single row, corrupt or in another unit, leaves little for all others to match."""
    squares = (np.einsum("ij,ij->i", x, x, dtype=np.float64) for _, x in scan(pool.sketched))
    energies = np.concatenate(list(squares))
    longest = int(energies.argmax())
    if pool.N > 2 and energies[longest] > _MOST * energies.sum():
        share = energies[longest] / energies.sum()
        warnings.warn(
            f"row {longest} alone holds {share:.4g} of the pool's second moment: the subset is "
            "matched to little else; repair or drop this row, or divide rows by their norms",
            stacklevel=3,
        )
