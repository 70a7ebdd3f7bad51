"""Every step of the default selection counts: without it, what it serves is worse.

Each step is replaced by its input on ten pools; the subset must differ, and what the step is there
for must be worse, on at least eight. A step that fails this is no step and goes: the relaxed
moment-matching program went, for no subset changed.
"""

from functools import partial

import numpy as np
import pytest

from skmm import (
    Combination,
    SecondMoment,
    Spectrum,
    VOptimality,
    as_generator,
    exchange,
    select,
    v_optimality,
)
from skmm_study.pools.synthetic import gaussian_mixture

TRIALS = range(10)
N_MIX, N_LOW = 600, 1500


def mixed_pool(trial):
    """Features of no low dimension: clusters of unequal size and length above a tail."""
    knobs = {"norm_ratio": 4.0 + trial, "tail_energy": 0.05 + 0.03 * trial}
    return gaussian_mixture(N_MIX, 64, 6 + trial, rng=trial, **knobs).features


def low_pool(trial):
    """Features on 20 to 56 directions of several laws; the sketch is large enough to see it."""
    rng, K = np.random.default_rng(trial), 20 + 4 * trial
    laws = [
        lambda: rng.standard_normal((N_LOW, K)),
        lambda: rng.standard_t(4, (N_LOW, K)),
        lambda: np.abs(rng.standard_normal((N_LOW, K))) + 0.3,
        lambda: rng.standard_normal((N_LOW, K)) * np.exp(0.5 * rng.standard_normal((N_LOW, 1))),
        lambda: rng.uniform(-1, 1, (N_LOW, K)) ** 3,
    ]
    factors = laws[trial % 5]() * np.geomspace(1, 0.3, K)
    noise = 1e-4 * rng.standard_normal((N_LOW, 128))
    return factors @ rng.standard_normal((K, 128)) + noise, 3 * K + 10


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def combined(rows, n):
    """The combined criterion as its definition states it, on unit rows; and its two terms."""
    rows = unit(rows)
    spectrum = Spectrum.of(rows)
    k = max(1, min(spectrum.intrinsic_dimension, n // 3, 64))
    terms = SecondMoment(rows, n), VOptimality(spectrum.whiten(rows, k), n)
    return Combination([(1.0, terms[0]), (1 - k / n, terms[1])]), *terms


def value(criterion, indices):
    criterion.start(indices)
    return criterion.value()


def worse(served, with_step, without):
    """Whether the subsets differ, and what the step serves is worse without it."""
    differ = set(with_step.tolist()) != set(without.tolist())
    return differ and served(without) > served(with_step) + 1e-9


def test_the_criterion_is_what_its_definition_says():
    rows, n = mixed_pool(0), 40
    selection = select(rows, n, rng=0)
    assert selection.settings == "criterion combined, metric row"
    assert selection.objective == pytest.approx(value(combined(rows, n)[0], selection.indices))


def without_step(step, rows, n, trial):
    """What the combined match chooses if one of its steps passes its input on."""
    start = np.random.default_rng(trial).choice(N_MIX, n, replace=False)
    if step == "exchange":
        return start
    if step == "second moment":
        return exchange(combined(rows, n)[2], start).indices
    knobs = {
        "unit rows": {"criterion": "combined", "metric": "raw"},
        "variance": {"criterion": "full"},
    }
    return select(rows, n, rng=trial, **knobs[step]).indices


@pytest.mark.parametrize("step", ["exchange", "unit rows", "second moment", "variance"])
def test_step_of_the_combined_match_counts(step):
    counts, n = 0, 40
    for trial in TRIALS:
        rows = mixed_pool(trial)
        whole, moment, variance = combined(rows, n)
        serves = {"second moment": moment, "variance": variance}.get(step, whole)
        chosen = select(rows, n, rng=trial).indices
        counts += worse(partial(value, serves), chosen, without_step(step, rows, n, trial))
    assert counts >= 8


@pytest.mark.parametrize("step", ["exchange", "relaxed design", "choice of the criterion"])
def test_step_of_v_optimality_counts(step):
    """Where the pool has low dimension.

    The relaxed design is compared with the median of three random starts. At dimensions of 6 to 10
    it counts in 2 pools of 10 only, for all starts end in one minimum, after more swaps.
    """
    counts = 0
    for trial in TRIALS:
        rows, n = low_pool(trial)
        spectrum = Spectrum.of(rows)
        k = spectrum.intrinsic_dimension
        whitened = spectrum.whiten(rows, k)
        selection = select(rows, n, rng=trial)
        assert selection.settings == "criterion v-optimal, metric raw"
        assert selection.lower_bound <= selection.objective

        def served(S, whitened=whitened, n=n):
            weights = np.bincount(S, minlength=N_LOW) / n
            return v_optimality(whitened, weights)

        rng = np.random.default_rng(trial)
        starts = [rng.choice(N_LOW, n, replace=False) for _ in range(3)]
        if step == "exchange":
            without = starts[0]
        elif step == "relaxed design":
            ends = [exchange(VOptimality(whitened, n), start).indices for start in starts]
            without = sorted(ends, key=served)[1]
        else:
            without = select(rows, n, rng=trial, criterion="combined").indices
        counts += worse(served, selection.indices, without)
    assert counts >= 8


def test_leaving_rows_of_zeros_out_counts():
    """Without the rule, descent on the same criterion takes rows that carry nothing."""
    counts, n = 0, 20
    for trial in TRIALS:
        rows = np.random.default_rng(trial).standard_normal((200, 40))
        rows[::2] = 0.0
        chosen = select(rows, n, rng=trial, criterion="full").indices
        rows[1::2] = unit(rows[1::2])
        start = np.random.default_rng(trial).choice(200, n, replace=False)
        without = exchange(SecondMoment(rows, n), start).indices
        assert not np.any(chosen % 2 == 0)
        counts += np.any(without % 2 == 0)
    assert counts >= 8


def test_several_starts_on_small_pools_count():
    """A single descent, from the first of them, ends higher; the best of all is what is taken."""
    counts, n = 0, 20
    for trial in TRIALS:
        rows = unit(np.random.default_rng(trial).standard_normal((100, 10)))
        moment = SecondMoment(rows, n)
        chosen = select(rows, n, rng=trial, criterion="full")
        draws = as_generator(trial, "select").spawn(2)[1]
        ends = [exchange(moment, draws.choice(100, n, replace=False)) for _ in range(32)]
        assert chosen.objective == pytest.approx(min(end.value for end in ends), abs=1e-9)
        counts += worse(partial(value, moment), chosen.indices, ends[0].indices)
    assert counts >= 8
