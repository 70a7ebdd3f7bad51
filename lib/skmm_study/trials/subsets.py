"""The subsets of a study, with the training weights of those whose method gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm_study.storage.keys import array_digest, digest


@dataclass(frozen=True, eq=False)
class WeightedSubset:
    """A subset whose method gives it training weights; an array of its indices to all else.

    Attributes:
        indices: the subset, shape ``[n]``.
        weights: shape ``[n]``, sum 1, in the order of ``indices``.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(self.indices, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.indices)


Subset = NDArray[np.intp] | WeightedSubset
Subsets = Mapping[tuple[str, int, int], Subset]


def in_order(subset: Subset) -> tuple[NDArray[np.intp], NDArray[np.float64] | None]:
    """Returns a subset in the pool's order, and its training weights if it has any."""
    if not isinstance(subset, WeightedSubset):
        return np.sort(subset), None
    order = np.argsort(subset.indices)
    return subset.indices[order], subset.weights[order]


def subset_digest(subset: Subset) -> str:
    """Digest of a subset and its weights, the same in whatever order it was chosen."""
    indices, weights = in_order(subset)
    of_indices = array_digest(indices)
    return of_indices if weights is None else digest([of_indices, array_digest(weights)])
