"""The part of a network above a frozen trunk: its last layers and a classifier on top."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm_study.vision.backbones import Backbone

TRUNKS = {"mobilenet_v2": "features.18", "resnet18": "layer4.1", "resnet50": "layer4.2"}
"""First layer above the trunk, by backbone: its inputs are what training runs on."""


class PointwiseTail(nn.Module):
    r"""The tail of MobileNetV2: a convolution of one pixel, mean over positions, a classifier.

    .. math:: f(x) = b + A\,\frac1P \sum_p \min(\max(\mathrm{BN}(W x_p), 0), 6)

    Args:
        layer: Convolution of one pixel, batch normalisation and ReLU6, in this order.
        fc: The classifier.
    """

    def __init__(self, layer: nn.Sequential, fc: nn.Linear):
        super().__init__()
        self.layer, self.fc = layer, fc

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of activations ``[B, channels, height, width]``, layer by layer."""
        return self.fc(self.layer(x).mean((2, 3)))

    def folded(self, x: Tensor) -> Tensor:
        r"""The same with frozen statistics, in half the time: what training calls.

        Batch normalisation is folded into the convolution, which becomes one matrix product over
        all positions; gradients reach :math:`\gamma` and :math:`\beta` through the folded weights
        instead of two more passes over ``[B, P, 1280]``.
        """
        convolution, norm, _ = self.layer
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = convolution.weight.flatten(1) * scale[:, None]
        shift = norm.bias - norm.running_mean * scale
        positions = x.permute(0, 2, 3, 1).flatten(0, 2)
        hidden = F.hardtanh_(torch.addmm(shift, positions, weight.T), 0.0, 6.0)
        return self.fc(hidden.view(len(x), -1, hidden.shape[1]).mean(1))


def tail_of(
    backbone: Backbone, classes: int, *, rng: int | np.random.Generator | None = None
) -> nn.Module:
    r"""Copies what lies above the trunk of ``backbone`` and puts a new classifier on it.

    Its input is what `skmm_study.trunk_activations` returns for the layer in `TRUNKS`.
    Its last two layers are the classifier and, with its batch normalisation, the last convolution;
    of a ResNet, the tail is the whole last block, whose shortcut goes around them.

    Args:
        backbone: One of `TRUNKS`; stays as it is.
        classes: Number of classes C.
        rng: Draws the classifier's weights, normal with variance 1/r: gradients of the layers
            below need some. Without it they are zero, as is the bias: where training starts.

    Raises:
        ValueError: the backbone has no such tail.
    """
    check_integer(classes, "classes", low=2, hint="it is the number of outputs")
    if backbone.name not in TRUNKS:
        raise ValueError(
            f"backbone must be one of {', '.join(TRUNKS)}, got {backbone.name!r}: "
            "for another network, pass a module of your own to finetune"
        )
    layer = deepcopy(backbone.network.get_submodule(TRUNKS[backbone.name]))
    fc = new_classifier(backbone.width, classes, rng)
    if backbone.name == "mobilenet_v2":
        return PointwiseTail(layer, fc)
    pool = [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict([("layer", layer), *pool, ("fc", fc)]))


def pointwise_tail(
    weight: NDArray[np.float32],
    shift: NDArray[np.float32],
    classes: int,
    *,
    rng: int | np.random.Generator | None = None,
) -> PointwiseTail:
    """Builds MobileNetV2's tail from its weights alone, where there is no network below it.

    Batch normalisation has nothing left to normalise by: its scale is 1, its mean 0, its variance
    1, as in weights whose statistics were folded into the convolution. Its scale and shift are
    parameters all the same, and are trained.

    Args:
        weight: Of the convolution of one pixel, shape ``[width, channels]``.
        shift: What is added before ReLU6, shape ``[width]``.
        classes: Number of classes C.
        rng: As in `tail_of`.

    Raises:
        ValueError: the shapes do not belong together, or there is one class only.
    """
    check_integer(classes, "classes", low=2, hint="it is the number of outputs")
    if weight.ndim != 2 or shift.shape != weight.shape[:1]:
        raise ValueError(
            f"weight must be [width, channels] and shift [width], got shapes {list(weight.shape)} "
            f"and {list(shift.shape)}; pass those of one layer"
        )
    width, channels = weight.shape
    convolution = nn.utils.skip_init(nn.Conv2d, channels, width, 1, bias=False)
    norm = nn.BatchNorm2d(width, eps=0.0)  # its variance is 1, to which nothing is to be added
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(weight)[:, :, None, None])
        norm.bias.copy_(torch.from_numpy(shift))
    layer = nn.Sequential(convolution, norm, nn.ReLU6()).requires_grad_(False).eval()
    return PointwiseTail(layer, new_classifier(width, classes, rng)).eval()


def with_classifier(
    tail: PointwiseTail, weight: NDArray[np.floating], bias: NDArray[np.floating]
) -> PointwiseTail:
    """Copies ``tail`` and gives the copy's classifier these weights, ``[C, width]`` and ``[C]``."""
    copy = deepcopy(tail)
    with torch.no_grad():
        copy.fc.weight.copy_(torch.from_numpy(weight))
        copy.fc.bias.copy_(torch.from_numpy(bias))
    return copy


def new_classifier(width: int, classes: int, rng: int | np.random.Generator | None) -> nn.Linear:
    """Returns a classifier as `tail_of` puts it on: normal, or zero without ``rng``."""
    # Not initialised by torch, whose global generator would move.
    fc = nn.utils.skip_init(nn.Linear, width, classes)
    with torch.no_grad():
        fc.weight.zero_()
        fc.bias.zero_()
        if rng is not None:
            draw = as_generator(rng, "tail").standard_normal((classes, width))
            fc.weight.copy_(torch.from_numpy(draw / np.sqrt(width)))
    return fc
