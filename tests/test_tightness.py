"""Theorem 2.2 over random problems: never violated, and the sampler is what it says."""

import numpy as np
import pytest

from skmm_study.theory.tightness import sample_tightness


def test_bound_holds_in_every_random_problem():
    """No ratio exceeds 1, whichever subspace P projects on."""
    found = sample_tightness(400, rng=0)
    assert len(found.leading) == len(found.arbitrary) == 400
    assert found.leading.min() > 0
    assert found.leading.max() <= 1
    assert found.arbitrary.max() <= 1


def test_leading_subspace_is_no_worse_than_the_whole_range():
    """With one direction to choose from, both kinds of P are the same projector."""
    found = sample_tightness(400, rng=1, largest=6)
    one = found.rank == 1
    assert one.sum() > 20
    np.testing.assert_allclose(found.leading[one], found.arbitrary[one], rtol=1e-9)


def test_problems_are_of_every_kind():
    """Rank below n (fewer features than samples) and rank n both occur; a seed fixes all."""
    found = sample_tightness(200, rng=2)
    assert (found.rank <= found.n).all()
    assert 0 < np.mean(found.rank == found.n) < 1
    np.testing.assert_array_equal(found.leading, sample_tightness(200, rng=2).leading)


@pytest.mark.parametrize(
    ("change", "named"), [({"cases": 0}, "cases"), ({"largest": 1}, "largest")]
)
def test_bad_counts_are_named(change, named):
    with pytest.raises(ValueError, match=named):
        sample_tightness(**({"cases": 2, "rng": 0} | change))
