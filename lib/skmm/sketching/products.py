"""Sums of outer products: whether to form them before they are sketched, or never."""

from __future__ import annotations

import math


def worth_forming(d: int, e: int, P: int, m: int) -> bool:
    r"""Whether the sum of ``P`` outer products ``[d, e]`` is formed before it is folded.

    Where it is no larger than its factors it costs no memory, and no more time while

    .. math:: d\,e \le 128\,(d + e) + 64\,m \log_2 m,

    the multiplications that a product of matrices does while a position is folded and transformed
    (the constants are those of one CPU core; a transform waits for memory). Wider layers are never
    formed, however many positions they have.

    Args:
        d: Rows of the parameter.
        e: Its columns.
        P: Positions that are summed over.
        m: Sketch size.
    """
    return d * e <= min((d + e) * P, 128 * (d + e) + 64 * m * math.log2(max(m, 2)))
