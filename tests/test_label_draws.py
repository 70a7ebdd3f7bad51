"""The factorial of label draws: levels as named, no label looked at that is not said."""

import numpy as np
import pytest

from skmm.numerics.streams import as_generator
from skmm_study.storage.arrays import ArrayCache
from skmm_study.training.finetuning import Recipe, pooled_inputs
from skmm_study.training.tails import pointwise_tail
from skmm_study.trials.label_draws import (
    CRITERIA,
    HEADS,
    INPUTS,
    LABELS,
    ROWS,
    gradient_rows,
    head_of,
    run_label_draws,
    single_changes,
    transformed,
    ways,
)

N, C = 60, 4


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % C
    centres = rng.standard_normal((C, 6))
    noise = rng.standard_normal((N, 6, 2, 2))
    return (centres[labels][:, :, None, None] + noise).astype(np.float16), labels


@pytest.fixture(scope="module")
def tail():
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((12, 6)).astype(np.float32)
    return pointwise_tail(weight, rng.standard_normal(12).astype(np.float32), C)


def test_ways_are_all_combinations():
    cells = ways(HEADS, LABELS, ROWS, CRITERIA)
    assert len(set(cells)) == len(HEADS) * len(LABELS) * len(ROWS) * len(CRITERIA)
    assert len({cell.name for cell in cells}) == len(cells)


def test_single_changes_leave_all_other_factors():
    cells = ways(["zero", "random"], ["own 1", "shared", "expected"], ["raw", "unit"], ["balanced"])
    pairs = single_changes(cells, "labels", "own 1")
    named = {cell.name: cell for cell in cells}
    assert len(pairs) == 2 * 2 * 2  # two other labels, at each head and rows
    for before, after in ((named[a], named[b]) for a, b in pairs.values()):
        assert before.labels == "own 1" != after.labels
        assert (before.head, before.rows) == (after.head, after.rows)
    assert single_changes(cells, "criterion", "balanced") == {}
    with pytest.raises(ValueError, match="level must be"):
        single_changes(cells, "rows", "centred")


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((["none"], ["own 1"], ["raw"], ["diagonal"]), "heads"),
        ((["zero"], ["own"], ["raw"], ["diagonal"]), "labels"),
        ((["zero"], ["own 1"], ["standardised"], ["diagonal"]), "rows"),
        ((["zero"], ["own 1"], ["raw"], ["best"]), "criteria"),
        ((["zero"], [INPUTS], ["raw"], ["diagonal"]), "heads"),
    ],
)
def test_unknown_levels_are_refused(levels, words):
    with pytest.raises(ValueError, match=f"{words} must be"):
        ways(*levels)


@pytest.mark.parametrize("name", HEADS)
def test_heads_look_at_few_labels_or_none(data, tail, name):
    """Other labels of the rows that are not looked at change no head; all of them, one."""
    inputs, initial = pooled_inputs(tail, data[0]), 12
    looked_at = np.zeros(N, dtype=bool)
    if name == "few labels":
        drawn = as_generator(2, "head few labels").choice(N, initial, replace=False)
        looked_at[drawn] = True
    others = np.where(looked_at, data[1], (data[1] + 1) % C)
    heads = [head_of(name, tail, inputs, y, seed=2, initial=initial) for y in (data[1], others)]
    weights = [head.fc.weight.detach().numpy() for head in heads]
    np.testing.assert_array_equal(*weights)
    assert weights[0].any() == (name != "zero")
    assert not tail.fc.weight.any()  # the tail given stays as it is


def test_heads_differ_by_seed(data, tail):
    inputs = pooled_inputs(tail, data[0])
    for name in ("random", "clusters", "few labels"):
        pair = [head_of(name, tail, inputs, data[1], seed=s, initial=12).fc.weight for s in (0, 1)]
        assert not np.array_equal(*(weight.detach().numpy() for weight in pair))


def test_rows_as_named(rng):
    rows = rng.standard_normal((30, 5)) * [1, 2, 3, 4, 5] + 7
    np.testing.assert_array_equal(transformed(rows, "raw"), rows)
    assert np.allclose(transformed(rows, "centred").mean(0), 0, atol=1e-12)
    columns = transformed(rows, "standardised")
    assert np.allclose(columns.std(0), 1)
    assert np.allclose(columns.mean(0), 0, atol=1e-12)


def test_gradients_are_made_once(data, tail, tmp_path, monkeypatch):
    knobs = {"m": 16, "seed": 0, "cache": ArrayCache(tmp_path)}
    first = gradient_rows(tail, data[0], **knobs)
    monkeypatch.setattr("skmm_study.trials.label_draws.LabelGradients.of", None)
    second = gradient_rows(tail, data[0], **knobs)
    assert list(first) == list(second) == list(LABELS)
    for name, rows in first.items():
        assert rows.shape == (N, 16)
        np.testing.assert_array_equal(rows, second[name])


def test_factorial_is_one_table(data, tail, tmp_path):
    """A row a way, budget and draw of uniform; gains are over the mean of the uniform draws."""
    cells = ways(["zero"], ["own 1", "shared"], ["unit", "centred"], ["balanced"])
    cells += ways(["-"], [INPUTS], ["standardised"], ["balanced"])
    knobs = {"folder": tmp_path, "m": 12, "uniform": 2, "recipe": Recipe(epochs=1)}
    table = run_label_draws(tail, *data, *data, cells, [8, 16], seed=0, **knobs)
    assert len(table) == 2 * (len(cells) + 2)
    assert set(table["method"]) == {cell.name for cell in cells} | {"uniform"}
    for _, part in table.groupby("n"):
        chance = part.loc[part["method"] == "uniform", "accuracy"].mean()
        np.testing.assert_allclose(part["gain"], part["accuracy"] - chance)
    of_inputs = table[table["labels"] == INPUTS]
    assert set(of_inputs["rows"]) == {"standardised"}
    assert set(of_inputs["head"]) == {"-"}
