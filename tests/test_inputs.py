"""Bad input is named, with the value seen and what to do; good input comes out ready for BLAS."""

import numpy as np
import pytest
import scipy.sparse
import torch

from skmm.numerics.inputs import (
    _check_finite_tensor,
    check_budget,
    check_choice,
    check_integer,
    check_labels,
    check_pool,
    check_positive,
    check_rows,
    is_tensor,
    to_array,
)
from skmm.numerics.range import to_range

ROWS = np.arange(12).reshape(4, 3)

GOOD = {
    "list": ROWS.tolist(),
    "bool": ROWS > 5,
    "read-only": np.broadcast_to(ROWS[0].astype(float), (4, 3)),
    "fortran": np.asfortranarray(ROWS, dtype=float),
    "strided": np.repeat(ROWS, 2, axis=0)[::2].astype(np.float32)[::-1],
    "sparse": scipy.sparse.csr_array(ROWS),
    "gradient": torch.as_tensor(ROWS, dtype=torch.float64).requires_grad_(),
    "transposed-tensor": torch.as_tensor(ROWS, dtype=torch.float32).T,
    "bfloat16": torch.as_tensor(ROWS).bfloat16(),
    "byte-tensor": torch.as_tensor(ROWS).to(torch.uint8),
    "coo-tensor": torch.as_tensor(ROWS).double().to_sparse(),
    "hybrid-tensor": torch.as_tensor(ROWS).float().to_sparse(1),
    "csr-tensor": torch.as_tensor(ROWS).float().to_sparse_csr(),
    "bsr-tensor": torch.as_tensor(ROWS).bfloat16().to_sparse_bsr((2, 3)),
} | {t: ROWS.astype(t) for t in ("float16", "float32", "float64", "int8", "uint64", "longdouble")}


@pytest.mark.parametrize("kind", GOOD)
def test_rows_come_out_contiguous_and_equal(kind):
    """Any real rows become C-contiguous float32 (if they were) or float64 with the same values."""
    rows = GOOD[kind]
    checked = check_rows(rows)
    plain = rows.toarray() if scipy.sparse.issparse(rows) else rows
    plain = plain.to_dense().detach().float() if is_tensor(plain) else np.asarray(plain, float)
    np.testing.assert_array_equal(checked, plain)
    assert checked.flags.c_contiguous
    assert checked.dtype in (np.float32, np.float64)


def test_good_rows_are_not_copied():
    """Single and double precision pass through, as arrays and as tensors."""
    for dtype in (np.float32, np.float64):
        rows = np.ones((4, 3), dtype)
        assert check_rows(rows) is rows
        assert np.shares_memory(check_rows(torch.from_numpy(rows)), rows)


SPARSE = {
    "csr": scipy.sparse.csr_array,
    "csr matrix": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "coo tensor": lambda rows: torch.as_tensor(rows).to_sparse(),
    "csr tensor": lambda rows: torch.as_tensor(rows).to_sparse_csr(),
    "csc tensor": lambda rows: torch.as_tensor(rows).to_sparse_csc(),
}


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_sparse_rows_stay_sparse(kind, dtype):
    """The same numbers as SciPy's rows, stored entries alone; precision as of dense rows."""
    rows = np.where(ROWS % 3, ROWS, 0).astype(dtype)
    checked = check_pool(SPARSE[kind](rows))
    assert isinstance(checked, scipy.sparse.csr_array)
    assert checked.nnz == np.count_nonzero(rows)
    np.testing.assert_array_equal(checked.toarray(), rows)
    exact = np.float32 if dtype == "float32" or "tensor" in kind else np.float64
    assert checked.dtype == (np.float64 if dtype == "float64" else exact)


def test_good_sparse_rows_are_neither_copied_nor_put_in_order():
    """Their arrays are the caller's: entries that are given twice stay twice."""
    parts = np.array([1.0, 2.0, 4.0, 8.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 4])
    rows = scipy.sparse.csr_array(parts, (2, 3))
    checked = to_range(check_pool(rows))
    assert np.shares_memory(checked.data, rows.data)
    np.testing.assert_array_equal(to_array(checked), [[2, 0, 5], [0, 8, 0]])
    np.testing.assert_array_equal(rows.indices, [2, 0, 2, 1])


@pytest.mark.parametrize("exponent", [-900, -31, -30, 0, 30, 31, 900])
@pytest.mark.parametrize("kind", ["array", "sparse", "tensor"])
def test_units_are_changed_by_a_power_of_two(kind, exponent):
    """Only where entries are extreme, to a largest one in [1/2, 1), and no digit is lost."""
    rows = np.random.default_rng(0).uniform(-0.9, 0.9, (6, 4))
    rows[2, 1] = -0.99
    rows *= 2.0**exponent
    stored = {"array": np.asarray, "sparse": scipy.sparse.csr_array, "tensor": torch.as_tensor}
    ranged = to_array(to_range(stored[kind](rows)))
    change = np.unique(ranged / rows)
    assert len(change) == 1
    assert np.frexp(change[0])[0] == 0.5
    assert np.abs(ranged).max() == (0.99 if abs(exponent) > 30 else np.abs(rows).max())


def test_rows_without_data_are_refused():
    with pytest.raises(ValueError, match=r"features must hold data, got .* device meta"):
        check_rows(torch.ones(4, 3, device="meta"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_largest_values_are_finite(dtype):
    """A sum that overflows is no infinite entry; half precision is widened before any square."""
    rows = np.full((2, 5), np.finfo(dtype).max, dtype)
    checked = check_rows(rows)
    np.testing.assert_array_equal(checked, rows)
    if dtype == "float16":
        assert np.isfinite(checked @ checked.T).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["array", "tensor", *SPARSE])
def test_entries_that_are_not_finite_are_located(value, kind):
    rows = np.ones((5, 4))
    rows[2, 3] = rows[4, 0] = value
    rows = ({"array": np.asarray, "tensor": torch.as_tensor} | SPARSE)[kind](rows)
    with pytest.raises(ValueError, match=rf"gradients .* {value} at row 2, column 3 \(2 such"):
        check_rows(rows, "gradients")


def test_entries_on_an_accelerator_are_located_there():
    """The same message; the rows are looked at where they are."""
    rows = torch.ones(5, 4)
    assert _check_finite_tensor(rows, "gradients") is rows
    rows[2, 3], rows[4, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"gradients .* nan at row 2, column 3 \(2 such"):
        _check_finite_tensor(rows, "gradients")


def test_opposite_infinities_do_not_cancel():
    with pytest.raises(ValueError, match="got inf at row 0, column 0"):
        check_rows([[np.inf, -np.inf]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(3), r"two axes \[N, r\].* got shape \[3\]"),
        (np.ones((2, 3, 4)), r"got shape \[2, 3, 4\]"),
        (1.0, r"got shape \[\]"),
        (np.ones((0, 3)), r"features is empty, got shape \[0, 3\]"),
        (np.ones((3, 0)), "features is empty"),
        (np.ones((2, 2), complex), "real numbers, got dtype complex128"),
        (np.array([["a", "b"]]), "real numbers, got dtype <U1"),
        (np.array([[None, 1]]), "real numbers, got dtype object"),
        (scipy.sparse.coo_array(np.ones(3)), r"got shape \[3\]"),
        (torch.ones(2, 3, 4).to_sparse(), r"got shape \[2, 3, 4\]"),
        (scipy.sparse.csr_array((0, 3)), "features is empty"),
        (scipy.sparse.csr_array(np.ones((2, 2), complex)), "real numbers, got dtype complex128"),
        (torch.ones(2, 2, dtype=torch.complex64), "real numbers, got dtype torch.complex64"),
    ],
)
def test_rows_of_another_kind_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        check_rows(rows)


@pytest.mark.parametrize("value", [1, 4, np.int8(3), np.uint64(2)])
def test_whole_numbers_in_range_pass(value):
    checked = check_integer(value, "m", low=1, high=4, hint="")
    assert type(checked) is int
    assert checked == value


@pytest.mark.parametrize("value", [0, 5, 2.0, True, "2", None, np.nan])
def test_other_numbers_are_named_with_their_range(value):
    with pytest.raises(ValueError, match=rf"m must .* in \[1, 4\], got m={value!r}; pick fewer"):
        check_integer(value, "m", low=1, high=4, hint="pick fewer")
    with pytest.raises(ValueError, match="at least 9, got"):
        check_integer(value, "m", low=9, hint="")


@pytest.mark.parametrize("n", [0, 11, -1, 2.5])
def test_budget_lies_within_the_pool(n):
    assert check_budget(10, 10) == 10
    with pytest.raises(ValueError, match=r"n must .* \[1, 10\].*the pool has N=10 samples"):
        check_budget(n, 10)


@pytest.mark.parametrize("value", [0, -1.0, np.inf, np.nan, True, "1", None, 1j])
def test_positive_numbers(value):
    assert check_positive(np.float32(0.5), "slack", hint="") == 0.5
    with pytest.raises(ValueError, match=r"slack must be a finite number above 0.*; about 1"):
        check_positive(value, "slack", hint="about 1")


def test_choices_are_listed():
    assert check_choice("a", "method", {"b": 1, "a": 2}) == "a"
    with pytest.raises(ValueError, match="method must be one of a, b, got 'c'"):
        check_choice("c", "method", {"b": 1, "a": 2})


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]], ["a", "b", "c"]])
def test_labels_are_one_whole_number_a_sample(labels):
    assert check_labels([2, 0, 1], 3).dtype == np.int64
    with pytest.raises(ValueError, match="labels must be N=3 whole numbers"):
        check_labels(labels, 3)
