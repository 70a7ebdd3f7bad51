"""The spectrum of a second moment and its intrinsic dimension, against dense formulas."""

import numpy as np
import pytest

from skmm.spectrum import Spectrum, intrinsic_dimension


def rows_of(N, m, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    rank = m if rank is None else rank
    return rng.standard_normal((N, rank)) @ rng.standard_normal((rank, m))


@pytest.mark.parametrize(("N", "m", "rank"), [(50, 8, 8), (50, 8, 3), (5, 12, 5), (1, 4, 1)])
def test_eigenpairs_rebuild_the_moment(N, m, rank):
    """Σ = V Λ Vᵀ with orthonormal V, λ descending and not negative, trace the mean squared norm."""
    G = rows_of(N, m, rank)
    spectrum = Spectrum.of(G)
    V, lam = spectrum.eigenvectors, spectrum.eigenvalues
    np.testing.assert_allclose(V * lam @ V.T, G.T @ G / N, atol=1e-13 * lam[0])
    np.testing.assert_allclose(V.T @ V, np.eye(m), atol=1e-13)
    assert np.all(np.diff(lam) <= 0)
    assert lam[-1] >= 0
    assert spectrum.trace == pytest.approx(np.mean(np.sum(G**2, axis=1)), rel=1e-13)
    assert spectrum.rank == rank
    assert spectrum.N == N
    assert V.strides[0] > 0 < V.strides[1]  # torch takes no other
    assert lam.strides[0] > 0


@pytest.mark.parametrize("rank", [3, 8])
def test_whitened_rows_have_unit_moment(rank):
    """In the coordinates gᵀv_j/√λ_j the pool's second moment is the identity."""
    G = rows_of(60, 8, rank)
    Z = Spectrum.of(G).whiten(G, rank)
    np.testing.assert_allclose(Z.T @ Z / 60, np.eye(rank), atol=1e-9)
    if rank < 8:
        with pytest.raises(ValueError, match=f"k must be .* got k={rank + 1}"):
            Spectrum.of(G).whiten(G, rank + 1)


def test_rotation_and_order_do_not_matter():
    """Eigenvalues depend on neither the basis nor the order of the rows; scale squares."""
    G = rows_of(40, 6)
    Q = np.linalg.qr(rows_of(6, 6, seed=1))[0]
    lam = Spectrum.of(G).eigenvalues
    np.testing.assert_allclose(Spectrum.of(G @ Q).eigenvalues, lam, rtol=1e-10)
    np.testing.assert_allclose(Spectrum.of(G[::-1]).eigenvalues, lam, rtol=1e-10)
    np.testing.assert_allclose(Spectrum.of(7 * G).eigenvalues, 49 * lam, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_magnitude_does_not_matter(scale, dtype):
    """Single-precision rows whose squares over- or underflow keep their spectrum and rank."""
    G = rows_of(40, 6, 4)
    G[:, 0] = 0  # exact in any precision
    scaled = (G * scale).astype(dtype)
    tolerance = 100 * np.finfo(dtype).eps
    lam = Spectrum.of(G).eigenvalues
    np.testing.assert_allclose(
        Spectrum.of(scaled).eigenvalues / scale**2, lam, atol=tolerance * lam[0]
    )


def test_single_precision_loses_no_small_direction():
    """A direction 1e-5 as long as the first counts 1e-10 in the moment, still exactly."""
    G = np.zeros((16, 3), np.float32)
    G[:8, 0], G[8:, 1] = 1, 2.0**-16
    np.testing.assert_allclose(Spectrum.of(G).eigenvalues, [0.5, 2.0**-33, 0], rtol=1e-12)


@pytest.mark.parametrize("N", [1, 2, 10, 1000])
def test_intrinsic_dimension_is_the_least_count(N):
    """r̄ leaves at most tr(Σ)/N, one direction fewer leaves more; order does not matter."""
    rng = np.random.default_rng(N)
    for lam in (
        rng.random(30),
        0.7 ** np.arange(40),
        np.ones(9),
        np.array([5.0]),
        np.r_[1, [0] * 5],
    ):
        t = intrinsic_dimension(rng.permutation(lam), N)
        descending = np.sort(lam)[::-1]
        assert descending[t:].sum() <= lam.sum() / N
        assert t == 1 or descending[t - 1 :].sum() > lam.sum() / N
        assert t >= 1


def test_intrinsic_dimension_of_known_spectra():
    """Equal eigenvalues need m − ⌊m/N⌋ of them; a zero moment needs none."""
    assert intrinsic_dimension(np.ones(8), 2000) == 8
    assert intrinsic_dimension(np.ones(8), 4) == 6
    assert intrinsic_dimension(np.zeros(5), 10) == 0
    assert intrinsic_dimension([1.0, 1e-300], 10) == 1


def test_leading_directions_stay_within_the_rank():
    spectrum = Spectrum.of(rows_of(60, 8, 3))
    assert spectrum.leading() == spectrum.intrinsic_dimension == 3
    assert spectrum.leading(2) == 2
    assert spectrum.leading(8) == 3
    assert Spectrum.of(np.zeros((4, 3))).leading() == 0


@pytest.mark.parametrize("bad", [[1.0, -1e-3], [np.nan], [np.inf, 1.0]])
def test_bad_eigenvalues_are_named(bad):
    with pytest.raises(ValueError, match="eigenvalues must be finite and not negative"):
        intrinsic_dimension(bad, 10)


@pytest.mark.parametrize("N", [0, -3, 1.5])
def test_bad_pool_size_is_named(N):
    with pytest.raises(ValueError, match="N must be a whole number"):
        intrinsic_dimension([1.0], N)
