"""Finetuning over a frozen trunk: one function folded or not, no leaks, one result for one seed."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from skmm.gradients import last_parameters, sketched_gradients
from skmm.numerics.streams import as_generator
from skmm.training.probing import probe_scores
from skmm_study.training.finetuning import Recipe, classifier_of, finetune, pooled_inputs
from skmm_study.training.tails import TRUNKS, PointwiseTail, tail_of
from skmm_study.vision.backbones import load_backbone

C, SIDE = 4, 3


def small_tail(channels=6, width=10, *, dtype=torch.float32):
    """A tail like MobileNetV2's, with normalisation statistics that are not trivial."""
    draw = torch.Generator().manual_seed(0)
    convolution, norm = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
    tail = PointwiseTail(nn.Sequential(convolution, norm, nn.ReLU6()), nn.Linear(width, C))
    with torch.no_grad():
        for p in tail.parameters():
            p.copy_(torch.randn(p.shape, generator=draw))
        norm.running_mean.normal_(generator=draw)
        norm.running_var.uniform_(0.5, 2, generator=draw)
        norm.weight.mul_(3)  # so that both bounds of ReLU6 are met
    return tail.eval().to(dtype)


@pytest.fixture(scope="module")
def data():
    """Activations whose class is in their mean over positions, in half precision."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % C
    centres = 2 * rng.standard_normal((C, 6))
    noise = rng.standard_normal((120, 6, SIDE, SIDE))
    return (centres[labels][:, :, None, None] + noise).astype(np.float16), labels


def state(tail):
    return {name: value.clone() for name, value in tail.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_folded_tail_is_the_tail():
    """Values and gradients of all parameters, in double precision, with all three pieces met."""
    x = torch.randn(5, 6, SIDE, SIDE, dtype=torch.float64, generator=torch.manual_seed(0))
    tails = small_tail(dtype=torch.float64), small_tail(dtype=torch.float64)
    hidden = tails[0].layer(x)
    assert 0 < (hidden == 0).double().mean() < 1
    assert 0 < (hidden == 6).double().mean() < 1
    outputs = tails[0](x), tails[1].folded(x)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    for output in outputs:
        output.square().sum().backward()
    for p, q in zip(*(tail.parameters() for tail in tails), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("last", [1, 2])
def test_only_the_last_layers_change(data, last):
    """The tail given stays as it is; statistics of batch normalisation are frozen."""
    tail = small_tail()
    before = state(tail)
    trained = finetune(tail, *data, rng=0, last=last, recipe=Recipe(epochs=2))
    assert not changed(before, tail.state_dict())
    assert changed(before, trained.tail.state_dict()) == set(last_parameters(tail, last))


def test_same_seed_same_tail_whatever_torch_does(data):
    """No global generator is read or moved."""
    tail, recipe = small_tail(), Recipe(epochs=2)
    before = torch.get_rng_state()
    first = finetune(tail, *data, rng=3, recipe=recipe)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    second = finetune(tail, *data, rng=3, recipe=recipe)
    assert not changed(first.tail.state_dict(), second.tail.state_dict())
    other = finetune(tail, *data, rng=4, recipe=recipe)
    assert changed(first.tail.state_dict(), other.tail.state_dict())


def test_training_learns(data):
    rows, labels = data
    accuracy = {}
    for rate in (1e-12, 3e-2):
        trained = finetune(small_tail(), rows[:80], labels[:80], rng=0, recipe=Recipe(rate=rate))
        accuracy[rate] = probe_scores(trained, rows[80:], labels[80:]).accuracy
    assert accuracy[3e-2] > accuracy[1e-12] + 0.3


def test_held_out_rows_are_stepped_on_by_none(data):
    """Their labels move the accuracy that is watched, and no parameter."""
    rows, labels = data[0], np.zeros(120, dtype=np.int64)
    split_rng, _ = as_generator(5, "finetune").spawn(2)
    held_out = split_rng.permutation(120)[:12]
    other = labels.copy()
    other[held_out] = 1
    recipe = Recipe(epochs=3, patience=3)
    pair = [finetune(small_tail(), rows, y, rng=5, recipe=recipe) for y in (labels, other)]
    assert pair[0].accuracies.sum() != pair[1].accuracies.sum()
    pair = [
        finetune(small_tail(), rows, y, rng=5, recipe=Recipe(epochs=1)) for y in (labels, other)
    ]
    assert not changed(*(trained.tail.state_dict() for trained in pair))


def test_last_of_the_best_epochs_is_kept(data):
    """The parameters returned are those whose held-out accuracy is the best one."""
    rows, labels = data
    trained = finetune(small_tail(), rows, labels, rng=2, recipe=Recipe(epochs=6, rate=3e-2))
    split_rng, _ = as_generator(2, "finetune").spawn(2)
    held_out = np.sort(split_rng.permutation(120)[:12])
    accuracy = np.mean(trained.predict(rows[held_out]) == labels[held_out])
    assert accuracy == pytest.approx(trained.accuracies.max())
    assert trained.accuracies[trained.epoch - 1] == trained.accuracies.max()
    assert (trained.accuracies[trained.epoch :] < trained.accuracies.max()).all()


def test_nothing_held_out_trains_on_all_rows_to_the_end(data):
    """Every label moves a parameter; the last epoch's are kept; a single row will do."""
    rows, labels = data[0][:20], data[1][:20]
    recipe = Recipe(epochs=3, patience=1, held_out=0.0)
    trained = finetune(small_tail(), rows, labels, rng=0, recipe=recipe)
    assert trained.epoch == len(trained.accuracies) == 3
    assert np.isnan(trained.accuracies).all()
    for row in range(len(rows)):
        others = np.where(np.arange(len(rows)) == row, (labels + 1) % C, labels)
        other = finetune(small_tail(), rows, others, rng=0, recipe=recipe)
        assert changed(trained.tail.state_dict(), other.tail.state_dict())
    assert finetune(small_tail(), rows[:1], labels[:1], rng=0, recipe=recipe).epoch == 3
    with pytest.raises(ValueError, match="n must be"):
        finetune(small_tail(), rows[:1], labels[:1], rng=0)


def test_patience_ends_training(data):
    rows, labels = data
    shuffled = np.random.default_rng(0).permutation(labels)
    recipe = Recipe(epochs=60, patience=2, rate=1e-2)
    trained = finetune(small_tail(), rows, shuffled, rng=0, recipe=recipe)
    ran = len(trained.accuracies)
    assert ran < 60
    assert ran - trained.epoch == recipe.patience


def test_classifier_alone_trains_on_pooled_inputs(data):
    """Training the head over activations is training it on what enters it, in single precision."""
    tail = small_tail()
    recipe = Recipe(epochs=2)
    whole = finetune(tail, *data, rng=0, last=1, recipe=recipe)
    head = finetune(tail.fc, pooled_inputs(tail, data[0]), data[1], rng=0, last=1, recipe=recipe)
    torch.testing.assert_close(whole.tail.fc.weight, head.tail.weight, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(whole.accuracies, head.accuracies)


class Backwards(nn.Module):
    """Registers its classifier first and under a name of its own."""

    def __init__(self):
        super().__init__()
        self.logits, self.hidden = nn.Linear(10, C), nn.Linear(6, 10)

    def forward(self, x):
        """Logits."""
        return self.logits(torch.relu(self.hidden(x)))


CLASSIFIERS = {
    "2": lambda: nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, C)),
    "head.1": lambda: nn.Sequential(
        OrderedDict(body=nn.Linear(6, 10), head=nn.Sequential(nn.ReLU(), nn.Linear(10, C)))
    ),
    "logits": Backwards,
    "": lambda: nn.Linear(6, C),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_is_what_makes_the_outputs(name, rng):
    """Whatever it is called, wherever it is registered: on its inputs, it is the tail."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tail = CLASSIFIERS[name]()
    rows = rng.standard_normal((300, 6)).astype(np.float32)
    before = state(tail)
    assert classifier_of(tail, rows) == name
    inputs = pooled_inputs(tail, rows)
    with torch.inference_mode():
        outputs = tail.get_submodule(name)(torch.from_numpy(inputs))
        torch.testing.assert_close(outputs, tail(torch.from_numpy(rows)))
    assert not changed(before, tail.state_dict())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tail.modules())


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (
            nn.Sequential(nn.Linear(6, C), nn.Softmax(1)),
            "got a Sequential whose linear layers are 0;",
        ),
        (nn.Sequential(nn.Conv2d(6, C, 1), nn.Flatten()), "linear layers are none; put"),
    ],
)
def test_tail_without_a_classifier_is_refused(tail, words):
    """Its outputs are no inputs of a classifier, and are not passed off as such."""
    with pytest.raises(ValueError, match=words):
        pooled_inputs(tail, np.zeros((3, 6, 1, 1) if "Conv" in str(tail) else (3, 6)))


@pytest.mark.parametrize("name", TRUNKS)
def test_tail_on_trunk_is_the_network(name):
    """What the hook catches below, fed to the tail, gives the network's pooled features."""
    backbone = load_backbone(name, weights="random", size=64, rng=0)
    before = state(backbone.network)
    tail = tail_of(backbone, C, rng=1)
    caught = []
    layer = backbone.network.get_submodule(TRUNKS[name])
    handle = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    images = torch.randn(3, 3, 64, 64, generator=torch.manual_seed(0))
    with torch.inference_mode():
        features = backbone.network(images)
    handle.remove()
    pooled = pooled_inputs(tail, caught[0])
    np.testing.assert_allclose(pooled, features, rtol=1e-4, atol=1e-5 * features.abs().max())
    assert len(last_parameters(tail, 2)) in (4, 5)
    trained = finetune(tail, caught[0], [0, 1, 2], rng=0, recipe=Recipe(epochs=1))
    assert trained.predict(caught[0]).shape == (3,)
    assert not changed(before, backbone.network.state_dict())


def test_new_classifier_starts_at_zero_or_drawn():
    backbone = load_backbone("resnet18", weights="random", size=64, rng=0)
    before = torch.get_rng_state()
    assert not tail_of(backbone, C).fc.weight.any()
    drawn = tail_of(backbone, C, rng=1).fc.weight
    assert torch.equal(drawn, tail_of(backbone, C, rng=1).fc.weight)
    assert torch.equal(before, torch.get_rng_state())
    # The sample variance of k normals of variance 1/r has a relative error of sqrt(2/k).
    k, r = drawn.numel(), drawn.shape[1]
    assert abs(r * drawn.var().item() - 1) < 4 * np.sqrt(2 / k)


def test_tail_has_closed_form_gradients(data):
    """Its layers are hooked one by one: sketched rows equal those of per-sample backpropagation."""
    tail = small_tail(dtype=torch.float64)
    x = torch.from_numpy(data[0][:5]).double()
    knobs = {"m": 16, "last": 2, "labels": "pseudo", "rng": 0, "dtype": "float64"}
    rows = sketched_gradients(tail, [x], **knobs)
    one = [sketched_gradients(tail, [x[i : i + 1]], **knobs) for i in range(5)]
    np.testing.assert_allclose(rows, np.concatenate(one), rtol=1e-9, atol=1e-12)


def test_autocast_changes_rounding_alone(data):
    """The products are in bfloat16, whose 8 bits leave predictions of separated classes alone."""
    rows, labels = data
    exact, mixed = (
        finetune(small_tail(), rows[:80], labels[:80], rng=0, autocast=autocast)
        for autocast in (False, True)
    )
    assert {p.dtype for p in mixed.tail.parameters()} == {torch.float32}
    assert np.mean(exact.predict(rows) == mixed.predict(rows)) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activations": np.zeros((120, 6, SIDE, SIDE), dtype=np.int64)}, "must be floats"),
        ({"activations": np.zeros(120)}, "one row a sample"),
        ({"labels": np.zeros(7, dtype=np.int64)}, "labels must be N=120"),
        ({"labels": np.full(120, -1)}, "labels must be at least 0"),
        ({"last": 3}, "last must be at most the model's 2 layers"),
        ({"activations": np.full((120, 6, SIDE, SIDE), np.nan)}, "look for NaN"),
    ],
)
def test_bad_arguments_are_refused(data, arguments, words):
    given = {"activations": data[0], "labels": data[1]} | arguments
    activations, labels = given.pop("activations"), given.pop("labels")
    with pytest.raises(ValueError, match=words):
        finetune(small_tail(), activations, labels, rng=0, **given)


@pytest.mark.parametrize(
    "knobs", [{"epochs": 0}, {"rate": 0}, {"held_out": 1.0}, {"smoothing": 1.0}, {"decay": -1}]
)
def test_bad_recipes_are_refused(knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        Recipe(**knobs)


def test_backbone_without_a_tail_is_refused():
    backbone = load_backbone("resnet18", weights="random", size=64, rng=0)
    other = type(backbone)(**(vars(backbone) | {"name": "clip_vit_b32"}))
    with pytest.raises(ValueError, match="backbone must be one of mobilenet_v2"):
        tail_of(other, C)
