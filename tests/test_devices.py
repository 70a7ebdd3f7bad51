"""No operation mixes devices, checked without an accelerator: on tensors that have no data."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skmm import SKETCHES, select, sketched_gradients
from skmm.gradients import pool as gradient_pool
from skmm.gradients.activations import classifier_inputs
from skmm.gradients.plan import _tolerance
from skmm.gradients.residuals import LABEL_RULES
from skmm_study import (
    ArrayCache,
    Recipe,
    finetune,
    load_backbone,
    load_cars,
    trunk_activations,
    write_standin,
)
from skmm_study.vision.features import pooled_features

aten = torch.ops.aten
_MOVES = (aten._to_copy.default, aten.to.dtype_layout)  # the second within inference mode


class PretendAccelerator(TorchDispatchMode):
    """Lets the device ``meta`` stand for an accelerator.

    What comes back to the CPU is zeros, a number that is asked for is 1. As on an accelerator,
    indices and numbers may come from the CPU; tensors may not, but for copies.

    Attributes:
        brought_home: Entries that were copied to the CPU.
    """

    brought_home = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if func is aten._local_scalar_dense.default and tensors[0].is_meta:
            return 1
        if func in _MOVES and tensors[0].is_meta:
            if torch.device(kwargs.get("device") or "meta").type == "cpu":
                self.brought_home += tensors[0].numel()
                return torch.zeros(
                    tensors[0].shape, dtype=kwargs.get("dtype") or tensors[0].dtype, device="cpu"
                )
        elif func not in (*_MOVES, aten.copy_.default, aten.index.Tensor):
            devices = {x.device.type for x in tensors if x.ndim}
            assert len(devices) < 2, f"{func} mixes {devices}"
        return func(*args, **kwargs)


@pytest.fixture
def accelerator(monkeypatch):
    # Mixed precision asks for a real device; whether numbers are finite, for numbers.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: torch.enable_grad())
    monkeypatch.setattr(gradient_pool, "_check_finite", lambda *_: None)
    with PretendAccelerator():
        yield "meta"


class Net(nn.Module):
    """Layers of all three ways: closed form, `torch.func`, one backward pass a sample."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.scale = nn.Conv2d(8, 8, 3, groups=8), nn.Parameter(torch.zeros(8))
        self.layer_norm, self.fc = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.depthwise(self.norm(self.conv(x)).relu())
        return self.fc(self.layer_norm(x.mean((2, 3))) * self.scale.sigmoid())


def test_the_pretended_accelerator_refuses_a_mixture(accelerator):
    with pytest.raises(AssertionError, match=r"mm.default mixes"):
        torch.ones(2, 2, device=accelerator) @ torch.ones(2, 2)
    assert torch.ones(3, device=accelerator).cpu().numpy().shape == (3,)


@pytest.mark.parametrize("labels", LABEL_RULES)
@pytest.mark.parametrize("sketch", ["tensor", "two-sided", *SKETCHES])
def test_gradients_are_sketched_where_the_model_is(accelerator, sketch, labels):
    model = Net().to(accelerator).eval()
    batches = [(torch.ones(k, 3, 8, 8), torch.arange(k) % 5) for k in (4, 4, 2)]
    rows = sketched_gradients(
        model,
        batches,
        m=16,
        parameters=[name for name, _ in model.named_parameters()],
        sketch=sketch,
        labels=labels,
        rng=0,
    )
    assert rows.shape == ((10, 5, 16) if labels == "fisher-exact" else (10, 16))


@pytest.mark.parametrize("sketch", SKETCHES)
def test_pools_are_sketched_where_they_are(sketch):
    """What comes home is the sketch, N m numbers, not the pool's N r."""
    with PretendAccelerator() as seen:
        rows = torch.ones(40, 300, device="meta")
        select(rows, 5, method="uniform", rng=0, m=8, sketch=sketch)
    assert seen.brought_home == 40 * 8


def test_finetuning_stays_where_the_tail_is(accelerator):
    rows = np.ones((20, 3, 8, 8), np.float16)
    labels = np.arange(20) % 5
    done = finetune(Net(), rows, labels, rng=0, device=accelerator, recipe=Recipe(epochs=2))
    assert all(p.is_meta for p in done.tail.parameters())
    assert done.predict(rows).shape == (20,)


def test_features_are_computed_where_the_backbone_is(accelerator, tmp_path):
    write_standin(tmp_path, rng=0, classes=2, train_per_class=3, test_per_class=1, size=32)
    pool = load_cars(tmp_path, split="train")
    cache = ArrayCache(tmp_path / "cache")
    backbone = load_backbone("mobilenet_v2", weights="random", size=32, rng=0)
    options = {"cache": cache, "device": accelerator, "progress": False}
    assert pooled_features(pool, backbone, **options).shape == (6, backbone.width)
    layer = "features.18"
    assert trunk_activations(pool, backbone, layer=layer, **options).shape == (6, 320, 1, 1)


def test_a_plan_allows_for_the_rounding_of_matrix_units(rng):
    """Gradients through factors rounded to TF32 would pass for wrong at the CPU's tolerance."""

    def product(a, b):
        rounded = []
        for x in (a, b):
            mantissa, exponent = np.frexp(x)
            rounded.append(np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent))
        return rounded[0] @ rounded[1]

    factors = [rng.standard_normal((64, 64)) for _ in range(4)]
    exact = np.linalg.multi_dot(factors)
    seen = product(product(product(*factors[:2]), factors[2]), factors[3])
    error = np.linalg.norm(seen - exact) / np.linalg.norm(exact)
    assert _tolerance(torch.float32, "cpu") < error < _tolerance(torch.float32, "cuda") / 10
    assert _tolerance(torch.float64, "cuda") == _tolerance(torch.float64, "cpu")


def test_classifier_inputs_mix_no_devices(accelerator):
    """What comes home are the features alone, 4 rows of 8."""
    with PretendAccelerator() as seen:
        rows = classifier_inputs(Net().to(accelerator), [torch.zeros(4, 3, 9, 9, device="meta")])
    assert rows.shape == (4, 8)
    assert seen.brought_home == 4 * 8
