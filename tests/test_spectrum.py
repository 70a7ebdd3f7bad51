"""The spectrum of a second moment and its intrinsic dimension, against dense formulas."""

import numpy as np
import pytest

from skmm.spectrum import Spectrum, intrinsic_dimension
from skmm_study import gaussian_mixture


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


def having(eigenvalues, N=1000):
    """A spectrum of given eigenvalues."""
    return Spectrum(np.asarray(eigenvalues, dtype=float), np.eye(len(eigenvalues)), N)


KNOWN = {
    "a flat rest": ([4.0] * 3 + [1.0] * 37, 3),
    "no rest at all": ([4.0] * 3 + [0.0] * 37, 3),
    "two falls": ([64.0, 8.0, 8.0] + [1.0] * 39, 3),
    "no second fall": ([64.0, 8.0, 8.0] + [5.0] * 39, 1),
    "one short of a factor": ([1.9] * 3 + [1.0] * 37, 0),
    "all equal": ([1.0] * 48, 0),
    "past the half": ([4.0] * 36 + [1.0] * 34, 0),
    "a rest that is not flat": ([20.0, 7.0] + [1.0] * 4 + [0.01] * 40, 6),
    "a rest that one direction leads": ([30.0, 10.0] + [5.2] + [0.01] * 60, 3),
    "a rest of 31, too short to be flat": ([4.0] * 3 + [1.0] * 31, 0),
    "a rest of 32": ([4.0] * 3 + [1.0] * 32, 3),
    "zero": ([0.0] * 6, 0),
    "one direction": ([1.0], 0),
}


@pytest.mark.parametrize(("eigenvalues", "elbow"), KNOWN.values(), ids=KNOWN)
def test_elbow_of_known_spectra(eigenvalues, elbow):
    assert having(eigenvalues).elbow == elbow


def test_elbow_by_its_definition():
    """The largest k of all that pass, tried one by one."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        m = rng.integers(30, 80)
        lam = np.sort(np.exp(rng.uniform(0, 6) * rng.standard_normal(m)))[::-1]
        passing = [0]
        for k in range(1, min(m // 2, m - 32) + 1):
            if lam[k - 1] >= 2 * lam[k] and lam[k] <= 6 * np.mean(lam[k:]):
                passing.append(k)
        assert having(lam).elbow == max(passing)
        seen.add(max(passing))
    assert len(seen) > 5


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("m", [16, 32, 64, 128, 512])
def test_power_laws_have_no_elbow(m, exponent):
    """What falls steadily has no rest: after a steep fall the next eigenvalue leads the others."""
    assert having(np.arange(1.0, m + 1) ** -exponent).elbow == 0


@pytest.mark.parametrize("shape", [(64, 64), (300, 64), (2000, 32)])
def test_isotropic_noise_has_no_elbow(shape):
    for seed in range(5):
        rows = np.random.default_rng(seed).standard_normal(shape)
        assert Spectrum.of(rows).elbow == 0


@pytest.mark.parametrize("tail", [1e-4, 3e-3, 3e-2])
@pytest.mark.parametrize("K", [3, 8])
def test_elbow_of_a_mixture_counts_its_clusters(K, tail):
    """Whatever the tail holds, and in any unit; the intrinsic dimension counts noise at 3 %."""
    for seed in range(4):
        G = gaussian_mixture(600, 128, K, rng=seed, tail_energy=tail).features
        spectrum = Spectrum.of(G)
        assert spectrum.elbow == K
        assert Spectrum.of(1e-20 * G).elbow == Spectrum.of(1e20 * G).elbow == K
        assert (spectrum.intrinsic_dimension > 2 * K) == (tail > 1 / 600)
        assert spectrum.tail_share(K) == pytest.approx(tail, rel=0.3)


def test_tail_share_is_the_trace_that_is_left():
    lam = np.sort(np.random.default_rng(1).random(12))[::-1]
    shares = [having(lam).tail_share(k) for k in range(13)]
    expected = [1 - sum(lam[:k]) / sum(lam) for k in range(13)]
    np.testing.assert_allclose(shares, expected, atol=1e-14)
    assert having(1e30 * lam).tail_share(4) == pytest.approx(shares[4])
    assert having(np.zeros(5)).tail_share(2) == 0.0


@pytest.mark.parametrize("bad", [[1.0, -1e-3], [np.nan], [np.inf, 1.0]])
def test_bad_eigenvalues_are_named(bad):
    with pytest.raises(ValueError, match=r"eigenvalues must (be finite|not be negative), got"):
        intrinsic_dimension(bad, 10)


@pytest.mark.parametrize("N", [0, -3, 1.5])
def test_bad_pool_size_is_named(N):
    with pytest.raises(ValueError, match="N must be a whole number"):
        intrinsic_dimension([1.0], N)
