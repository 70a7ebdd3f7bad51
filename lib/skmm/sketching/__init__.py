r"""Johnson-Lindenstrauss maps: one draw, shared by all rows of the pool.

Every map is linear, :math:`\tilde G = G\,\Gamma` with :math:`\Gamma` of shape ``[r, m]``, and
unbiased, :math:`\mathbb E\,\|x\Gamma\|^2 = \|x\|^2`; rows sketched by different draws are not
comparable. What they cost for ``N`` rows:

=================  =======================  ======================  ======================
map                time                     memory of the map       draw
=================  =======================  ======================  ======================
GaussianSketch     ``N r m`` (BLAS)         ``8 r m`` bytes         ``r m`` normals
RademacherSketch   ``N r m`` (BLAS)         ``r m`` bytes           ``r m`` signs
SparseSignSketch   ``N r`` + ``N R`` x s    ``r`` + ``5 R s / L``   ``r`` + ``2 R s / L``
SRHT               ``N r`` x 2 sqrt(m)      ``r`` sqrt(m) bytes     ``r`` signs
=================  =======================  ======================  ======================

with ``s`` nonzeros (8) for ``L`` neighbours together, at most 16, and ``R = r``, or of long rows
about the larger of 32,768 and ``128 m``.

Example:
    >>> import numpy as np
    >>> import skmm
    >>> sorted(skmm.SKETCHES)
    ['gaussian', 'rademacher', 'sparse-sign', 'srht']
    >>> skmm.SKETCHES["srht"].draw(50, 8, rng=0)(np.ones((6, 50))).shape
    (6, 8)

References:
    Sketchy Moment Matching (Dong et al., 2024), https://arxiv.org/abs/2407.06120
"""

from skmm.sketching.base import Sketch
from skmm.sketching.dense import GaussianSketch, RademacherSketch
from skmm.sketching.hadamard import SRHT
from skmm.sketching.sparse_sign import SparseSignSketch

SKETCHES: dict[str, type[Sketch]] = {
    "gaussian": GaussianSketch,
    "rademacher": RademacherSketch,
    "sparse-sign": SparseSignSketch,
    "srht": SRHT,
}
"""The maps by the name that `select` takes."""

__all__ = [
    "SKETCHES",
    "SRHT",
    "GaussianSketch",
    "RademacherSketch",
    "Sketch",
    "SparseSignSketch",
]
