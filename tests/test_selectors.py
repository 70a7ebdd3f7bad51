"""Laws that every selector obeys, whatever it is after."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from threadpoolctl import threadpool_limits

from methods import METHODS
from skmm import SELECTORS, as_generator, select
from skmm.selection.selectors.moments import CRITERIA
from skmm_study.report.catalogue import catalogue

N, R, C = 60, 7, 4
# Of ActiveFT a few steps of its 300: more of the same, at a quarter of all selectors' time.
VARIANTS = [(name, {"steps": 60} if name == "active_ft" else {}) for name in METHODS]
VARIANTS += [("skmm_paper", {"rounding": "top"}), ("skmm_paper", {"solver": "recipe", "steps": 3})]
VARIANTS += [("skmm", {"criterion": c}) for c in CRITERIA[1:]]
VARIANTS += [
    ("skmm", {"criterion": "full", "metric": x, "mean": True}) for x in ("raw", "whitened")
]
VARIANTS += [
    ("skmm", {"criterion": "balanced"} | knobs)
    for knobs in ({"sigma": 0.5}, {"weight": 0.0}, {"weight": 3.0, "metric": "raw", "sigma": 2.0})
]
VARIANTS += [
    (name, {"metric": x})
    for name, x in (
        ("adaptive", "raw"),
        ("facility_location", "raw"),
        ("facility_location", "centred"),
        ("herding", "raw"),
        ("herding", "centred"),
        ("herding_farthest", "unit"),
        ("k_center", "raw"),
        ("k_means", "raw"),
        ("k_means", "centred"),
        ("leverage", "unit"),
        ("ridge_leverage", "centred"),
    )
]
VARIANTS += [
    ("max_herding", {"metric": x, "sigma": s}) for x, s in (("raw", 0.5), ("centred", 2.0))
]
VARIANTS += [
    ("active_ft", {"metric": "centred", "steps": 40}),
    ("covariance_matching", {"metric": "raw", "rank": 3}),
    ("prob_cover", {"metric": "raw"}),
    ("sensitivity", {"metric": "raw", "clusters": 1}),
    ("typiclust", {"metric": "centred", "cap": 3, "neighbours": 4}),
]


def _name(variant):
    return "-".join([variant[0], *map(str, variant[1].values())])


every_selector = pytest.mark.parametrize("variant", VARIANTS, ids=_name)
RANKED = ("deepfool", "el2n", "entropy", "grand", "least_confidence", "margin")
"""Methods that take the largest scores: only equal ones are drawn by the seed."""

in_any_order = pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if SELECTORS[v[0]].deterministic or v[0] in RANKED], ids=_name
)


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def signals(method, N, order=slice(None)):
    """What a method needs beyond features, drawn for N samples and put in ``order``."""
    rng = np.random.default_rng(11)
    logits = 2 * rng.standard_normal((N, C))
    drawn = {
        "labels": rng.integers(0, C, N)[order],
        "logits": logits[order],
        "probabilities": _softmax(logits)[order],
        "early_probabilities": _softmax(np.stack([logits / 3, logits / 2]))[:, order],
        "correctness": (rng.random((6, N)) < 0.6)[:, order],
        "weights": rng.standard_normal((C, 5)),
    }
    return {need: drawn[need] for need in SELECTORS[method].needs}


LABELS = np.arange(N) % C
SATURATED = {
    "labels": LABELS,
    "logits": 40.0 * np.eye(C)[LABELS],
    "probabilities": np.eye(C)[LABELS],
    "early_probabilities": np.eye(C)[LABELS],
    "correctness": np.ones((6, N), bool),
    "weights": np.eye(C),
}
"""What a model says that is certain of every sample, and right."""


def choose(variant, features, n, *, rng=3, order=slice(None)):
    method, knobs = variant
    needed = signals(method, features.shape[0], order)
    return select(features, n, method=method, rng=rng, **needed, **knobs).indices


@pytest.fixture
def features(rng):
    return rng.standard_normal((N, R)) * np.geomspace(3, 0.1, R) + 0.5


def _pools():
    rng = np.random.default_rng(5)
    some = rng.standard_normal((12, 4))
    return {
        "generic": some,
        "wide": rng.standard_normal((9, 40)),
        "one column": some[:, :1],
        "one row": some[:1],
        "one number": some[:1, :1],
        "zero rows": np.where(np.arange(12)[:, None] % 3, 0.0, some),
        "all zero": np.zeros((8, 3)),
        "constant column": np.column_stack([some, np.ones(12)]),
        "constant": np.full((8, 3), 0.1),
        "duplicates": np.repeat(some[:3], 4, axis=0),
        "low rank": some[:, :2] @ rng.standard_normal((2, 10)),
        "single precision": some.astype(np.float32),
        "huge": 1e100 * some,
        "tiny": 1e-100 * some,
    }


@every_selector
@pytest.mark.parametrize(("pool", "features"), _pools().items(), ids=_pools())
def test_subset_is_n_distinct_samples(variant, pool, features):
    """For any pool and any budget from 1 to N."""
    size = len(features)
    for n in sorted({1, (size + 1) // 2, size}):
        indices = choose(variant, features, n)
        assert indices.shape == (n,)
        assert indices.dtype.kind == "i"
        assert np.all((indices >= 0) & (indices < size))
        assert len(np.unique(indices)) == n


@every_selector
def test_same_seed_same_subset(variant, features):
    """A seed is as good as the generator of its stream."""
    one = choose(variant, features, 11, rng=8)
    np.testing.assert_array_equal(one, choose(variant, features, 11, rng=8))
    generator = as_generator(8, "select")
    np.testing.assert_array_equal(one, choose(variant, features, 11, rng=generator))


@every_selector
def test_seed_matters_unless_deterministic(variant, features):
    """Of five seeds, at least two differ; or none, if the registry says so.

    Descents may end in the same minimum wherever they start, so of theirs nothing is asked. The
    model that scores come from is certain and right, as if trained for long: all scores are equal.
    """
    method, knobs = variant
    knobs = knobs | {need: SATURATED[need] for need in signals(method, N)}
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    made = [select(features, 11, method=method, rng=seed, **knobs) for seed in range(5)]
    subsets = {tuple(sorted(one.indices)) for one in made}
    if not made[0].drawn:
        assert len(subsets) == 1
    if SELECTORS[variant[0]].deterministic:
        assert not made[0].drawn
        assert len(subsets) == 1
    elif variant[0] != "skmm":
        assert len(subsets) > 1


@every_selector
def test_global_randomness_is_neither_used_nor_touched(variant, features):
    subsets = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
        subsets.append(choose(variant, features, 11))
        np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(*subsets)


def _read_only(array):
    array.flags.writeable = False
    return array


LAYOUTS = {
    "read-only": _read_only,
    "Fortran": np.asfortranarray,
    "strided": lambda array: np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "big-endian": lambda array: array.astype(">f8"),
    "tensor": torch.from_numpy,
    "tensor with gradient": lambda array: torch.from_numpy(array).requires_grad_(),
    "sparse rows": scipy.sparse.csr_array,
    "sparse columns": scipy.sparse.csc_matrix,
}


@every_selector
def test_layout_does_not_matter(variant, features):
    """The same numbers give the same subset, and are left as they are."""
    before = features.copy()
    expected = choose(variant, features, 11)
    np.testing.assert_array_equal(features, before)
    for layout, lay_out in LAYOUTS.items():
        laid_out = lay_out(features.copy())
        np.testing.assert_array_equal(choose(variant, laid_out, 11), expected, layout)
        after = laid_out.toarray() if scipy.sparse.issparse(laid_out) else laid_out
        after = after.detach().numpy() if isinstance(after, torch.Tensor) else after
        np.testing.assert_array_equal(after, before, layout)


@every_selector
def test_signals_are_left_as_they_are(variant, features):
    method, knobs = variant
    given = signals(method, N)
    for value in given.values():
        value.flags.writeable = False
    select(features, 11, method=method, rng=3, **given, **knobs)
    for name, value in signals(method, N).items():
        np.testing.assert_array_equal(given[name], value)


@every_selector
@pytest.mark.parametrize("kind", ["int8", "uint8", "bool", "int64", "float16"])
def test_kind_of_number_does_not_matter(variant, kind, rng):
    """Whole numbers and half precision are what they are in double precision."""
    features = rng.integers(-3, 4, (N, R)).astype(kind)
    expected = choose(variant, features.astype(np.float64), 11)
    np.testing.assert_array_equal(choose(variant, features, 11), expected)


@every_selector
def test_half_precision_does_not_overflow(variant, features):
    """Entries near 65504, the largest half-precision number, are squared and summed."""
    large = (features * 60000 / np.abs(features).max()).astype(np.float16)
    expected = choose(variant, large.astype(np.float64), 11)
    np.testing.assert_array_equal(choose(variant, large, 11), expected)
    assert len(np.unique(choose(variant, torch.from_numpy(large), 11))) == 11


@in_any_order
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_permuted_pool_permuted_answer(variant, kind, rng, features):
    """Where a sample stands in the pool is no reason to take it."""
    features = features.astype(kind)
    order = rng.permutation(N)
    moved = choose(variant, features[order], 11, order=order)
    np.testing.assert_array_equal(order[moved], choose(variant, features, 11))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("n", [3, 20, 35])
def test_matching_takes_no_row_of_zeros_while_others_are_left(criterion, n, rng):
    """They carry nothing to learn from, though a short row may bring the moments nearer."""
    features = rng.standard_normal((40, 30))
    empty = rng.permutation(40)[:10]
    features[empty] = 0.0
    indices = select(features, n, rng=0, criterion=criterion).indices
    assert np.isin(indices, empty).sum() == max(0, n - 30)


@every_selector
@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20, 2.0**-900, 2.0**900])
def test_unit_of_features_does_not_matter(variant, scale, features):
    """All features times one constant: a power of two, so that no rounding differs."""
    expected = choose(variant, features, 11)
    np.testing.assert_array_equal(choose(variant, scale * features, 11), expected)


@every_selector
def test_number_of_threads_does_not_matter(variant, rng):
    """On products large enough for a BLAS to split them."""
    features = rng.standard_normal((300, 64)) * np.geomspace(1, 0.05, 64)
    subsets = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            subsets.append(choose(variant, features, 20))
    np.testing.assert_array_equal(*subsets)


@pytest.mark.parametrize(
    ("method", "need"),
    [(name, need) for name, one in SELECTORS.items() for need in one.needs],
)
@pytest.mark.parametrize("value", ["missing", "short", "text"])
def test_bad_signals_are_named(method, need, value, features):
    """What a method needs is asked for by name, and told apart from what does not fit."""
    given = signals(method, N)
    given[need] = {
        "missing": None,
        "short": given[need][:, :-1] if given[need].shape[1:2] == (N,) else given[need][:-1],
        "text": np.full(given[need].shape, "a"),
    }[value]
    with pytest.raises(ValueError, match=rf"^{need} must .*got"):
        select(features, 5, method=method, rng=0, **given)


@pytest.mark.parametrize(
    ("method", "need"),
    [(name, need) for name, one in SELECTORS.items() for need in one.needs if "prob" in need],
)
@pytest.mark.parametrize("fault", ["logits", "negative", "one class", "infinite"])
def test_what_is_no_distribution_is_refused(method, need, fault, features):
    given = signals(method, N)
    p = given[need]
    if fault == "logits":
        p[:] = np.log(p)
    elif fault == "one class":
        given[need] = p[..., :1]
    else:
        p[..., 4, 1] = {"negative": -2.0, "infinite": np.inf}[fault]
    with pytest.raises(ValueError, match=rf"^{need} must"):
        select(features, 5, method=method, rng=0, **given)


@pytest.mark.parametrize("method", ["el2n", "grand", "glister"])
@pytest.mark.parametrize("label", [-1, C])
def test_labels_without_a_column_are_refused(method, label, features):
    given = signals(method, N)
    given["labels"][7] = label
    with pytest.raises(ValueError, match=rf"labels must be in \[0, {C - 1}\].*{label}"):
        select(features, 5, method=method, rng=0, **given)


@pytest.mark.parametrize(
    ("method", "knob", "value"),
    [
        ("leverage", "rank", 0),
        ("leverage", "rank", R + 1),
        ("ridge_leverage", "rank", 2.5),
        ("facility_location", "metric", "cosine"),
        ("glister", "validation_share", 1.5),
        ("glister", "validation_share", 0),
        ("glister", "step", -1.0),
        ("glister", "updates", 0),
        ("active_ft", "steps", -1),
        ("active_ft", "temperature", 0.0),
        ("covariance_matching", "rank", 0),
        ("k_medoids", "metric", "row"),
        ("leverage", "metric", None),
        ("prob_cover", "clusters", N + 1),
        ("prob_cover", "delta", -1.0),
        ("sensitivity", "clusters", 0),
        ("typiclust", "cap", 0),
        ("typiclust", "neighbours", 0),
        ("kernel_herding", "metric", 3),
        ("log_det", "ridge", 0.0),
        ("log_det", "ridge", 1e-9),
        ("max_herding", "sigma", -1.0),
        ("skmm", "criterion", "best"),
        ("skmm", "metric", ""),
        ("skmm_paper", "rounding", "up"),
        ("skmm_paper", "solver", "adam"),
        ("skmm_paper", "slack", 0),
        ("skmm_paper", "steps", -1),
        ("skmm", "slack", -1.0),
        ("skmm", "slack", 1e-300),
        ("skmm", "mean", "no"),
        ("skmm", "sigma", 0.0),
        ("skmm", "sigma", np.inf),
        ("skmm", "sigma", "wide"),
        ("skmm", "weight", -1.0),
        ("skmm", "weight", np.nan),
        ("skmm", "weight", "heavy"),
    ],
)
def test_bad_knobs_are_named(method, knob, value, features):
    with pytest.raises(ValueError, match=rf"{knob} must .*{value}"):
        select(features, 5, method=method, rng=0, **signals(method, N), **{knob: value})


@pytest.mark.parametrize("pool", ["tall", "wide", "equal rows"])
@pytest.mark.parametrize("method", [name for name, one in SELECTORS.items() if one.nested])
def test_nested_subsets_are_nested(method, pool, rng):
    """The first n of a larger subset are the subset of n: what lets a curve cost one selection."""
    rows = rng.standard_normal((N, 90 if pool == "wide" else 9))
    knobs = signals(method, N)
    if pool == "equal rows":
        rows, knobs = np.ones((N, 9)), {need: SATURATED[need] for need in knobs}
    large = select(rows, 40, method=method, rng=1, **knobs).indices
    for n in (1, 2, 7, 39):
        indices = select(rows, n, method=method, rng=1, **knobs).indices
        np.testing.assert_array_equal(indices, large[:n])


@pytest.mark.parametrize("name", SELECTORS)
def test_registry_says_what_a_user_must_know(name):
    """The needs are knobs; label, cost, reference and docstring are there."""
    one = SELECTORS[name]
    assert one.label
    assert one.cost
    assert one.reference
    assert one.summary.endswith(".")
    assert set(one.needs) <= set(one.knobs)


def test_page_of_selectors_is_up_to_date():
    page = Path(__file__).parents[1] / "SELECTORS.md"
    hint = "run python -m skmm_study.report.catalogue > SELECTORS.md"
    assert page.read_text(encoding="utf-8") == catalogue(), hint
