r"""What selecting ``n`` of ``N`` rows of ``m`` numbers costs, from the store on.

========  =======================  ===============  ====================
stage     operations               bytes moved      bytes held
========  =======================  ===============  ====================
store     none                     ``N (4 m + 8)``  a shard
spectrum  ``N m² + 9 m³``          ``4 N m``        ``24 m²``, a block
matching  ``2 R (R/S) m + 6 R S``  ``4 R m``        ``8 R/S m``, a block
coverage  ``R S (m + 16)``         ``8 R S``        ``4 S² + 8 S m``
mending   ``R S (3 m + 16)``       ``8 R S``        ``4 S² + 16 S m``
exchange  ``2 n m (S + 2 s²)``     ``8 n S``        ``16 s m``
========  =======================  ===============  ====================

Rows are ``float32``. Of a pool of more than 11,585 rows, ``R`` of them, 300 a sample at least, are
cut into cells of ``S`` rows by ``R/S`` centres, chosen from cell by cell, and mended; a smaller
pool is one cell. Products of a matrix with its own transpose are counted by half; the moments of a
cell take the products that coverage makes. An exchange makes two swaps a sample, from shortlists of
``s``.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHORTLIST = 128
_WHOLE = 11_585
"""Rows that are all compared with each other."""

_CELL, _PAIRS, _SEEN = (2_500, 5_000), 10**8, 300
"""Rows of a cell, of which the pool's pairs within cells are so many; rows seen for a sample."""

_BLOCK = 1 << 27
"""Bytes of rows that are converted to double precision at a time."""


@dataclass(frozen=True)
class Stage:
    """What one stage takes, for the whole pool.

    Attributes:
        name: Of the stage.
        flops: Operations, a multiplication and an addition counted as two.
        bytes: Bytes read and written.
        memory: Bytes held at the peak.
    """

    name: str
    flops: float
    bytes: float
    memory: float


def selection_stages(N: int, n: int, m: int) -> list[Stage]:
    """Returns the stages after the gradients: from the store to the mending of cells, if there are.

    Args:
        N: Pool size.
        n: Budget.
        m: Sketch size.
    """
    R, s = min(N, max(_WHOLE, _SEEN * n)), _SHORTLIST
    S = min(max(_PAIRS // R, _CELL[0]), _CELL[1]) if R > _WHOLE else R
    centres = R / S if R > _WHOLE else 0.0
    rows, moments = 4.0 * N * m, 24.0 * m**2
    block = min(2.0 * rows, float(_BLOCK))
    matching = 2.0 * R * centres * m + 6.0 * R * S
    stages = [
        Stage("store", 0.0, stored_bytes(N, m), min(rows, float(_BLOCK))),
        Stage("spectrum", N * m**2 + 9.0 * m**3, rows, moments + block),
        Stage("matching", matching, 4.0 * R * m, 8.0 * centres * m + block),
        Stage("coverage", R * S * (m + 16.0), 8.0 * R * S, 4.0 * S**2 + 8.0 * S * m),
        Stage("exchange", 2.0 * n * (S + 2.0 * s**2) * m, 8.0 * n * S, 16.0 * s * m),
    ]
    if centres:
        similar = R * S * (3.0 * m + 16.0)
        stages.append(Stage("mending", similar, 8.0 * R * S, 4.0 * S**2 + 16.0 * S * m))
    return stages


def stored_bytes(N: int, m: int) -> float:
    """Returns the bytes of a store: ``float32`` rows and an ``int64`` id each."""
    return float(N) * (4 * m + 8)
