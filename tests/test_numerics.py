"""What all parts rest on: blocks that cover, and eigenvalues that are told from rounding."""

import numpy as np
import pytest

from skmm.numerics.blocks import BLOCK_ENTRIES, blocks
from skmm.numerics.eigen import gram_eigen, rank_cutoff


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@pytest.mark.parametrize("width", [0, 1, 300, 2 * BLOCK_ENTRIES])
@pytest.mark.parametrize("least", [1, 16])
def test_blocks_cover_every_row_once(count, width, least):
    """In order, each of a block's entries at most, but for the least number of rows."""
    parts = [np.arange(count)[block] for block in blocks(count, width, least=least)]
    np.testing.assert_array_equal(np.concatenate([np.arange(0), *parts]), np.arange(count))
    assert all(
        0 < len(part) * width <= max(BLOCK_ENTRIES, least * width) for part in parts if width
    )
    assert all(len(part) >= min(least, count) for part in parts[:-1])


@pytest.mark.parametrize("rank", [0, 1, 5, 30])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_rank_is_that_of_the_rows(rank, scale):
    """Of a Gram matrix larger than its rank, in any unit; its parts add up to it."""
    rng = np.random.default_rng(rank)
    rows = rng.standard_normal((30, rank)) @ rng.standard_normal((rank, 50))
    gram = scale * (rows @ rows.T)
    values, vectors = gram_eigen(gram)
    assert vectors.shape == (30, rank)
    assert (np.diff(values) <= 0).all()
    rebuilt = (vectors * values) @ vectors.T
    np.testing.assert_allclose(rebuilt, gram, atol=30 * rank_cutoff(30, max(gram.max(), 0)))


def test_nothing_counts_in_a_matrix_of_zeros():
    """Nor below: rounding may leave a largest eigenvalue that is negative."""
    assert rank_cutoff(5, 0.0) == rank_cutoff(5, -1e-20) == 0.0
    assert gram_eigen(np.zeros((4, 4)))[0].shape == (0,)
