"""Which samples each shard has: fixed by the pool, never by who does the work."""

from __future__ import annotations

from dataclasses import dataclass

from skmm.numerics.inputs import check_integer


@dataclass(frozen=True)
class Layout:
    """A pool of ``N`` samples cut into shards of equal size, but for the last.

    Attributes:
        N: Pool size.
        rows_per_shard: Samples of a shard.

    Example:
        >>> layout = Layout(10, rows_per_shard=4)
        >>> len(layout), layout.samples(2)
        (3, range(8, 10))
        >>> list(layout.share(1, 2)), list(layout.share(2, 2))
        ([0, 2], [1])
    """

    N: int
    rows_per_shard: int

    def __post_init__(self):
        check_integer(self.N, "N", low=1, hint="a pool has at least one sample")
        hint = "65536 rows of 512 single-precision numbers are 134 MB"
        check_integer(self.rows_per_shard, "rows_per_shard", low=1, hint=hint)

    def __len__(self) -> int:
        """Number of shards."""
        return -(-self.N // self.rows_per_shard)

    def samples(self, number: int) -> range:
        """Returns the samples of shard ``number``, which counts from 0."""
        start = number * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.N))

    def share(self, i: int, K: int) -> range:
        """Returns the shards of the ``i``-th of ``K`` shares, which counts from 1.

        Every ``K``-th shard, so that shares of the work are equal up to one shard.

        Raises:
            ValueError: ``i`` is not in ``1..K``.
        """
        check_integer(K, "K", low=1, hint="it is the number of shares")
        check_integer(i, "i", low=1, high=K, hint="shares count from 1: 1/4, 2/4, 3/4, 4/4")
        return range(i - 1, len(self), K)
