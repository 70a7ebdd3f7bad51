"""The pool: sparse rows are sketched as they are stored, and made dense only where asked for."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
import torch

from skmm import SKETCHES, select
from skmm.numerics.inputs import check_pool
from skmm.selection.selectors import Pool

N, R, M = 1000, 20_000, 16
DENSE = 8 * N * R


@pytest.fixture(scope="module")
def rows():
    """Ten entries a row, of sizes that make some rows count more than others."""
    rng = np.random.default_rng(0)
    columns = rng.integers(0, R, (N, 10))
    entries = rng.standard_normal((N, 10)) * np.geomspace(0.3, 3, N)[:, None]
    starts = np.arange(0, 10 * N + 1, 10)
    return scipy.sparse.csr_array((entries.ravel(), columns.ravel(), starts), (N, R))


def kinds(rows):
    """The same rows as SciPy and torch store them."""
    coo = rows.tocoo()
    tensor = torch.sparse_coo_tensor(np.stack(coo.coords), coo.data, rows.shape)
    return {
        "csr": rows,
        "csc": rows.tocsc(),
        "coo tensor": tensor,
        "csr tensor": tensor.to_sparse_csr(),
    }


LINEAR = {"criterion": "combined"}
"""What holds O(N m): the default holds all N² similarities of a pool as small as this one."""


@pytest.fixture(scope="module", params=SKETCHES)
def expected(request, rows):
    """A sketch, and what is selected in it from the same rows as a dense array."""
    return request.param, select(rows.toarray(), 12, rng=0, m=M, sketch=request.param, **LINEAR)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", ["csr", "csc", "coo tensor", "csr tensor"])
def test_sparse_rows_are_never_made_dense(rows, expected, kind):
    """Select on them holds a tenth of the dense pool at most, and chooses the same subset."""
    given, (sketch, dense) = kinds(rows)[kind], expected
    tracemalloc.start()
    try:
        chosen = select(given, 12, rng=0, m=M, sketch=sketch, **LINEAR)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < DENSE / 10
    np.testing.assert_array_equal(chosen.indices, dense.indices)
    np.testing.assert_allclose(
        chosen.certificate.bias_share, dense.certificate.bias_share, rtol=1e-9
    )


def test_features_are_made_once_and_when_asked_for(rows):
    pool = Pool(check_pool(rows), M, "gaussian", np.random.default_rng(0))
    assert pool.sketched.shape == (N, M)
    assert "features" not in vars(pool)
    np.testing.assert_array_equal(pool.features, rows.toarray())
    assert pool.features is pool.features


@pytest.mark.parametrize("method", ["herding", "k_center", "leverage"])
def test_methods_that_look_at_features_get_them(rows, method):
    one, two = (select(G, 5, method=method, rng=0, m=M).indices for G in (rows, rows.toarray()))
    np.testing.assert_array_equal(one, two)


def test_without_a_sketch_the_rows_are_the_features(rows):
    few = rows[:, :30]
    pool = Pool(check_pool(few), 30, "gaussian", np.random.default_rng(0))
    np.testing.assert_array_equal(pool.sketched, few.toarray())
