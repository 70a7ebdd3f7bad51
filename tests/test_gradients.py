"""Sketched rows against a slow loop: for every layer, every batch size, one map."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.objectives import Outputs
from skmm.gradients.parameters import frozen
from skmm.gradients.plan import make_plan

CLASSES, M, N = 5, 32, 71

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "torch.func cannot differentiate",
        "There is a performance drop",
        "Using padding='same'",
    )
]


class Applied(nn.Module):
    """``function(layers..., x)``: for models that are no chain of layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.layers)


def image(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(CLASSES))


def tokens(*layers):
    return Applied(
        lambda x, body, head: head(body(x).mean(1)), nn.Sequential(*layers), nn.LazyLinear(CLASSES)
    )


def conv(*sizes, **options):
    return image(nn.Conv2d(*sizes, **options), nn.Tanh())


def shortcut():
    """A residual block as torchvision writes it: sums and activations in place."""
    inner = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.BatchNorm2d(12)
    block = Applied(
        lambda x, c, n1, n2: F.relu(n2(c(F.relu_(n1(x)))).add_(x), inplace=True), *inner
    )
    return image(nn.Conv2d(4, 12, 1), block)


def tied():
    a, b = nn.Linear(24, 24), nn.Linear(24, 24, bias=False)
    b.weight = a.weight
    return nn.Sequential(a, nn.Tanh(), b, nn.Linear(24, CLASSES))


class OtherNorm(nn.Module):
    """An RMSNorm as packages of models write it; some scale by ``base + weight``."""

    def __init__(self, width, base=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.base = base

    def forward(self, hidden_states):
        rms = hidden_states.pow(2).mean(-1, keepdim=True).add(1e-6).sqrt()
        return (self.base + self.weight) * (hidden_states / rms)


class Bent(OtherNorm):
    """Has the parameters of a normalisation, but is not linear in them."""

    def __init__(self, width):
        super().__init__(width)
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, hidden_states):
        return torch.tanh(super().forward(hidden_states) + self.bias)


class ChannelNorm(OtherNorm):
    """Scales channels of an image, not the last axis."""

    def forward(self, x):
        return self.weight[:, None, None] * F.normalize(x, dim=1)


class Table(nn.Module):
    """Has a matrix as a transposed linear layer has, but looks words up in it."""

    def __init__(self, words, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(words, width))

    def forward(self, x):
        return F.embedding(x, self.weight)


class Pair(OtherNorm):
    """Returns what it got too."""

    def forward(self, x):
        return super().forward(x), x


class Transposed(nn.Module):
    """A linear layer with its weight as inputs by outputs, as GPT-2 has it."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


def positions():
    """Adds one embedding of positions to all samples, as BERT does."""
    return Applied(
        lambda x, words, places, head: head(
            torch.tanh(words(x) + places(torch.arange(x.shape[1]).unsqueeze(0))).mean(1)
        ),
        nn.Embedding(11, 6),
        nn.Embedding(9, 6),
        nn.Linear(6, CLASSES),
    )


def tied_to_embedding():
    """Makes logits with the weight of the embedding, as language models do."""
    words, head = nn.Embedding(CLASSES + 6, 24), nn.Linear(24, CLASSES + 6, bias=False)
    head.weight = words.weight
    return Applied(lambda x, a, b: b(torch.tanh(a(x)).mean(1)), words, head)


def twice():
    return Applied(
        lambda x, a, b: b(torch.tanh(a(torch.tanh(a(x))))),
        nn.Linear(24, 24),
        nn.Linear(24, CLASSES),
    )


def outside():
    """Uses a layer's weight without calling the layer, and one both ways."""
    return Applied(
        lambda x, a, b, c: c(F.linear(torch.tanh(b(torch.tanh(x @ a.weight))), b.weight)),
        nn.Linear(24, 24, bias=False),
        nn.Linear(24, 24),
        nn.Linear(24, CLASSES),
    )


def attention():
    return Applied(
        lambda x, a, b: b(a(x, x, x, need_weights=False)[0].mean(1)),
        nn.MultiheadAttention(8, 2, batch_first=True),
        nn.Linear(8, CLASSES),
    )


def routed():
    """Sends some samples around a layer, as experts and early exits do."""

    def forward(x, a, head):
        on = x[:, 0] > 0
        z = x.new_zeros(len(x), 40)
        z[on] = a(x[on])
        return head(torch.tanh(z))

    return Applied(forward, nn.Linear(24, 40), nn.Linear(40, CLASSES))


def sorted_inside():
    """Reorders the batch and puts it back, as packed sequences do."""

    def forward(x, a, head):
        order = x[:, 0].argsort()
        return head(torch.tanh(a(x[order])))[order.argsort()]

    return Applied(forward, nn.Linear(24, 40), nn.Linear(40, CLASSES))


VECTORS, IMAGES, TOKENS, WORDS = (24,), (4, 5, 6), (3, 8), "words"
MODELS = {
    "linear": (lambda: nn.Linear(24, CLASSES), VECTORS),
    "mlp": (lambda: nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, CLASSES)), VECTORS),
    "routed": (routed, VECTORS),
    "sorted inside": (sorted_inside, VECTORS),
    "linear over tokens": (lambda: tokens(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 40)), TOKENS),
    "linear over a grid": (
        lambda: Applied(lambda x, a: a(x).mean((1, 2)), nn.Linear(6, CLASSES)),
        IMAGES,
    ),
    "conv": (lambda: conv(4, 7, 3), IMAGES),
    "conv 1x1": (lambda: conv(4, 7, 1, stride=2, bias=False), IMAGES),
    "conv, few positions": (lambda: conv(4, 40, 4, stride=2), IMAGES),
    "conv, stride and padding": (lambda: conv(4, 6, (3, 2), stride=(2, 1), padding=(1, 2)), IMAGES),
    "conv, dilation": (lambda: conv(4, 6, 3, dilation=2, padding=2), IMAGES),
    "conv, same": (lambda: conv(4, 6, (2, 3), padding="same", dilation=(1, 2)), IMAGES),
    "conv, circular": (lambda: conv(4, 6, 3, padding=(2, 1), padding_mode="circular"), IMAGES),
    "conv, groups": (lambda: conv(4, 6, 3, groups=2), IMAGES),
    "conv, groups, few positions": (lambda: conv(4, 48, 4, groups=2, stride=2), IMAGES),
    "conv, depthwise": (lambda: conv(4, 8, 3, groups=4, padding=1), IMAGES),
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm1d(24), nn.Linear(24, CLASSES)), VECTORS),
    "batch norm, in place": (
        lambda: image(nn.Conv2d(4, 9, 1), nn.BatchNorm2d(9), nn.ReLU6(True)),
        IMAGES,
    ),
    "shortcut": (shortcut, IMAGES),
    "tied": (tied, VECTORS),
    "called twice": (twice, VECTORS),
    "used outside the layer": (outside, VECTORS),
    "layer norm": (lambda: tokens(nn.Linear(8, 8), nn.LayerNorm(8)), TOKENS),
    "layer norm, two axes": (
        lambda: nn.Sequential(nn.LayerNorm((5, 6)), nn.Flatten(), nn.Linear(120, CLASSES)),
        IMAGES,
    ),
    "rms norm": (lambda: tokens(nn.Linear(8, 8), nn.RMSNorm(8)), TOKENS),
    "rms norm of another package": (lambda: tokens(nn.Linear(8, 8), OtherNorm(8)), TOKENS),
    "rms norm around 1": (lambda: tokens(nn.Linear(8, 8), OtherNorm(8, base=1.0)), TOKENS),
    "norm that looks like a scale": (lambda: tokens(nn.Linear(8, 8), Bent(8)), TOKENS),
    "norm of channels": (lambda: image(nn.Conv2d(4, 6, 1), ChannelNorm(6)), IMAGES),
    "norm that returns a pair": (
        lambda: Applied(lambda x, a, b: b(sum(a(x)).mean(1)), Pair(8), nn.Linear(8, CLASSES)),
        TOKENS,
    ),
    "table": (lambda: tokens(Table(11, 6)), WORDS),
    "transposed linear": (lambda: tokens(Transposed(8, 40), nn.Tanh(), Transposed(40, 9)), TOKENS),
    "group norm": (lambda: image(nn.Conv2d(4, 6, 1), nn.GroupNorm(2, 6), nn.PReLU(6)), IMAGES),
    "conv 1d": (lambda: tokens(nn.Conv1d(3, 6, 3, padding=1), nn.Tanh()), TOKENS),
    "transposed conv": (lambda: image(nn.ConvTranspose2d(4, 3, 2)), IMAGES),
    "embedding": (lambda: tokens(nn.Embedding(11, 6)), WORDS),
    "embedding, padding": (lambda: tokens(nn.Embedding(11, 6, padding_idx=3)), WORDS),
    "embedding, wide": (lambda: tokens(nn.Embedding(11, 70), nn.Linear(70, 40)), WORDS),
    "embedding, bounded norm": (lambda: tokens(nn.Embedding(11, 6, max_norm=0.5)), WORDS),
    "positions": (positions, WORDS),
    "tied to the embedding": (tied_to_embedding, WORDS),
    "attention": (attention, TOKENS),
    "gru": (
        lambda: Applied(
            lambda x, a, b: b(a(x)[0].mean(1)),
            nn.GRU(8, 4, batch_first=True),
            nn.Linear(4, CLASSES),
        ),
        TOKENS,
    ),
}


def built(name, N=N):
    """A model in double precision with statistics unlike 0 and 1, inputs and labels."""
    make, shape = MODELS[name]
    torch.manual_seed(0)
    x = (
        torch.randint(0, 11, (N, 4))
        if shape == WORDS
        else torch.randn(N, *shape, dtype=torch.float64)
    )
    model = make().double()
    model.eval()(x[:2])  # lazy layers find their width
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for buffer in (module.running_mean, module.running_var, module.weight, module.bias):
                buffer.data.uniform_(0.5, 1.5)
    return model, x, torch.randint(0, CLASSES, (N,))


def slow_gradients(model, x, y):
    """One backward pass a sample: [N, r], parameters in the model's order."""
    rows = []
    for x_i, y_i in zip(x, y, strict=True):
        loss = F.cross_entropy(model(x_i[None]), y_i[None])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows).numpy()


def relative(rows, truth):
    return np.linalg.norm(rows - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["tensor", "gaussian"])
def test_rows_are_the_sketch_of_the_gradients(name, kind):
    """Sketching from factors is the map applied to gradients of a slow loop,."""
    model, x, y = built(name)
    everything = [n for n, _ in model.named_parameters()]
    sketch = GradientSketch.draw(model, M, sketch=kind, parameters=everything, rng=1)
    batches = list(zip(x.split(64), y.split(64), strict=True))
    rows = sketched_gradients(model, batches, sketch=sketch, labels="true", rng=0, dtype="float64")
    assert relative(rows, slow_gradients(model, x, y) @ sketch.matrix()) < 1e-12


@pytest.mark.parametrize(("name", "labels"), [*((k, "random") for k in MODELS), ("mlp", "fisher")])
def test_rows_do_not_depend_on_batches(name, labels):
    """Batches of 1, 7 and 64 give the same rows, random labels and signs included."""
    model, x, _ = built(name)
    parameters = [n for n, _ in model.named_parameters()]
    one, seven, many = (
        sketched_gradients(
            model, x.split(B), m=M, parameters=parameters, labels=labels, rng=3, dtype="float64"
        )
        for B in (1, 7, 64)
    )
    np.testing.assert_allclose(one, many, atol=1e-12 * abs(many).max())
    np.testing.assert_allclose(seven, many, atol=1e-12 * abs(many).max())


@pytest.mark.parametrize("name", ["mlp", "conv, few positions", "shortcut"])
def test_single_precision_rows(name):
    """A float32 model's rows are within float32 rounding of the double precision truth."""
    model, x, y = built(name)
    sketch = GradientSketch.draw(model, M, last=2, rng=1)
    truth = sketched_gradients(
        model, [(x, y)], sketch=sketch, labels="true", rng=0, dtype="float64"
    )
    rows = sketched_gradients(model.float(), [(x, y)], sketch=sketch, labels="true", rng=0)
    assert rows.dtype == np.float32
    assert relative(rows, truth) < 20 * np.finfo(np.float32).eps


@pytest.mark.parametrize("name", ["mlp", "batch norm, in place"])
def test_autocast_stays_within_bfloat16(name):
    """Mixed precision costs the bits of bfloat16, not the direction of the gradients."""
    model, x, y = built(name)
    full, mixed = (
        sketched_gradients(model.float(), [(x, y)], m=M, labels="true", rng=0, autocast=autocast)
        for autocast in (False, True)
    )
    assert 0 < relative(mixed, full) < 10 * torch.finfo(torch.bfloat16).eps


# What has no closed form, or one that would be wrong: by torch.func, and one sample at a time.
OTHER_WAYS = {
    "used outside the layer": (["layers.0.weight", "layers.1.weight"], []),
    "norm that looks like a scale": (["layers.0.1.weight", "layers.0.1.bias"], []),
    "norm of channels": (["1.weight"], []),
    "norm that returns a pair": (["layers.0.weight"], []),
    "table": (["layers.0.0.weight"], []),
    "group norm": (["1.weight", "1.bias", "2.weight"], []),
    "routed": ([], ["layers.0.weight", "layers.0.bias"]),
    "sorted inside": ([f"layers.{k}.{w}" for k in (0, 1) for w in ("weight", "bias")], []),
    "conv 1d": (["layers.0.0.weight", "layers.0.0.bias"], []),
    "transposed conv": (["0.weight", "0.bias"], []),
    "embedding, bounded norm": ([], ["layers.0.0.weight"]),
    "attention": (
        [f"layers.0.{w}" for w in ("in_proj_weight", "in_proj_bias")]
        + [f"layers.0.out_proj.{w}" for w in ("weight", "bias")],
        [],
    ),
    "gru": ([], [f"layers.0.{w}_{h}_l0" for w in ("weight", "bias") for h in ("ih", "hh")]),
}


@pytest.mark.parametrize("name", MODELS)
def test_closed_forms_are_used_where_they_are_right(name):
    model, x, _ = built(name)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    with frozen(model, list(shapes)):
        plan = make_plan(model, Outputs(), shapes, x[:2])
    assert (plan.vmapped, plan.looped) == OTHER_WAYS.get(name, ([], []))


def test_a_layer_without_the_batch_first_is_no_closed_form():
    """Tokens first, batch second, as many tokens as samples: shapes cannot tell, the check does."""
    torch.manual_seed(0)
    model = Applied(lambda x, a: a(x.transpose(0, 1)).mean(0), nn.Linear(8, CLASSES)).double()
    x, y = torch.randn(2, 2, 8).double(), torch.tensor([1, 3])
    sketch = GradientSketch.draw(model, M, last=1, rng=1)
    rows = sketched_gradients(model, [(x, y)], sketch=sketch, labels="true", rng=0, dtype="float64")
    assert relative(rows, slow_gradients(model, x, y) @ sketch.matrix()) < 1e-12


@pytest.mark.parametrize("B", [1, 5])
def test_a_batch_routed_around_a_layer_is_no_closed_form(B):
    """The two samples that the ways are chosen on pass the layer, some of the others do not."""
    model, x, y = built("routed")
    x[:2, 0] = 1.0
    sketch = GradientSketch.draw(model, M, last=2, rng=1)
    batches = list(zip(x.split(B), y.split(B), strict=True))
    rows = sketched_gradients(model, batches, sketch=sketch, labels="true", rng=0, dtype="float64")
    gradients = slow_gradients(model, x, y)
    assert 0 < (gradients[:, : 24 * 40] == 0).all(1).sum() < N
    assert relative(rows, gradients @ sketch.matrix()) < 1e-12


def test_a_layer_of_a_constant_is_no_closed_form_for_a_first_batch_of_one():
    """As a learned query is projected: its one row is not that of the first sample."""
    torch.manual_seed(0)
    query = torch.randn(1, 6).double()
    model = Applied(
        lambda x, a, head: head(torch.tanh(x + a(query))), nn.Linear(6, 24), nn.Linear(24, CLASSES)
    ).double()
    x, y = torch.randn(9, 24).double(), torch.arange(9) % CLASSES
    sketch = GradientSketch.draw(model, M, last=2, rng=1)
    batches = [(x[:1], y[:1]), (x[1:], y[1:])]
    rows = sketched_gradients(model, batches, sketch=sketch, labels="true", rng=0, dtype="float64")
    assert relative(rows, slow_gradients(model, x, y) @ sketch.matrix()) < 1e-12


def test_empty_batches_and_inference_tensors_change_nothing():
    model, x, _ = built("mlp")
    rows = sketched_gradients(model, x.split(16), m=M, rng=0)
    with torch.inference_mode():
        made = [part.clone() for part in (x[:0], *x.split(16), x[:0])]
    np.testing.assert_array_equal(sketched_gradients(model, made, m=M, rng=0), rows)


def test_parts_of_a_pool_give_the_rows_of_the_whole():
    """A resumed run with ``first`` continues labels and rows where the last one stopped."""
    model, x, _ = built("mlp")
    sketch = GradientSketch.draw(model, M, rng=5)
    whole = sketched_gradients(model, x.split(16), sketch=sketch, rng=7)
    part = sketched_gradients(model, x[48:].split(16), sketch=sketch, rng=7, first=48)
    np.testing.assert_array_equal(part, whole[48:])


def test_permuted_pool_permutes_rows():
    model, x, y = built("conv")
    order = np.random.default_rng(0).permutation(N)
    rows, permuted = (
        sketched_gradients(model, [(x[i], y[i])], m=M, labels="true", rng=0, dtype="float64")
        for i in (np.arange(N), order)
    )
    np.testing.assert_allclose(permuted, rows[order], atol=1e-12)


def test_forming_gradients_is_bounded(monkeypatch):
    """Where gradients are formed, a batch is cut up and the rows stay."""
    model, x, _ = built("group norm")
    options = dict(m=M, last=2, rng=0, dtype="float64")
    rows = sketched_gradients(model, [x], **options)
    monkeypatch.setattr("skmm.gradients.pool._FORMED_ENTRIES", 50)
    np.testing.assert_allclose(sketched_gradients(model, [x], **options), rows, atol=1e-12)
