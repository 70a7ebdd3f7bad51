"""Laws that all Johnson-Lindenstrauss maps obey: linear, unbiased, one draw for every batch."""

import pickle
import tracemalloc
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
from scipy.optimize import brentq

from skmm.numerics.streams import as_generator
from skmm.sketching import SKETCHES, SRHT, SparseSignSketch

DRAWS = {name: sketch.draw for name, sketch in SKETCHES.items()} | {
    "count": partial(SparseSignSketch.draw, nonzeros=1)
}
SIZES = [(300, 24), (256, 256), (37, 5), (2, 1), (1, 1)]

every_map = pytest.mark.parametrize("name", DRAWS)


def rounding(dtype, r):
    """Bound on the relative rounding error of an inner product of r terms, with a margin of 8."""
    return 8 * np.sqrt(r) * np.finfo(dtype).eps


def variance(name, x, m):
    r"""Variance of :math:`\|x\Gamma\|^2` over draws of each map, for a unit vector x."""
    if name == "gaussian":
        return 2 / m
    spread = 2 / m * (1 - np.sum(x**4))
    padded = 1 << (len(x) - 1).bit_length()
    return spread * (padded - m) / (padded - 1) if name == "srht" else spread


@every_map
@pytest.mark.parametrize(("r", "m"), SIZES)
def test_linear_map_of_one_matrix(name, r, m):
    """Γ is the sketch of the identity; every row, and every sum of rows, is mapped by it."""
    rng = np.random.default_rng(0)
    sketch = DRAWS[name](r, m, rng=1)
    matrix = sketch(np.eye(r))
    rows = rng.standard_normal((9, r))
    scale = np.linalg.norm(rows) * np.linalg.norm(matrix) * rounding(np.float64, r)
    assert matrix.shape == (r, m)
    np.testing.assert_allclose(sketch(rows), rows @ matrix, atol=scale)
    np.testing.assert_allclose(
        sketch(rows[0] - 3 * rows[1]), sketch(rows[0]) - 3 * sketch(rows[1]), atol=scale
    )


@every_map
def test_batches_and_leading_axes_do_not_matter(name):
    """Rows sketched one by one, in batches or in any shape are the rows sketched at once."""
    G = np.random.default_rng(0).standard_normal((96, 300))
    sketch = DRAWS[name](300, 24, rng=1)
    whole = sketch(G)
    for parts in (4, 7, 96):
        batched = np.concatenate([sketch(part) for part in np.array_split(G, parts)])
        np.testing.assert_allclose(batched, whole, atol=1e-12)
    np.testing.assert_allclose(sketch(G.reshape(4, 2, 12, 300)).reshape(96, 24), whole, atol=1e-12)
    np.testing.assert_allclose(sketch(G[5]), whole[5], atol=1e-12)
    np.testing.assert_allclose(sketch(np.asfortranarray(G)[::-2]), whole[::-2], atol=1e-12)
    assert sketch(G[:0]).shape == (0, 24)
    assert sketch(torch.zeros(2, 0, 300)).shape == (2, 0, 24)
    assert sketch(scipy.sparse.csr_array((0, 300))).shape == (0, 24)


@every_map
def test_one_draw_a_seed(name):
    """A map is fixed once drawn: by its seed, whatever it was called with, pickled or not."""
    G = np.random.default_rng(0).standard_normal((8, 300))
    sketch = DRAWS[name](300, 24, rng=1)
    expected = sketch(G)
    sketch(torch.as_tensor(G))
    np.testing.assert_array_equal(sketch(G), expected)
    np.testing.assert_array_equal(DRAWS[name](300, 24, rng=1)(G), expected)
    generator = as_generator(1, "sketch." + name.replace("count", "sparse-sign"))
    np.testing.assert_array_equal(DRAWS[name](300, 24, rng=generator)(G), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sketch))(G), expected)
    assert not np.allclose(DRAWS[name](300, 24, rng=2)(G), expected)


def test_pickles_hold_the_draw_and_nothing_derived():
    """A map that has been used is as small on the wire as a fresh one."""
    for draw in DRAWS.values():
        sketch = draw(300, 24, rng=1)
        fresh = len(pickle.dumps(sketch))
        sketch(torch.ones(300))
        assert len(pickle.dumps(sketch)) == fresh


@every_map
@pytest.mark.parametrize("spread", ["even", "uneven"])
def test_squared_norms_are_unbiased(name, spread):
    """Over draws, ‖xΓ‖² has mean ‖x‖² and the variance of the map, both within 4 sigma."""
    T, r, m = 1500, 50, 8
    x = np.ones(r) if spread == "even" else 0.8 ** np.arange(r)
    x /= np.linalg.norm(x)
    norms = np.array([np.sum(DRAWS[name](r, m, rng=rng)(x) ** 2) for rng in range(T)])
    expected = variance(name, x, m)
    assert abs(norms.mean() - 1) < 4 * np.sqrt(expected / T)
    deviations = (norms - 1) ** 2
    assert abs(deviations.mean() - expected) < 4 * deviations.std() / np.sqrt(T)


@every_map
def test_inner_products_are_unbiased(name):
    """E⟨xΓ, yΓ⟩ = ⟨x, y⟩: the variance is at most that of a sum and a difference of norms."""
    T, r, m = 400, 60, 6
    x, y = np.random.default_rng(0).standard_normal((2, r)) / np.sqrt(r)
    draws = [DRAWS[name](r, m, rng=rng)(np.stack([x, y])) for rng in range(T)]
    products = [a @ b for a, b in draws]
    # ⟨x, y⟩ = (‖x + y‖² − ‖x − y‖²)/4, and the standard deviation of a sum is at most the sum.
    sigma = np.sqrt(2 / m) * (np.sum((x + y) ** 2) + np.sum((x - y) ** 2)) / 4
    assert abs(np.mean(products) - x @ y) < 4 * sigma / np.sqrt(T)


@every_map
def test_distances_are_kept(name):
    """Johnson-Lindenstrauss: all 7,140 distances of 120 points within the union bound at 1e-3."""
    N, r, m = 120, 900, 400
    log_odds = np.log(N * (N - 1) / 1e-3)
    epsilon = brentq(lambda e: m * (e**2 / 4 - e**3 / 6) - log_odds, 0, 1)
    G = np.random.default_rng(0).standard_normal((N, r)) * np.geomspace(1, 0.1, r)
    sketched = DRAWS[name](r, m, rng=1)(G)
    i, j = np.triu_indices(N, 1)
    ratios = np.sum((sketched[i] - sketched[j]) ** 2, 1) / np.sum((G[i] - G[j]) ** 2, 1)
    assert ratios.min() > 1 - epsilon
    assert ratios.max() < 1 + epsilon


@every_map
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int8"])
def test_arrays_tensors_and_sparse_rows_agree(name, dtype):
    """The kind of the rows decides the kind and precision of the result, not its value."""
    r, m = 300, 24
    sketch = DRAWS[name](r, m, rng=1)
    values = torch.as_tensor(np.random.default_rng(0).integers(-9, 10, (12, r)))
    values[:, ::3] = 0
    tensor = values.to(getattr(torch, dtype))
    exact = sketch(values.numpy())
    assert exact.dtype == np.float64
    from_tensor = sketch(tensor)
    assert from_tensor.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    scale = np.linalg.norm(values, axis=1).max()
    single = rounding(np.float32, r) * scale
    np.testing.assert_allclose(from_tensor, exact, atol=single)
    if dtype != "bfloat16":
        rows = tensor.numpy()
        from_array = sketch(rows)
        assert from_array.dtype == (np.float32 if dtype == "float32" else np.float64)
        np.testing.assert_allclose(from_array, exact, atol=single)
    if dtype not in ("float16", "bfloat16"):
        for kind in (scipy.sparse.csr_array, scipy.sparse.coo_matrix):
            from_sparse = sketch(kind(rows))
            assert isinstance(from_sparse, np.ndarray)
            np.testing.assert_allclose(from_sparse, exact, atol=single)
        one = sketch(scipy.sparse.coo_array(rows[3]))
        np.testing.assert_allclose(one, exact[3], atol=single)


@every_map
def test_gradients_flow_through_tensors(name):
    """The derivative of a linear map is its transpose."""
    rows = torch.zeros(3, 40, dtype=torch.float64, requires_grad=True)
    sketch = DRAWS[name](40, 8, rng=1)
    weights = np.random.default_rng(0).standard_normal((3, 8))
    (sketch(rows) * torch.as_tensor(weights)).sum().backward()
    np.testing.assert_allclose(rows.grad, weights @ sketch(np.eye(40)).T, atol=1e-12)


@pytest.mark.parametrize("name", ["sparse-sign", "count", "srht"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_large_maps_are_never_dense(name, kind):
    """At r = 200,000 and m = 256, draw and use stay below a quarter of the matrix's memory."""
    r, m = 200_000, 256
    rows = np.ones((2, r), np.float32)
    tracemalloc.start()
    try:
        sketch = DRAWS[name](r, m, rng=1)
        sketch(rows if kind == "array" else torch.as_tensor(rows))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < r * m * rows.itemsize / 4


@pytest.mark.parametrize(("r", "m"), [(256, 40), (300, 24), (5, 4), (1, 1)])
def test_srht_is_signs_then_hadamard_then_columns(r, m):
    """Γ = D H P / √m with the Hadamard matrix of the next power of two, and distinct columns."""
    sketch = SRHT.draw(r, m, rng=1)
    padded = 1 << (r - 1).bit_length()
    dense = sketch.signs[:, None] * scipy.linalg.hadamard(padded)[:r, sketch.columns] / np.sqrt(m)
    np.testing.assert_allclose(sketch(np.eye(r)), dense, atol=1e-14)
    assert len(set(sketch.columns)) == m


def sparse_sign(r, m, *, rng, nonzeros, stretches=1):
    """A sparse sign map of so many stretches, of which short rows have one."""
    rng = np.random.default_rng(rng)
    R = -(-r // stretches)
    one = SparseSignSketch.draw(R, m, rng=rng, nonzeros=nonzeros)
    shifts = rng.integers(0, R, stretches) if stretches > 1 else one.shifts
    signs = rng.choice(np.array([-1, 1], np.int8), r)
    return SparseSignSketch(r, m, signs, shifts, one.offsets, one.offset_signs)


def chunk_length(R, m):
    """Neighbouring places that share their offsets: 16, half the outputs, or R / 4m."""
    return max(1, min(16, (m + 1) // 2, R // (4 * m)))


SPARSE = [(1, 7, 90, 1), (3, 7, 90, 1), (7, 7, 400, 1), (8, 64, 90, 1), (4, 9, 700, 3)]


@pytest.mark.parametrize(("nonzeros", "m", "r", "stretches"), SPARSE)
def test_sparse_sign_has_its_nonzeros(nonzeros, m, r, stretches):
    """Each row of Γ has so many entries of ±1/√nonzeros, where its chunk's offsets say."""
    sketch = sparse_sign(r, m, rng=1, nonzeros=nonzeros, stretches=stretches)
    matrix = sketch(np.eye(r))
    assert np.all(np.count_nonzero(matrix, axis=1) == nonzeros)
    R = -(-r // stretches)
    for p in range(r):
        place = (p % R + sketch.shifts[p // R]) % R
        chunk, i = divmod(place, chunk_length(R, m))
        entries = np.zeros(m)
        for t, e in zip(sketch.offsets[chunk], sketch.offset_signs[chunk], strict=True):
            entries[(t + i) % m] += sketch.signs[p] * e / np.sqrt(nonzeros)
        np.testing.assert_allclose(matrix[p], entries, atol=1e-15)
    np.testing.assert_allclose(sketch(torch.eye(r, dtype=torch.float64)), matrix, atol=1e-15)
    np.testing.assert_allclose(sketch(scipy.sparse.eye_array(r, format="csr")), matrix, atol=1e-15)


def test_offsets_are_a_uniform_choice():
    """All ten pairs of five outputs are equally likely, within 4.5 sigma."""
    offsets = SparseSignSketch.draw(30_000, 5, rng=1, nonzeros=2).offsets
    _, counts = np.unique(np.sort(offsets, axis=1), axis=0, return_counts=True)
    expected = len(offsets) / 10
    assert len(counts) == 10
    assert np.all(np.abs(counts - expected) < 4.5 * np.sqrt(expected))


def independent_entries(r, m, *, rng, nonzeros):
    """The matrix of OSNAP as Nelson and Nguyen draw it: no two coordinates share anything."""
    rng, matrix = np.random.default_rng(rng), np.zeros((r, m))
    columns = rng.permuted(np.tile(np.arange(m), (r, 1)), axis=1)[:, :nonzeros]
    entries = rng.choice([-1, 1], (r, nonzeros)) / np.sqrt(nonzeros)
    np.put_along_axis(matrix, columns, entries, axis=1)
    return matrix


def collisions(r, m, nonzeros, stretches):
    """Mean square of the inner product of two rows of Γ, by what the two coordinates share."""
    R = -(-r // stretches)
    chunk = np.arange(R) // chunk_length(R, m)
    within = (1 - 1 / nonzeros) / max(1, m - 1)
    one = np.where(chunk[:, None] == chunk, within, 1 / m)
    np.fill_diagonal(one, 1)
    if stretches == 1:
        return one
    # Rotations make every pair of places of two stretches, or every distance in one, as likely.
    a = np.full((r, r), one.mean())
    around = [np.mean(one[np.arange(R), (np.arange(R) + d) % R]) for d in range(R)]
    p, q = np.divmod(np.arange(r), R)
    return np.where(p[:, None] == p, np.take(around, (q[:, None] - q) % R), a)


@pytest.mark.parametrize("kind", ["independent", "chunks", "stretches"])
@pytest.mark.parametrize("nonzeros", [1, 4])
def test_squared_error_of_the_sparse_map(kind, nonzeros):
    """E(⟨xΓ, yΓ⟩ − ⟨x, y⟩)² is the sum over pairs of what they share, and a Gaussian map's at most.

    On even, periodic, sparse and other rows, within 4 sigma over draws. With independent entries,
    a path of its own, all pairs have 1/m.
    """
    T, r, m, stretches = 1500, 192, 8, 2 if kind == "stretches" else 1
    G = np.random.default_rng(0).standard_normal((6, r))
    G[0] = 1
    G[1], G[2] = np.tile(G[1, :3], r // 3), np.tile(G[2, :m], r // m)
    G[3, 2:] = 0
    G[4, np.arange(r) % 96 != 1] = 0
    G /= np.linalg.norm(G, axis=1, keepdims=True)
    squares = []
    for rng in range(T):
        if kind == "independent":
            sketched = G @ independent_entries(r, m, rng=rng, nonzeros=nonzeros)
        else:
            sketched = sparse_sign(r, m, rng=rng, nonzeros=nonzeros, stretches=stretches)(G)
        squares.append((sketched @ sketched.T - G @ G.T) ** 2)
    a = np.full((r, r), 1 / m)
    if kind != "independent":
        a = collisions(r, m, nonzeros, stretches)
    products = G[:, None, :, None] * G[None, :, None, :]
    pairs = np.triu(a, 1) * (products + products.swapaxes(2, 3)) ** 2
    expected = pairs.sum(axis=(2, 3))
    sigma = np.std(squares, axis=0) / np.sqrt(T)
    assert np.all(np.abs(np.mean(squares, axis=0) - expected) <= 4 * sigma + 1e-15)
    R = r // stretches
    gaussian = (1 + (G @ G.T) ** 2) / m
    assert np.all(expected <= gaussian * (1 + (stretches > 1) * m / R))


@pytest.mark.parametrize("r", [300, 20_000, 40_000, 70_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_has_the_same_bits_in_every_batch(r, dtype):
    """Of the sparse map, whether rows are sketched side by side, one by one, or in stretches."""
    G = np.random.default_rng(0).standard_normal((37, r)).astype(dtype)
    sketch = SparseSignSketch.draw(r, 24, rng=1)
    whole = sketch(G)
    for parts in (2, 5, 37):
        batched = np.concatenate([sketch(part) for part in np.array_split(G, parts)])
        np.testing.assert_array_equal(batched, whole)


def test_rows_of_many_numbers_agree():
    """Of two stretches: arrays, tensors and sparse rows; the last touch what is not zero alone."""
    r, rng = 70_000, np.random.default_rng(0)
    dense = rng.standard_normal((3, r)) * (rng.random((3, r)) < 0.01)
    rows = scipy.sparse.csr_array(dense)
    sketch = SparseSignSketch.draw(r, 24, rng=1)
    assert len(sketch.shifts) == 2
    exact = sketch(rows.toarray())
    np.testing.assert_allclose(sketch(torch.as_tensor(rows.toarray())), exact, atol=1e-10)
    np.testing.assert_allclose(sketch(rows), exact, atol=1e-10)
    tracemalloc.start()
    try:
        sketch(rows[:, :])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 8 * rows.nnz


@every_map
@pytest.mark.parametrize(("r", "m"), [(10, 0), (10, 11), (0, 1), (10, 2.5), (10, True)])
def test_bad_sizes_are_named(name, r, m):
    with pytest.raises(ValueError, match=r"[rm] must be a whole number .* got [rm]="):
        DRAWS[name](r, m, rng=0)


@every_map
@pytest.mark.parametrize("rng", [None, -1, 0.5, True, "0"])
def test_bad_generators_are_named(name, rng):
    with pytest.raises(ValueError, match="rng must be"):
        DRAWS[name](10, 2, rng=rng)


@every_map
@pytest.mark.parametrize(
    "rows", [np.ones(9), np.ones((10, 9)), np.float64(1), torch.ones(3, 9), scipy.sparse.eye(9)]
)
def test_rows_of_another_size_are_refused(name, rows):
    with pytest.raises(ValueError, match="r=10 entries along the last axis"):
        DRAWS[name](10, 2, rng=0)(rows)


COMPLEX = np.ones((2, 10), complex)


@every_map
@pytest.mark.parametrize(
    "rows", [COMPLEX, torch.as_tensor(COMPLEX), scipy.sparse.csr_array(COMPLEX), [["a"] * 10]]
)
def test_rows_that_are_not_real_are_refused(name, rows):
    with pytest.raises(ValueError, match="rows must hold real numbers, got dtype"):
        DRAWS[name](10, 2, rng=0)(rows)


@every_map
def test_sparse_tensors_are_refused(name):
    with pytest.raises(ValueError, match=r"got the layout torch.sparse_coo; pass rows.to_dense"):
        DRAWS[name](10, 2, rng=0)(torch.eye(10).to_sparse())


@pytest.mark.parametrize("nonzeros", [0, 5, 1.5])
def test_bad_nonzeros_are_named(nonzeros):
    with pytest.raises(ValueError, match="nonzeros must be a whole number"):
        SparseSignSketch.draw(10, 4, rng=0, nonzeros=nonzeros)
