r"""Do certificates order subsets as their excess risk does? Clusters are left out to find out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import (
    check_choice,
    check_integer,
    check_labels,
    check_positive,
    check_rows,
)
from skmm.numerics.streams import as_generator
from skmm.selection.certificate import certify
from skmm.selection.select import select
from skmm.selection.selectors import SELECTORS
from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum
from skmm.training.risk import RidgeRisk

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_TOLD = ("slack", "variance", "bias_share")
"""Figures of a certificate that go into the table."""

_AROUND = 10.0 ** np.linspace(-1, 1, 5)
"""Penalties that are tried for each ratio, in units of the one that suits an isotropic θ*."""


def certificate_trials(
    features: ArrayLike,
    clusters: ArrayLike,
    n: int,
    *,
    methods: Iterable[str],
    seeds: Iterable[int],
    ratios: Iterable[float],
    rng: int | np.random.Generator,
    dropped: Iterable[int] = (0, 1, 2, 3),
    m: int | None = None,
) -> pd.DataFrame:
    r"""Selects from a pool with and without some of its clusters, certifies and measures.

    A method selects from the whole pool and, under the same seed, from what is left without one
    cluster, without two and so on. Certificate and risk are of the whole pool every time, and
    labels are

    .. math:: y = G V_{\bar r}\vartheta + z, \qquad
              \mathbb E\,\vartheta\vartheta^\top = \tau^2 I, \qquad
              \tau^2 \sum_{j \le \bar r}\lambda_j = \varrho\,\sigma^2, \qquad \sigma^2 = 1

    with the pool's leading eigenvectors :math:`V_{\bar r}`, features not sketched, and a signal of
    :math:`\varrho` times the noise. The excess risk is in closed form, once in the mean over
    :math:`\vartheta` and once for one that is drawn, at the best of a few penalties about
    :math:`\sigma^2/(n\tau^2)`, which is best where all directions lead. Takes
    :math:`O(N n \bar r)` a subset beside the selection.

    Args:
        features: :math:`G`, shape ``[N, r]``.
        clusters: The cluster of each sample, a whole number, shape ``[N]``.
        n: Size of the subsets.
        methods: Selectors that need nothing but features.
        seeds: The ``rng`` of `skmm.select`, and of the sketch that certifies.
        ratios: The :math:`\varrho`.
        rng: Draws the one :math:`\vartheta` and, for every seed, the order in which clusters go.
        dropped: How many clusters to leave out.
        m: Sketch size, as for `skmm.select`.

    Returns:
        One row a subset and ratio: ``method``, ``seed``, ``dropped``, ``lost`` (clusters of which
        the subset has no sample), ``ratio``, ``risk`` (mean), ``one_risk``, ``bound`` (see
        `skmm.Certificate.risk_bound`, with :math:`\tau`), and ``slack``, ``variance`` and
        ``bias_share`` of the certificate.

    Raises:
        ValueError: an unknown selector, a ratio that is not positive, or so many clusters to drop
            that there may be fewer than ``n`` samples left.
    """
    import pandas as pd

    G = check_rows(features).astype(np.float64, copy=False)
    clusters = check_labels(clusters, len(G), "clusters")
    names, sizes = np.unique(clusters, return_counts=True)
    methods = [check_choice(method, "method", SELECTORS) for method in methods]
    hint = f"there are {len(names)} clusters"
    dropped = [
        check_integer(count, "dropped", low=0, high=len(names) - 1, hint=hint) for count in dropped
    ]
    left = int(np.sort(sizes)[: len(names) - max(dropped)].sum())
    hint = f"without the {max(dropped)} largest clusters there are no more"
    n = check_integer(n, "n", low=1, high=left, hint=hint)
    theta_rng, order_rng = as_generator(rng, "certificate_trials").spawn(2)
    truth = _Truth.of(G, ratios, rng=theta_rng)
    found = []
    for seed in seeds:
        view, order = PoolView.of(G, m=m, rng=seed), order_rng.permutation(names)
        for method, count in itertools.product(methods, dropped):
            part = np.flatnonzero(~np.isin(clusters, order[:count]))
            S = part[select(G[part], n, method=method, rng=seed, m=m).indices]
            subset = {"method": method, "seed": seed, "dropped": count}
            subset["lost"] = len(names) - len(np.unique(clusters[S]))
            certificate = certify(view, S)
            told = {name: getattr(certificate, name) for name in _TOLD}
            for tau, measured in truth.risks(S):
                bound = certificate.risk_bound(noise_variance=1.0, theta_norm=tau)
                found.append(subset | measured | {"bound": bound} | told)
    return pd.DataFrame(found)


@dataclass(frozen=True, eq=False)
class _Truth:
    r"""The pool's own risk, with noise of variance 1.

    Attributes:
        pool: The risk of any subset.
        directions: Signals :math:`GV_{\bar r}`, over τ, whose risks add up to the mean one.
        one: The signal of one draw, of the same energy as all of them together.
        taus: The τ of each ratio.
    """

    pool: RidgeRisk
    directions: Array
    one: Array
    taus: dict[float, float]

    @classmethod
    def of(cls, G: Array, ratios: Iterable[float], *, rng: np.random.Generator) -> _Truth:
        spectrum = Spectrum.of(G)
        k = spectrum.leading()
        energy = float(spectrum.eigenvalues[:k].sum())
        hint = "it is the signal's variance over the noise's"
        ratios = [check_positive(ratio, "ratio", hint=hint) for ratio in ratios]
        directions = G @ spectrum.eigenvectors[:, :k]
        one = directions @ rng.standard_normal(k)
        one *= np.sqrt(energy / np.mean(one**2))
        taus = {ratio: float(np.sqrt(ratio / energy)) for ratio in ratios}
        return cls(RidgeRisk.of(G), directions, one, taus)

    def risks(self, indices: NDArray[np.intp]) -> Iterator[tuple[float, dict[str, float]]]:
        """Yields each τ and what is measured: variance is the same for all, bias grows as τ²."""
        seen = self.pool.on(indices)
        best = [1.0 / (len(indices) * tau**2) for tau in self.taus.values()]
        tried = {"noise_variance": 1.0, "alphas": np.outer(best, _AROUND).ravel()}
        mean = seen.excess_risk(self.directions, **tried)
        one = seen.excess_risk(self.one, **tried)
        for ratio, tau in self.taus.items():
            least = {
                "risk": float((mean.variance + tau**2 * mean.bias).min()),
                "one_risk": float((one.variance + tau**2 * one.bias).min()),
            }
            yield tau, {"ratio": ratio} | least
