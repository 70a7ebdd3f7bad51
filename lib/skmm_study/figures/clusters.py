"""Pictures of a mixture: the pool and a subset of it in the plane, with what each cluster gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_indices
from skmm_study.figures.methods import MethodStyle
from skmm_study.pools.synthetic import Mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POOL = "#B0B0B0"
_LOST = "#C00000"
_GAP = 3.0
"""Half the distance between neighbouring centres, in standard deviations of the widest cluster."""


def ring_layout(mixture: Mixture) -> NDArray[np.float64]:
    r"""Lays orthogonal clusters out on a ring, their scatter to one common scale.

    .. math:: p_i = \rho\,u_k + (e_i^\top \hat c_k)\,u_k + (e_i^\top \hat c_{k+1})\,u_k^\perp,
              \qquad e_i = g_i - c_k, \quad k = k(i)

    The rays :math:`u_k` are equally spaced and :math:`\rho` leaves room for the widest cluster. In
    two eigenvectors all but two or three of orthogonal clusters would fall onto the origin, and
    drawn to scale each would be a dot.

    Args:
        mixture: The pool.

    Returns:
        Positions, shape ``[N, 2]``.
    """
    K = len(mixture.centres)
    norms = np.linalg.norm(mixture.centres, axis=1)
    offsets = mixture.features @ (mixture.centres / norms[:, None]).T
    each, k = np.arange(len(offsets)), mixture.clusters
    along, across = offsets[each, k] - norms[k], offsets[each, (k + 1) % K]
    rays = _rays(K)
    normals = np.column_stack([-rays[:, 1], rays[:, 0]])
    return (_radius(mixture) + along)[:, None] * rays[k] + across[:, None] * normals[k]


def _rays(K: int) -> NDArray[np.float64]:
    angles = 2 * np.pi * (np.arange(K) + 0.5) / K
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _radius(mixture: Mixture) -> float:
    return _GAP * mixture.stds.max() / np.sin(np.pi / max(len(mixture.centres), 2))


def plot_pool(ax: Axes, mixture: Mixture, labels: Sequence[str]) -> None:
    """Draws the pool by `ring_layout` in grey, with one of ``labels`` ``[K]`` at each cluster.

    Axes lose their ticks: lengths compare between clusters but have no unit.
    """
    radius = _radius(mixture)
    ax.scatter(*ring_layout(mixture).T, s=1.5, color=_POOL, linewidth=0, rasterized=True, zorder=1)
    for ray, label in zip(_rays(len(mixture.centres)), labels, strict=True):
        lost = {"color": _LOST, "weight": "bold"} if label == "0" else {}
        ax.text(*(1.68 * radius * ray), label, ha="center", va="center", fontsize=7, **lost)
    limits = (-1.95 * radius, 1.95 * radius)
    ax.set(xlim=limits, ylim=limits, xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def plot_subset(
    ax: Axes, mixture: Mixture, indices: ArrayLike, *, style: MethodStyle
) -> NDArray[np.int64]:
    """Draws a subset over the pool, and at each cluster the number of samples that it gave.

    A cluster that gave none is marked by a red 0; see `plot_pool` for the rest.

    Args:
        ax: Axes to draw on.
        mixture: The pool.
        indices: The subset, shape ``[n]``.
        style: Colour, marker and title.

    Returns:
        The number of samples from each cluster, shape ``[K]``.
    """
    S = check_indices(indices, len(mixture.features))
    counts = np.bincount(mixture.clusters[S], minlength=len(mixture.centres))
    plot_pool(ax, mixture, [str(count) for count in counts])
    look = {"color": style.color, "marker": style.marker, "linewidth": 0.3, "edgecolor": "white"}
    ax.scatter(*ring_layout(mixture)[S].T, s=12, zorder=2, **look)
    ax.set_title(style.label)
    return counts
