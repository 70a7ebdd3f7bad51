"""The one map for the pool: its variance, its blocks, its cost, and what it leaves untouched."""

import pickle
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from skmm.gradients import GradientSketch, last_parameters, sketched_gradients
from skmm.gradients import rows as rows_module
from skmm.gradients.forecast import Forecast
from skmm.gradients.tensorsketch import TensorSketch
from skmm.sketching.products import worth_forming


def mlp(width=24, classes=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(inplace=True), nn.Linear(width, classes))


def resnet_tail():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.LayerNorm(5),
    )


INPUTS = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "shape", [(), (1,), (40,), (9, 3), (40, 3), (3, 40), (40, 40), (6, 2, 3, 3)]
)
@pytest.mark.parametrize("m", [1, 7, 16, 200])
def test_factors_and_entries_are_folded_alike(rng, shape, m):
    """Every entry has one coordinate and one sign, and formed gradients meet the same map."""
    block = TensorSketch.draw(shape, m, rng=rng)
    np.testing.assert_array_equal(abs(block.matrix()).sum(1), np.ones(block.r))
    sketch = GradientSketch({"w": shape}, m, {"w": block})
    g = torch.as_tensor(rng.standard_normal((3, *shape)))
    np.testing.assert_allclose(
        sketch({"w": g}), g.reshape(3, -1).numpy() @ block.matrix(), atol=1e-12
    )


def gradient(kind, shape, m, rng):
    if kind == "one row":
        g = np.zeros(shape)
        g[0] = rng.standard_normal(shape[1])
    elif kind == "rank one":
        g = np.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1]))
    elif kind == "every m-th":
        g = np.zeros(shape)
        g[::m, ::m] = 1.0
    else:
        g = rng.standard_normal(shape)
    return g.ravel() / np.linalg.norm(g)


@pytest.mark.parametrize("kind", ["one row", "rank one", "full rank", "every m-th"])
@pytest.mark.parametrize("shape", [(12, 16), (64, 12), (12, 64), (48, 48), (100, 1)])
def test_squared_norms_are_unbiased_within_the_stated_variance(rng, kind, shape):
    """Mean 1 and the docstring's bound on the variance, each within 4 standard errors."""
    m, T = 16, 1500
    g = gradient(kind, shape, m, rng)
    norms = np.empty(T)
    for t in range(T):
        block = TensorSketch.draw(shape, m, rng=rng)
        norms[t] = np.sum(np.bincount(block.buckets, g * block.signs, minlength=m) ** 2)
    centred = (norms - 1) ** 2
    bound = 2 / (m - 1) * (1 + sum(side > m for side in shape)) * (1 + 1 / (m - 1))
    assert abs(norms.mean() - 1) < 4 * np.sqrt(bound / T)
    assert centred.mean() < bound + 4 * centred.std() / np.sqrt(T)


def test_a_residual_on_one_class_is_sketched_isometrically(rng):
    """One row of a matrix with at most m columns is permuted and signed: nothing is lost."""
    block = TensorSketch.draw((50, 30), 32, rng=rng)
    rows = block.matrix().reshape(50, 30, 32)[17]
    np.testing.assert_array_equal(rows @ rows.T, np.eye(30))


def test_parameters_sketch_to_the_sum_of_their_blocks(rng):
    """The sketch of a concatenation is the sum of its parts' sketches, by blocks of one map."""
    model = mlp()
    sketch = GradientSketch.draw(model, 16, rng=0)
    g = {name: torch.as_tensor(rng.standard_normal((3, *s))) for name, s in sketch.shapes.items()}
    flat = torch.cat([block.flatten(1) for block in g.values()], dim=1).numpy()
    np.testing.assert_allclose(sketch(g), flat @ sketch.matrix(), atol=1e-12)
    alone = [
        GradientSketch({name: shape}, 16, {name: sketch.maps[name]})({name: g[name]})
        for name, shape in sketch.shapes.items()
    ]
    np.testing.assert_allclose(sum(alone), sketch(g), atol=1e-12)


@pytest.mark.parametrize("kind", ["tensor", "gaussian", "sparse-sign"])
def test_a_pickled_map_is_the_same_map(kind):
    model = mlp()
    sketch = GradientSketch.draw(model, 16, sketch=kind, rng=0)
    rows = sketched_gradients(model, [INPUTS], sketch=sketch, rng=0)
    again = sketched_gradients(model, [INPUTS], sketch=pickle.loads(pickle.dumps(sketch)), rng=0)
    np.testing.assert_array_equal(rows, again)


def test_the_seed_draws_the_map_and_the_labels():
    model = mlp()
    rows, again, other = (sketched_gradients(model, [INPUTS], m=16, rng=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(rows, again)
    assert not np.allclose(rows, other)


class Largest(TorchDispatchMode):
    """Watches for the largest tensor that any operation makes."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out._base is None:
            self.entries = max(self.entries, out.numel())
        return out


@pytest.mark.parametrize(("kind", "grows"), [("tensor", False), ("sparse-sign", True)])
def test_memory_does_not_grow_with_r(kind, grows):
    """No tensor of a batch comes near B r; the largest are the two gradients that are checked."""
    model, B = mlp(width=300, classes=200), 32
    sketch = GradientSketch.draw(model, 32, sketch=kind, last=1, rng=0)
    with Largest() as seen:
        sketched_gradients(model, [torch.randn(B, 8)], sketch=sketch, rng=0)
    assert (seen.entries > 2 * sketch.r) == grows


@pytest.mark.parametrize(
    ("last", "modules"),
    [(1, {"6", "7"}), (2, {"3", "4", "6", "7"}), (3, {"0", "1", "3", "4", "6", "7"})],
)
def test_last_layers_bring_their_normalisation(last, modules):
    names = last_parameters(resnet_tail(), last)
    assert {name.split(".")[0] for name in names} == modules


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_given_back_as_it_was(fails):
    """Modes, flags, buffers, gradients and hooks, whether the run ends well or not."""
    model = resnet_tail().train()
    model[1].eval()
    model[3].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(6, 3, 5, 5)
    batches = [(x, torch.zeros(6).long()), (x, torch.full((6,), 9 if fails else 0))]
    outcome = pytest.raises(ValueError, match="got 9 at sample 6") if fails else nullcontext()
    with outcome:
        sketched_gradients(model, batches, m=8, labels="true", rng=0)
    assert [module.training for module in model] == [True, False] + [True] * 6
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["3.weight"]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_inference_mode_around_it_does_not_matter():
    model = mlp()
    rows = sketched_gradients(model, [INPUTS], m=16, rng=0)
    with torch.inference_mode():
        np.testing.assert_array_equal(sketched_gradients(model, [INPUTS], m=16, rng=0), rows)


def test_data_loaders_and_tensors_give_the_same_rows():
    model, y = mlp(), torch.arange(40) % 5
    options = dict(m=16, labels="pseudo", rng=0)
    rows = sketched_gradients(model, INPUTS.split(8), **options)
    for dataset in (TensorDataset(INPUTS), TensorDataset(INPUTS.double(), y)):
        loader = DataLoader(dataset, batch_size=8)
        np.testing.assert_array_equal(sketched_gradients(model, loader, **options), rows)


class Noisy(nn.Module):
    """Drops out in eval mode too."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 6)

    def forward(self, x):
        return self.body(nn.functional.dropout(x))


class Partly(nn.Module):
    """Registers a head last that its outputs do not come from."""

    def __init__(self):
        super().__init__()
        self.body, self.aux = nn.Linear(8, 6), nn.Linear(8, 3)

    def forward(self, x):
        return self.body(x)


def test_parameters_that_the_outputs_do_not_depend_on_are_named():
    with pytest.warns(UserWarning, match=r"do not depend on aux\.weight, aux\.bias"):
        rows = sketched_gradients(Partly(), INPUTS.split(16), m=16, last=2, rng=0)
    assert (rows != 0).any(1).all()


def broken_at(i):
    x = INPUTS.clone()
    x[i] = torch.nan
    return x.split(16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(parameters=["2.wieght"]), r"'2.wieght'.*closest: .*2\.weight"),
        (dict(parameters=["2.weight", "2.weight"]), "once"),
        (dict(parameters=[]), "non-empty"),
        (dict(parameters=["2.weight"], last=1), "either parameters or last"),
        (dict(last=3), "at most the model's 2 layers, got last=3"),
        (dict(m=0), "got m=0"),
        (dict(m=None), "got m=None"),
        (dict(m=10**6, sketch="gaussian"), "m=1000000"),
        (dict(sketch="fft"), "sketch must be one of .*'fft'"),
        (dict(dtype="float16"), "dtype must be one of .*'float16'"),
        (dict(first=-1), "first=-1"),
        (dict(batches=[]), "batches is empty"),
        (dict(batches=[INPUTS[:0]]), "batches is empty"),
        (dict(batches=None), "got NoneType"),
        (dict(batches=TensorDataset(INPUTS)), "got TensorDataset; pass a DataLoader"),
        (dict(parameters=5), "non-empty list of names, got 5"),
        (dict(model=nn.Linear(8, 1)), "needs two outputs or more, got C=1"),
        (dict(model=Noisy()), "the same again for the same inputs"),
        (dict(batches=INPUTS), r"one array of shape \[40, 8\]"),
        (dict(batches=[{"x": [1.0, 2.0]}]), "must yield tensors"),
        (dict(batches={"x": INPUTS}), "one mapping of x"),
        (dict(batches=[{"x": INPUTS, "mask": INPUTS[1:]}]), "got lengths x: 40, mask: 39"),
        (dict(batches=[{"labels": INPUTS}]), "an entry that the model takes, got labels only"),
        (dict(loss=3), "loss must be a name or a function"),
        (dict(loss="causal-lm"), "mappings with input_ids for this loss, got Tensor"),
        (dict(loss="masked-lm", labels="random"), "labels must be 'true', or left out"),
        (dict(loss=lambda f, batch: f), r"one number a sample, shape \[2\], got \[2, 5\]"),
        (dict(parameters=["9.*"]), "which no parameter matches"),
        (dict(batches=broken_at(0)), "sample 0 has NaN"),
        (dict(batches=broken_at(21)), "sample 21 has NaN"),
        (dict(batches=broken_at(21), first=100), "sample 121 has NaN"),
        (dict(model=nn.ReLU()), "no parameters"),
        (dict(model="resnet18"), "must be a torch.nn.Module, got str"),
        (dict(model=nn.Sequential(nn.Linear(8, 6), nn.Unflatten(1, (2, 3)))), r"got \[2, 2, 3\]"),
        (
            dict(
                model=nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6, track_running_stats=False))
            ),
            "layer '1' has no running statistics",
        ),
    ],
)
def test_bad_input_is_named(options, message):
    options = dict(model=mlp(), batches=INPUTS.split(16), m=16, last=None, rng=0) | options
    if options["last"] is None and "parameters" not in options:
        options["last"] = 1
    with pytest.raises(ValueError, match=message):
        sketched_gradients(options.pop("model"), options.pop("batches"), **options)


def test_a_map_for_another_model_is_refused():
    sketch = GradientSketch.draw(mlp(width=24), 16, rng=0)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \[24, 8\].*\[25, 8\]"):
        sketched_gradients(mlp(width=25), [INPUTS], sketch=sketch, rng=0)
    with pytest.raises(ValueError, match=r"drawn already.*m=8"):
        sketched_gradients(mlp(), [INPUTS], sketch=sketch, m=8, rng=0)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \[B, 24, 8\], got none"):
        sketch({})


@pytest.mark.parametrize("P", [1, 30])
def test_rows_are_the_same_whether_products_are_formed(monkeypatch, P):
    model = nn.Linear(24, 20)
    sketch = GradientSketch.draw(model, 16, parameters=["weight"], rng=0)
    g = torch.Generator().manual_seed(0)
    delta, a = torch.randn(3, 1, 20, P, generator=g), torch.randn(3, 1, 24, P, generator=g)
    rows = []
    for formed in (True, False):
        monkeypatch.setattr(rows_module, "worth_forming", lambda *_, formed=formed: formed)
        into = sketch.collector(dtype=torch.float32, device=torch.device("cpu")).start(3)
        into.add_outer("weight", delta, a)
        rows.append(into.rows())
    torch.testing.assert_close(*rows, atol=1e-4, rtol=1e-4)


def test_a_wide_layer_is_never_formed():
    """However many its positions: a product of matrices would outgrow all else that it costs."""
    assert worth_forming(64, 64, 1000, 512)
    assert not worth_forming(64, 64, 1, 512)
    assert not any(worth_forming(2048, 2048, P, 512) for P in (1, 1000, 100_000))


def test_two_batches_tell_how_long_the_others_take(capfd):
    """The first, which waits for the plan, does not count; without a length nothing is said."""
    seconds = iter([100.0, 103.0])
    forecast = Forecast(12, torch.device("cpu"), clock=lambda: next(seconds))
    told = [forecast.done(10**9) for _ in range(4)]
    assert told[0] is told[2] is told[3] is None
    words = re.fullmatch(r"gradients: about 30 s left, (\S+) GB at the peak", told[1])
    assert 24 < float(words[1]) < 34  # twelve batches of 1 GB twice, and this process
    sketched_gradients(mlp(), INPUTS.split(8), m=16, rng=0, progress=True)
    assert "gradients: about 0 s left" in capfd.readouterr().err
    sketched_gradients(mlp(), iter(INPUTS.split(8)), m=16, rng=0, progress=True)
    assert "left," not in capfd.readouterr().err
