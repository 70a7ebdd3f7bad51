r"""What selecting ``n`` of ``N`` rows of ``m`` numbers costs, from the store on.

========  ==========================  ================  ==================
stage     operations                  bytes moved       bytes held
========  ==========================  ================  ==================
store     none                        ``N (4 m + 8)``   a shard
spectrum  ``N m² + 9 m³``             ``4 N m``         ``24 m²``, a block
matching  ``2 N m² + 4 n m²`` a pass  ``4 N m`` a pass  ``24 m²``, a block
coverage  ``C² (m + 16)``             ``8 C²``          ``4 C² + 8 C m``
exchange  ``2 n m (C + 2 s²)``        ``8 n C``         ``16 s m``
========  ==========================  ================  ==================

Rows are ``float32``. Products of a matrix with its own transpose are counted by half; matching
makes one pass for so many swaps as a shortlist of ``s`` holds; coverage and the exchange look at
``C`` candidates, :math:`\\min(N, \\max(11585, 2n))`.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHORTLIST = 128
_CANDIDATES = 11_585
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
    """Returns the stages after the gradients: store, spectrum, matching, coverage, exchange.

    Args:
        N: Pool size.
        n: Budget.
        m: Sketch size.
    """
    C, s = min(N, max(_CANDIDATES, 2 * n)), _SHORTLIST
    rows, moments = 4.0 * N * m, 24.0 * m**2
    block = min(2.0 * rows, float(_BLOCK))
    passes = -(-2 * n // s)
    return [
        Stage("store", 0.0, stored_bytes(N, m), min(rows, float(_BLOCK))),
        Stage("spectrum", N * m**2 + 9.0 * m**3, rows, moments + block),
        Stage("matching", passes * (2.0 * N + 4.0 * n) * m**2, passes * rows, moments + block),
        Stage("coverage", C**2 * (m + 16.0), 8.0 * C**2, 4.0 * C**2 + 8.0 * C * m),
        Stage("exchange", 2.0 * n * (C + 2.0 * s**2) * m, 8.0 * n * C, 16.0 * s * m),
    ]


def stored_bytes(N: int, m: int) -> float:
    """Returns the bytes of a store: ``float32`` rows and an ``int64`` id each."""
    return float(N) * (4 * m + 8)
