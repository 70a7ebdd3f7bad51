"""What a subset is chosen and judged by: the pool's rows in one sketch, and their spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_choice, check_indices, check_integer, check_pool
from skmm.numerics.range import to_range
from skmm.numerics.stored import StoredRows
from skmm.numerics.streams import as_generator
from skmm.selection.selectors.base import Pool
from skmm.sketching import SKETCHES
from skmm.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class PoolView:
    r"""A pool's rows in one sketch, and the spectrum of their second moment.

    .. math:: \tilde G = G\,\Gamma, \qquad \tilde\Sigma = \tilde G^\top\tilde G/N

    A `Selection` holds the view that it was chosen in: certificates of other subsets in the same
    view compare with its own, whatever its ``rng`` has been used for since.

    Attributes:
        rows: :math:`\tilde G`, shape ``[N, m]``; of a pool out of core as `StoredRows`, which are
            read when indexed.
        spectrum: Eigenpairs of :math:`\tilde\Sigma`.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> features = np.random.default_rng(0).standard_normal((300, 40))
        >>> view = skmm.PoolView.of(features, m=20, rng=0)
        >>> view.rows.shape, view.spectrum.intrinsic_dimension
        ((300, 20), 20)
    """

    rows: NDArray[np.floating] | StoredRows
    spectrum: Spectrum

    @classmethod
    def of(
        cls,
        features: ArrayLike,
        *,
        m: int | None = None,
        rng: int | np.random.Generator,
        sketch: str = "gaussian",
    ) -> PoolView:
        """Looks at a pool as `select` does under the same arguments.

        Args:
            features: :math:`G`, shape ``[N, r]``, as for `select`.
            m: Sketch size, as for `select`.
            rng: The seed of the selection that this view is to be compared with.
            sketch: One of `skmm.SKETCHES`.

        Raises:
            ValueError: an argument is out of its range.
        """
        pool, _ = look_at(features, m, sketch, rng)
        return cls(pool.sketched, pool.spectrum)


def look_at(
    features: ArrayLike,
    m: int | None,
    sketch: str,
    rng: int | np.random.Generator,
    keep: ArrayLike | None = None,
) -> tuple[Pool, np.random.Generator]:
    """Checks the arguments; returns the pool with its own generator, and one for the method."""
    check_choice(sketch, "sketch", SKETCHES)
    rng = as_generator(rng, "select")
    features = to_range(check_pool(features))
    r = features.shape[1]
    m = min(r, 512) if m is None else m
    check_integer(m, "m", low=1, high=r, hint=f"the features have r={r} columns")
    kept = np.zeros(0, dtype=np.intp)
    if keep is not None and np.size(keep) > 0:
        kept = np.sort(check_indices(keep, features.shape[0], "keep"))
    sketch_rng, method_rng = rng.spawn(2)
    return Pool(features, m, sketch, sketch_rng, kept), method_rng
