"""The label rules: residuals in closed form against autograd, and the Fisher information."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.residuals import LABEL_RULES, ResidualRule, SampleStream

CLASSES, N = 4, 30


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, CLASSES)).double()


@pytest.fixture
def x():
    return 2 * torch.randn(N, 6, generator=torch.Generator().manual_seed(1)).double()


@pytest.fixture
def sketch(model):
    return GradientSketch.draw(model, 12, rng=2)


def loss_rows(model, x, y, sketch, loss):
    """Sketched gradients of ``loss`` at labels y by a slow loop, [N, m]."""
    rows = []
    for x_i, y_i in zip(x, y, strict=True):
        g = torch.autograd.grad(loss(model(x_i[None]), y_i[None]), list(model.parameters()))
        rows.append(torch.cat([block.flatten() for block in g]).numpy())
    return np.stack(rows) @ sketch.matrix()


def class_rows(model, x, sketch):
    """Rows at each possible label, [N, C, m]."""
    labels = (torch.full((len(x),), c) for c in range(CLASSES))
    return np.stack([loss_rows(model, x, y, sketch, F.cross_entropy) for y in labels], axis=1)


def half_square(f, y):
    return F.mse_loss(f, y, reduction="sum") / 2


def rows_at(model, batches, sketch, **options):
    return sketched_gradients(model, batches, sketch=sketch, dtype="float64", **options)


def test_pseudo_labels_are_the_predictions(model, x, sketch):
    rows = rows_at(model, [x], sketch, labels="pseudo", rng=0)
    truth = loss_rows(model, x, model(x).argmax(1), sketch, F.cross_entropy)
    np.testing.assert_allclose(rows, truth, atol=1e-12)


def test_random_labels_are_uniform_classes(model, x, sketch):
    """Each row is that of some class, and T draws hit each class T N / C times within 4 sigma."""
    T, candidates = 60, class_rows(model, x, sketch)
    counts = np.zeros(CLASSES)
    for seed in range(T):
        rows = rows_at(model, [x], sketch, labels="random", rng=seed)
        distance = np.abs(rows[:, None] - candidates).max(-1)
        assert (distance.min(1) < 1e-12).all()
        counts += np.bincount(distance.argmin(1), minlength=CLASSES)
    p = 1 / CLASSES
    assert (abs(counts - T * N * p) < 4 * np.sqrt(T * N * p * (1 - p))).all()


def test_fisher_rows_have_the_fisher_information(model, x, sketch):
    """The C exact rows sum to E g g^T over the model's labels, sample by sample."""
    candidates = class_rows(model, x, sketch)
    p = model(x).softmax(1).detach().numpy()
    fisher = np.einsum("nc,ncj,nck->njk", p, candidates, candidates)
    rows = rows_at(model, x.split(7), sketch, labels="fisher-exact", rng=0)
    assert rows.shape == (N, CLASSES, sketch.m)
    np.testing.assert_allclose(np.einsum("ncj,nck->njk", rows, rows), fisher, atol=1e-12)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_one_fisher_row_is_unbiased(model, x, sketch, loss):
    """The mean of T signed rows' outer products is the Fisher information, within 5 sigma."""
    T = 150
    exact = rows_at(model, [x], sketch, labels="fisher-exact", loss=loss, rng=0)
    fisher = np.einsum("ncj,nck->jk", exact, exact)
    draws = np.stack(
        [rows_at(model, [x], sketch, labels="fisher", loss=loss, rng=t) for t in range(T)]
    )
    moments = np.einsum("tnj,tnk->tjk", draws, draws)
    error = moments.std(0) / np.sqrt(T)
    assert (abs(moments.mean(0) - fisher) <= 5 * error + 1e-12).all()


def test_squared_error_at_true_labels(model, x, sketch):
    y = torch.randn(N, CLASSES).double()
    rows = rows_at(model, [(x, y)], sketch, labels="true", loss="squared-error", rng=0)
    np.testing.assert_allclose(rows, loss_rows(model, x, y, sketch, half_square), atol=1e-12)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_a_model_may_return_one_number_a_sample(x, shape):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 1), nn.Flatten(0) if len(shape) == 1 else nn.Identity())
    model, y = model.double(), torch.randn(shape).double()
    sketch = GradientSketch.draw(model, 4, last=1, rng=0)
    rows = rows_at(model, [(x, y)], sketch, labels="true", loss="squared-error", rng=0)
    truth = loss_rows(model, x, y, sketch, half_square)
    np.testing.assert_allclose(rows, truth, atol=1e-12)


def test_random_regression_labels_are_normal():
    """With y ~ N(f, I), residuals have mean 0, variance 1 and kurtosis 3 within 4 sigma."""
    rule = ResidualRule("random", "squared-error", SampleStream(0))
    z = (
        rule(torch.zeros(4000, 2, dtype=torch.float64), None, places=np.arange(4000))
        .numpy()
        .ravel()
    )
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (4, 3, 96)]:
        assert abs(np.mean(z**power) - mean) < 4 * np.sqrt(variance / z.size)


@pytest.mark.parametrize("labels", [rule for rule in LABEL_RULES if rule != "true"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_residuals_are_precise_and_sum_to_zero(labels, dtype):
    """Cross-entropy does not change when all logits move alike, so its residuals sum to zero."""
    f = 30 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    residual = ResidualRule(labels, "cross-entropy", SampleStream(0))(
        f, None, places=np.arange(len(f))
    )
    assert residual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert residual.sum(-1).abs().max() < 20 * torch.finfo(residual.dtype).eps


def test_random_numbers_belong_to_samples():
    stream = SampleStream(3)
    whole = stream.uniforms(np.arange(20), 3)
    for places in (np.arange(7, 12), np.array([4, 5, 17, 2])):
        np.testing.assert_array_equal(stream.uniforms(places, 3), whole[places])


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (None, {}, "needs batches of"),
        (torch.full((N,), CLASSES), {}, r"in \[0, 4\).*got 4 at sample 0"),
        (torch.arange(N) - 9, {"first": 5}, "got -9 at sample 5"),
        (torch.zeros(N), {}, "whole numbers.*float32"),
        (torch.zeros(N, 1).long(), {}, r"shape \[30, 1\]"),
        (torch.zeros(N, 3), {"loss": "squared-error"}, r"must have shape \[30, 4\], got \[30, 3\]"),
        (None, {"labels": "pseudo", "loss": "squared-error"}, "zero gradients"),
        (None, {"labels": "guess"}, "labels must be one of .*'guess'"),
        (None, {"loss": "hinge"}, "loss must be one of .*'hinge'"),
        (["cat"] * N, {}, "labels must be numbers.*encode classes"),
    ],
)
def test_bad_labels_are_named(model, x, sketch, y, options, message):
    batch = x if y is None else (x, y)
    with pytest.raises(ValueError, match=message):
        rows_at(model, [batch], sketch, rng=0, **({"labels": "true"} | options))
