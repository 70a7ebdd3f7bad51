"""A study: subsets as `select` gives them, kept by all they depend on; scores paired by seed."""

import mmap
import sqlite3
from contextlib import closing
from dataclasses import asdict, astuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from methods import METHODS
from skmm.selection.select import select
from skmm.selection.selectors import SELECTORS
from skmm.training.probing import LinearProbe, probe_scores
from skmm_study.storage import code
from skmm_study.training.finetuning import Recipe
from skmm_study.training.proxies import first_model, training_history
from skmm_study.trials import selections
from skmm_study.trials.costs import metered
from skmm_study.trials.evaluations import run_finetuning, run_probes
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.selections import class_coverage, run_selections
from skmm_study.trials.subsets import WeightedSubset

C, BUDGETS, SEEDS = 4, (6, 12), (3, 1)


@pytest.fixture(scope="module")
def data():
    """Pool and test rows of four classes, one direction each, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % C
    rows = (3 * np.eye(C, 8)[labels] + rng.standard_normal((120, 8))).astype(np.float32)
    return rows[:80], labels[:80], rows[80:], labels[80:]


def choose(data, folder, methods, **knobs):
    knobs = {"seeds": SEEDS, "initial": 20} | knobs
    return run_selections(*data[:2], methods, BUDGETS, folder=folder, **knobs)


@pytest.mark.parametrize("method", METHODS)
def test_every_selector_gets_what_it_needs(data, tmp_path, method):
    subsets, costs = choose(data, tmp_path, [method])
    assert list(subsets) == [(method, n, seed) for n in BUDGETS for seed in SEEDS]
    for (_, n, _), S in subsets.items():
        assert len(np.unique(S)) == n
    assert list(costs) == ["method", "n", "seed", "seconds", "peak_mb"]
    assert (costs["seconds"] > 0).all()
    if not SELECTORS[method].needs:
        for (_, n, seed), S in subsets.items():
            np.testing.assert_array_equal(S, select(data[0], n, method=method, rng=seed).indices)


def test_nested_methods_select_once(data, tmp_path):
    """A curve costs one selection a seed; one in all if nothing is drawn."""
    nested = [name for name, chosen in SELECTORS.items() if chosen.nested]
    _, costs = choose(data, tmp_path, nested)
    assert set(costs["n"]) == {max(BUDGETS)}
    made = costs.groupby("method").size()
    once = [name for name in nested if SELECTORS[name].deterministic]
    assert {"herding", "max_herding"} <= set(once)
    assert (made[once] == 1).all()
    assert (made.drop(once) == len(SEEDS)).all()


def test_deterministic_methods_select_for_one_seed(data, tmp_path):
    """Where nothing is drawn, all seeds share the subset of a budget, as if each had selected."""
    subsets, costs = choose(data, tmp_path, ["k_medoids"])
    assert not SELECTORS["k_medoids"].nested
    assert sorted(costs["n"]) == sorted(BUDGETS)
    for (_, n, seed), S in subsets.items():
        again = select(data[0], n, method="k_medoids", rng=seed).indices
        np.testing.assert_array_equal(S, again)


@pytest.mark.parametrize(("criterion", "repeats"), [("balanced", 1), ("full", len(SEEDS))])
def test_a_method_that_drew_nothing_is_not_asked_again(data, tmp_path, criterion, repeats):
    """Whether it draws is up to its knobs, so that the first selection has to tell."""
    knobs = {"methods": {"skmm": {"criterion": criterion}}}
    subsets, costs = choose(data, tmp_path, **knobs)
    assert len(costs) == repeats * len(BUDGETS)
    for (_, n, seed), S in subsets.items():
        alone = select(data[0], n, criterion=criterion, rng=seed)
        np.testing.assert_array_equal(S, alone.indices)
        assert alone.drawn == (repeats > 1)


def test_labels_reach_only_methods_that_need_them(data, tmp_path):
    free = [name for name in METHODS if not SELECTORS[name].needs]
    shuffled = np.random.default_rng(0).permutation(data[1])
    given, other = (choose((data[0], labels), tmp_path, free)[0] for labels in (data[1], shuffled))
    for at, S in given.items():
        np.testing.assert_array_equal(S, other[at])


@pytest.fixture
def counted(monkeypatch):
    """The methods that were selected with, one entry a call."""
    calls = []

    def counting(features, n, *, method, **knobs):
        calls.append(method)
        return select(features, n, method=method, **knobs)

    monkeypatch.setattr(selections.skmm.selection.select, "select", counting)
    return calls


def test_selections_on_disk_are_not_repeated(data, tmp_path, counted):
    """A changed knob costs its own method, changed features cost all."""
    methods = {"uniform": {}, "skmm": {"criterion": "full"}}
    first, _ = choose(data, tmp_path, methods)
    assert len(counted) == 8
    again, _ = choose(data, tmp_path, methods)
    assert len(counted) == 8
    assert all(np.array_equal(first[at], again[at]) for at in first)
    choose(data, tmp_path, methods | {"skmm": {"criterion": "fourth"}})
    assert counted[8:] == ["skmm"] * 4
    choose((data[0] + 1, data[1]), tmp_path, methods)
    assert len(counted) == 20


def test_probes_are_those_of_the_library(data, tmp_path):
    subsets, _ = choose(data, tmp_path, ["uniform", "skmm"])
    results = run_probes(*data, subsets, folder=tmp_path).results
    assert list(results)[:5] == ["method", "n", "seed", "accuracy", "macro_f1"]
    assert len(results) == len(subsets)
    row = results[(results["method"] == "skmm") & (results["seed"] == 1)].iloc[0]
    S, rng = np.sort(subsets["skmm", row["n"], 1]), evaluation_rng(1)
    probe = LinearProbe.fit(data[0][S], data[1][S], rng=rng)
    scores = asdict(probe_scores(probe, *data[2:]))
    assert row[["accuracy", "macro_f1"]].to_dict() == scores


def test_weights_of_a_method_are_kept(data, tmp_path):
    """In memory and from the disk, in the order of the indices; a method without has none."""
    for _ in range(2):
        subsets, _ = choose(data, tmp_path, ["sensitivity", "uniform"])
        for (method, n, seed), S in subsets.items():
            chosen = select(data[0], n, method=method, rng=seed)
            assert isinstance(S, WeightedSubset) == (method == "sensitivity")
            np.testing.assert_array_equal(S, chosen.indices)
            assert class_coverage(data[1], {(method, n, seed): S})["coverage"][0] > 0
            if method == "sensitivity":
                np.testing.assert_array_equal(S.weights, chosen.weights)


def test_probes_are_weighted_where_the_subset_is(data, tmp_path):
    """Rows and weights stay aligned; the same rows without weights, or with others, score anew."""
    rng = np.random.default_rng(4)
    data = [part + 2 * rng.standard_normal(part.shape) if part.ndim == 2 else part for part in data]
    indices, scores = rng.permutation(80)[:30], []
    masses = rng.exponential(size=30) ** 4 + 1e-3
    for weights in (None, masses, masses[::-1]):
        S = indices if weights is None else WeightedSubset(indices, weights / weights.sum())
        results = run_probes(*data, {("some", 30, 1): S}, folder=tmp_path).results
        order = np.argsort(indices)
        in_order = None if weights is None else weights[order]
        X, y = (part[indices[order]] for part in data[:2])
        probe = LinearProbe.fit(X, y, rng=evaluation_rng(1), weights=in_order)
        scores.append(tuple(results.loc[0, ["accuracy", "macro_f1"]]))
        assert scores[-1] == astuple(probe_scores(probe, *data[2:]))
    assert len(set(scores)) == 3


def test_scores_belong_to_the_subset_not_to_its_name(data, tmp_path):
    """The same rows in another order, under any name, have the same score."""
    subsets, _ = choose(data, tmp_path, ["uniform"])
    same = {("other", n, seed): S[::-1] for (_, n, seed), S in subsets.items()}
    results = run_probes(*data, {**subsets, **same}, folder=tmp_path).results
    parts = [part.drop(columns="method").reset_index(drop=True) for _, part in
             results.groupby("method")]  # fmt: skip
    pd.testing.assert_frame_equal(*parts)


@pytest.mark.parametrize("last", [1, 2])
def test_tails_are_finetuned_on_every_subset(data, tmp_path, last):
    torch.manual_seed(0)
    tail = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    tail.add_module("fc", nn.Linear(16, C))
    subsets, _ = choose(data, tmp_path, ["uniform"])
    recipe = Recipe(epochs=4, rate=3e-2)
    runs = [
        run_finetuning(tail, *data, subsets, folder=tmp_path / where, last=last, recipe=recipe)
        for where in ("a", "a", "b")
    ]
    for other in runs[1:]:
        pd.testing.assert_frame_equal(runs[0].results, other.results)
    pd.testing.assert_frame_equal(runs[0].costs, runs[1].costs)
    assert list(runs[0].results) == ["method", "n", "seed", "accuracy", "macro_f1", "epoch"]
    assert runs[0].results["accuracy"].mean() > 1 / C


class Net(nn.Module):
    """Fixed features under an activation, and a classifier."""

    def __init__(self, act, scale=1.0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer, self.fc = nn.Linear(8, 16), nn.Linear(16, C)
        self.act, self.scale = act, scale

    def forward(self, x):
        """Logits."""
        return self.fc(self.act(self.scale * self.layer(x)))


@pytest.mark.parametrize("last", [1, 2])
@pytest.mark.parametrize("other", [Net(nn.Softsign()), Net(torch.sigmoid), Net(nn.ReLU(), 0.01)])
def test_networks_of_equal_weights_do_not_share_a_score(data, tmp_path, other, last):
    """What one network scored is not reported for another whose function differs."""
    subsets, _ = choose(data, tmp_path, ["uniform"])
    nets = Net(nn.ReLU()), other
    for p, q in zip(*(net.state_dict().values() for net in nets), strict=True):
        assert torch.equal(p, q)
    knobs = {"last": last, "recipe": Recipe(epochs=2)}
    run_finetuning(nets[0], *data, subsets, folder=tmp_path / "shared", **knobs)
    shared, alone = (
        run_finetuning(nets[1], *data, subsets, folder=tmp_path / where, **knobs).results
        for where in ("shared", "alone")
    )
    pd.testing.assert_frame_equal(shared, alone)


EVALUATIONS, SELECTIONS = "skmm_study.trials.evaluations", "skmm_study.trials.selections"
TRAINING, PROXIES = "skmm_study.training.finetuning", "skmm_study.training.proxies"


@pytest.mark.parametrize(
    ("run", "module", "matters"),
    [
        *(("probes", name, True) for name in (EVALUATIONS, "skmm.training.probing")),
        *(("probes", name, False) for name in (TRAINING, SELECTIONS)),
        *(
            ("finetuning", name, True)
            for name in (EVALUATIONS, TRAINING, "skmm.gradients.parameters")
        ),
        *(("selections", name, True) for name in (SELECTIONS, "skmm.selection.select")),
        *(("selections", name, False) for name in (PROXIES, "skmm.selection.selectors.moments")),
    ],
)
def test_changed_code_measures_again(data, tmp_path, monkeypatch, run, module, matters):
    """The code of what measures and all behind it is in the key, and no other's."""
    subsets, _ = choose(data, tmp_path / "before", ["uniform"])
    runs = {
        "probes": lambda folder: run_probes(*data, subsets, folder=folder),
        "finetuning": lambda folder: run_finetuning(
            Net(nn.ReLU()), *data, subsets, folder=folder, recipe=Recipe(epochs=1)
        ),
        "selections": lambda folder: choose(data, folder, ["uniform"]),
    }
    runs[run](tmp_path / "rows")
    read = code._source

    def edited(name):
        source, package = read(name)
        return source + "\nchanged = True" * (name == module), package

    monkeypatch.setattr(code, "_source", edited)
    runs[run](tmp_path / "rows")
    kept = 0
    for path in (tmp_path / "rows").rglob("cells.sqlite"):
        with closing(sqlite3.connect(path)) as database:
            kept += database.execute("SELECT count(*) FROM cells").fetchone()[0]
    assert kept == (2 if matters else 1) * len(subsets)


def test_first_model_sees_its_labels_alone(data):
    rows, labels = data[:2]
    model = first_model(rows, labels, initial=20, rng=0)
    other = labels.copy()
    rest = np.setdiff1d(np.arange(80), model.initial)
    other[rest] = (labels[rest] + 1) % C
    again = first_model(rows, other, initial=20, rng=0)
    np.testing.assert_array_equal(model.probabilities, again.probabilities)
    assert len(np.unique(model.initial)) == 20
    np.testing.assert_allclose(model.probabilities.sum(1), 1, rtol=1e-12)


def test_first_model_agrees_with_itself(data):
    """Probabilities are the softmax of the logits; logits are affine in the rows by the weights."""
    rows, labels = data[:2]
    model = first_model(rows, labels, initial=20, rng=0)
    np.testing.assert_array_equal(model.probabilities.argmax(1), model.logits.argmax(1))
    offset = model.logits - rows @ model.weights.T
    np.testing.assert_allclose(offset, np.tile(offset[0], (80, 1)), atol=1e-4)


def test_classes_without_an_initial_label_have_probability_zero(data):
    rows, labels = data[0], np.where(data[1] == 3, 0, data[1])
    labels[0] = 3
    model = next(
        m for m in (first_model(rows, labels, initial=20, rng=k) for k in range(9))
        if 0 not in m.initial
    )  # fmt: skip
    assert model.probabilities.shape == (80, C)
    assert not model.probabilities[:, 3].any()
    assert model.logits.shape[1] == len(model.weights) == 3


def test_history_learns_and_is_drawn_by_rng(data):
    rows, labels = data[:2]
    history = training_history(rows, labels, rng=0, epochs=200)
    assert history.correctness.shape == (200, 80)
    assert history.correctness[-1].mean() > max(0.8, history.correctness[0].mean())
    assert history.early_probabilities.shape == (3, 80, C)
    np.testing.assert_allclose(history.early_probabilities.sum(2), 1, rtol=1e-5)
    again, other = (training_history(rows, labels, rng=k, epochs=3) for k in (0, 1))
    np.testing.assert_array_equal(history.early_probabilities, again.early_probabilities)
    assert not np.array_equal(again.early_probabilities, other.early_probabilities)


def test_bad_proxies_are_refused(data):
    with pytest.raises(ValueError, match=r"n must be a whole number in \[1, 80\], got n=81"):
        first_model(*data[:2], initial=81, rng=0)
    with pytest.raises(ValueError, match="initial=1 rows are all of class"):
        first_model(*data[:2], initial=1, rng=0)
    with pytest.raises(ValueError, match="forgetting takes two epochs"):
        training_history(*data[:2], rng=0, epochs=1)


def test_coverage_counts_classes():
    labels = np.array([0, 0, 1, 2, 2, 2])
    subsets = {("a", 2, 0): np.array([0, 1]), ("a", 3, 0): np.array([0, 2, 5])}
    table = class_coverage(labels, subsets)
    assert table["coverage"].tolist() == [1 / 3, 1.0]
    assert table["largest"].tolist() == [2, 1]


def test_peak_memory_is_that_of_the_block():
    """40 MB touched and freed are seen, and not again in the next block."""
    # Pages of their own: an array may get memory that the process holds already.
    with metered() as costs, mmap.mmap(-1, 40_000_000) as pages:
        for page in range(0, len(pages), mmap.PAGESIZE):
            pages[page] = 1
    with metered() as after:
        pass
    if np.isnan(costs.peak_mb):
        pytest.skip("this system does not tell a process's peak memory")
    assert 39 < costs.peak_mb < 60
    assert after.peak_mb < 20
    assert costs.seconds > 0
