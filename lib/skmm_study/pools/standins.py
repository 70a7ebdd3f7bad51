"""Small pools in the shape of the shipped ones, for tests: made up, or with scikit-learn."""

from __future__ import annotations

import numpy as np

from skmm_study.pools.compact import CompactPool
from skmm_study.pools.synthetic import gaussian_mixture, load_digits_pool


def stand_in_pools() -> tuple[CompactPool, CompactPool]:
    """Returns digit images, a pool of classes, and a mixture with whole-numbered targets.

    They take the place of real pools where these must not be looked at yet; see
    `skmm_study.pools.compact`.
    """
    digits = load_digits_pool(rng=0)
    classes = CompactPool(
        "Digits (stand-in)",
        digits.features.astype(np.float32),
        digits.labels,
        digits.test_features.astype(np.float32),
        digits.test_labels,
        tuple("0123456789"),
        {"stand-in": True},
    )
    mixture = gaussian_mixture(900, 32, 6, rng=0, tail_energy=0.3, noise_variance=0.1)
    rows = mixture.features.astype(np.float32)
    ages = np.rint(40 + 10 * mixture.targets).astype(np.int64)
    targets = CompactPool(
        "Mixture (stand-in)", rows[:600], ages[:600], rows[600:], ages[600:], (), {"stand-in": True}
    )
    return classes, targets
