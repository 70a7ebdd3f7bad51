"""Bad input is named, with the value seen and what to do; good input comes out ready for BLAS."""

import numpy as np
import pytest
import scipy.sparse
import torch

from skmm.numerics.inputs import (
    check_budget,
    check_choice,
    check_integer,
    check_labels,
    check_positive,
    check_rows,
    is_tensor,
)

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
} | {t: ROWS.astype(t) for t in ("float16", "float32", "float64", "int8", "uint64", "longdouble")}


@pytest.mark.parametrize("kind", GOOD)
def test_rows_come_out_contiguous_and_equal(kind):
    """Any real rows become C-contiguous float32 (if they were) or float64 with the same values."""
    rows = GOOD[kind]
    checked = check_rows(rows)
    plain = rows.toarray() if scipy.sparse.issparse(rows) else rows
    plain = plain.detach().float().numpy() if is_tensor(plain) else np.asarray(plain, np.float64)
    np.testing.assert_array_equal(checked, plain)
    assert checked.flags.c_contiguous
    assert checked.dtype in (np.float32, np.float64)


def test_good_rows_are_not_copied():
    """Single and double precision pass through, as arrays and as tensors."""
    for dtype in (np.float32, np.float64):
        rows = np.ones((4, 3), dtype)
        assert check_rows(rows) is rows
        assert np.shares_memory(check_rows(torch.from_numpy(rows)), rows)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_largest_values_are_finite(dtype):
    """A sum that overflows is no infinite entry; half precision is widened before any square."""
    rows = np.full((2, 5), np.finfo(dtype).max, dtype)
    checked = check_rows(rows)
    np.testing.assert_array_equal(checked, rows)
    if dtype == "float16":
        assert np.isfinite(checked @ checked.T).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["array", "tensor", "sparse"])
def test_entries_that_are_not_finite_are_located(value, kind):
    rows = np.ones((5, 4))
    rows[2, 3] = rows[4, 0] = value
    rows = {"array": np.asarray, "tensor": torch.as_tensor, "sparse": scipy.sparse.coo_array}[kind](
        rows
    )
    with pytest.raises(ValueError, match=rf"gradients .* {value} at row 2, column 3 \(2 such"):
        check_rows(rows, "gradients")


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
