"""Selection as scikit-learn has it: an estimator that is fitted to a pool and holds the subset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.extras import extra
from skmm.numerics.inputs import check_integer
from skmm.selection.select import Selection, select

with extra("sklearn", needed_by="skmm.SubsetSelector"):
    from sklearn.base import BaseEstimator
    from sklearn.utils import Tags, _safe_indexing, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data


class SubsetSelector(BaseEstimator):
    """Chooses the samples of a pool to label, as a scikit-learn estimator.

    `skmm.select` behind ``fit``: parameters can be set, cloned and searched over, and tables keep
    their names. There is no ``transform``, for a step of a pipeline must not drop rows; index what
    you have with ``selected_idx_``, or let a pipeline of imbalanced-learn call `fit_resample`.

    Args:
        n: Budget: a number of samples, or a share of the pool in (0, 1).
        method: One of `skmm.SELECTORS`.
        m: Sketch size, as for `skmm.select`.
        sketch: One of `skmm.SKETCHES`.
        knobs: What the method takes beyond this, by name, such as ``{"metric": "raw"}``, or the
            signals that it needs.
        random_state: A seed, for the same subset at every call of ``fit``, or a generator.

    Attributes:
        selected_idx_: Positions of the samples to label, shape ``[n]``, in the order chosen.
        selected_ids_: What the rows of a table with an index, as of pandas, are called there; the
            positions where there is none, shape ``[n]``.
        support_: Which samples these are, boolean, shape ``[N]``.
        weights_: Their training weights, shape ``[n]``, sum 1, in the order of ``selected_idx_``.
        selection_: The whole `skmm.Selection`, with its certificate.
        n_features_in_: Number of features r.
        feature_names_in_: Names of the features, shape ``[r]``, if the pool has names, all text.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> X = np.random.default_rng(0).standard_normal((300, 8))
        >>> selector = skmm.SubsetSelector(n=40).fit(X)
        >>> X[selector.selected_idx_].shape
        (40, 8)
        >>> more = skmm.SubsetSelector(n=20).fit(X, keep=selector.selected_idx_)  # the next round
        >>> bool((selector.support_ & more.support_).any())
        False
    """

    def __init__(
        self,
        n: int | float = 0.5,
        *,
        method: str = "skmm",
        m: int | None = None,
        sketch: str = "gaussian",
        knobs: Mapping[str, Any] | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    ):
        self.n = n
        self.method = method
        self.m = m
        self.sketch = sketch
        self.knobs = knobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, keep: ArrayLike | None = None) -> Self:
        """Chooses the samples.

        Args:
            X: The pool, shape ``[N, r]``: an array, a sparse matrix, a table of numbers.
            y: Not looked at: the pool has no labels yet.
            keep: Positions of samples that are labelled already, as for `skmm.select`.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter is out of its range, or X holds no pool.
        """
        ids = getattr(X, "index", None)
        rows = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32))
        N = rows.shape[0]
        rng = self.random_state
        if rng is None or isinstance(rng, np.random.RandomState):
            rng = int(check_random_state(rng).randint(1 << 31))
        selection = select(
            rows,
            _budget(self.n, N),
            method=self.method,
            rng=rng,
            m=self.m,
            sketch=self.sketch,
            keep=keep,
            **(self.knobs or {}),
        )
        self.selection_: Selection = selection
        self.selected_idx_: NDArray[np.intp] = selection.indices
        named = hasattr(ids, "take") and np.shape(ids) == (N,)
        self.selected_ids_ = ids.take(selection.indices) if named else selection.indices
        self.weights_: NDArray[np.float64] = selection.weights
        self.support_: NDArray[np.bool_] = np.isin(np.arange(N), selection.indices)
        return self

    def get_support(self, indices: bool = False) -> NDArray[np.bool_] | NDArray[np.intp]:
        """Returns which samples were chosen: ``support_``, or with ``indices`` their positions.

        Positions are ascending, as those of scikit-learn's selectors of features; in the order
        chosen they are ``selected_idx_``.
        """
        check_is_fitted(self)
        return np.flatnonzero(self.support_) if indices else self.support_

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Fits, and returns what was chosen of X and y: a sampler of imbalanced-learn.

        Args:
            X: The pool, shape ``[N, r]``.
            y: What goes with its rows, shape ``[N]``; handed on, not looked at.

        Returns:
            The rows of both, in the order chosen, of the types that they were given in.
        """
        self.fit(X)
        chosen = self.selected_idx_
        return _safe_indexing(X, chosen), _safe_indexing(y, chosen)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _budget(n: Any, N: int) -> int:
    """Returns the budget of a number of samples or of a share of N."""
    if isinstance(n, float | np.floating):
        if not 0.0 < n < 1.0:
            raise ValueError(
                f"n must be a share in (0, 1) or a whole number of samples, got n={n!r}; "
                f"the pool has N={N} samples"
            )
        return max(1, round(float(n) * N))
    return check_integer(n, "n", low=1, high=N, hint=f"the pool has N={N} samples to choose from")
