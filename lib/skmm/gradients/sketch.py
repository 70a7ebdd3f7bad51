"""The one map that sketches the gradients of the whole pool."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skmm.gradients.parameters import resolve_parameters
from skmm.gradients.rows import Collector, FactoredGradients, FormedGradients
from skmm.gradients.tensorsketch import TensorSketch
from skmm.gradients.twosided import ProjectedGradients, TwoSidedProjection
from skmm.numerics.inputs import check_choice, check_integer
from skmm.numerics.streams import as_generator
from skmm.sketching import SKETCHES, Sketch

_BLOCKS = "tensor", "two-sided"
"""Maps of a block for each parameter."""


@dataclass(frozen=True, eq=False)
class GradientSketch:
    r"""A Johnson-Lindenstrauss map for the gradients of named parameters, drawn once for the pool.

    The gradient is the concatenation of its parameters' blocks, :math:`r = \sum_l r_l`, and its
    sketch the sum of theirs:

    .. math:: \tilde g = g\,\Gamma = \sum_l \operatorname{vec}(\nabla_l)\,\Gamma_l

    with independent blocks :math:`\Gamma_l`. Rows of different draws are not comparable. It can be
    pickled and moved to other processes; it holds no tensors.

    Attributes:
        shapes: Shape of each parameter, by name, in the model's order.
        m: Sketch size.
        maps: A `TensorSketch` for each parameter, or a `TwoSidedProjection`; or one map of
            `skmm.sketching` for all of them.

    Example:
        >>> import skmm
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> sketch = skmm.GradientSketch.draw(model, 8, last=1, rng=0)
        >>> sketch.shapes
        {'2.weight': (3, 4), '2.bias': (3,)}
        >>> sketch.r, sketch.m
        (15, 8)
    """

    shapes: dict[str, tuple[int, ...]]
    m: int
    maps: dict[str, TensorSketch] | dict[str, TwoSidedProjection] | Sketch

    @classmethod
    def draw(
        cls,
        model: nn.Module,
        m: int,
        *,
        sketch: str = "tensor",
        parameters: Sequence[str] | None = None,
        last: int | None = None,
        rng: int | np.random.Generator,
    ) -> Self:
        """Draws the map for some of the parameters of ``model``.

        Args:
            model: Only names and shapes of its parameters are read.
            m: Sketch size.
            sketch: ``"tensor"`` sketches outer products from their factors, so that neither time
                nor memory grows with ``r``. ``"two-sided"`` projects the factors instead: as cheap,
                and less exact where gradients have a low rank. The maps of `skmm.sketching`
                (``"gaussian"``, ...) take gradients that are formed: ``B r`` numbers a batch and,
                for dense maps, ``r m`` for the map; for small layers and comparisons.
            parameters: Names of parameters.
            last: Or the last so many layers, see `last_parameters`; 2 unless told.
            rng: Seed or generator.

        Raises:
            ValueError: a parameter is unknown, ``sketch`` is, or ``m`` is out of range.
        """
        chosen = resolve_parameters(model, parameters, last)
        shapes = {name: tuple(p.shape) for name, p in chosen.items()}
        check_choice(sketch, "sketch", (*_BLOCKS, *SKETCHES))
        m = check_integer(m, "m", low=1, hint="it is the sketch size, for example m=512")
        rng = as_generator(rng, "sketch.gradients")
        if sketch in SKETCHES:
            r = sum(map(math.prod, shapes.values()))
            return cls(shapes, m, SKETCHES[sketch].draw(r, m, rng=rng))
        if sketch == "tensor":
            return cls(shapes, m, {k: TensorSketch.draw(s, m, rng=rng) for k, s in shapes.items()})
        return cls(
            shapes, m, {k: TwoSidedProjection.draw(s, m, rng=rng) for k, s in shapes.items()}
        )

    @property
    def r(self) -> int:
        """Dimension of the gradients."""
        return sum(map(math.prod, self.shapes.values()))

    def matrix(self) -> NDArray[np.float64]:
        r"""Returns :math:`\Gamma`, shape ``[r, m]``: for small parameters only."""
        if isinstance(self.maps, Sketch):
            return self.maps(np.eye(self.r))
        return np.concatenate([block.matrix() for block in self.maps.values()])

    def __call__(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Sketches gradients that were formed elsewhere.

        Args:
            gradients: For every parameter, by name, a tensor ``[B, *shape]``.

        Returns:
            ``[B, m]``, of the first gradient's precision and device.

        Raises:
            ValueError: a parameter is missing or has another shape.
        """
        for name, shape in self.shapes.items():
            seen = tuple(gradients[name].shape) if name in gradients else None
            if seen is None or seen[1:] != shape:
                raise ValueError(
                    f"gradients must hold {name!r} of shape [B, {', '.join(map(str, shape))}], "
                    f"got {'none' if seen is None else list(seen)}"
                )
        first = gradients[next(iter(self.shapes))]
        collector = self.collector(dtype=first.dtype, device=first.device).start(len(first))
        for name in self.shapes:
            collector.add(name, gradients[name])
        return collector.rows()

    def collector(self, *, dtype: torch.dtype, device: torch.device) -> Collector:
        """Returns what turns a batch's contributions into rows, in this precision and place."""
        if isinstance(self.maps, Sketch):
            return FormedGradients(self.shapes, self.maps, dtype=dtype, device=device)
        maps: dict[str, TensorSketch | TwoSidedProjection] = {**self.maps}
        folded = {name: block for name, block in maps.items() if isinstance(block, TensorSketch)}
        if folded:
            return FactoredGradients(folded, dtype=dtype, device=device)
        sides = {k: block for k, block in maps.items() if isinstance(block, TwoSidedProjection)}
        return ProjectedGradients(sides, dtype=dtype, device=device)

    def check_model(self, model: nn.Module) -> None:
        """Raises ``ValueError`` if ``model`` lacks these parameters or has them in other shapes."""
        own = resolve_parameters(model, list(self.shapes), None)
        for name, shape in self.shapes.items():
            if tuple(own[name].shape) != shape:
                raise ValueError(
                    f"sketch was drawn for {name!r} of shape {list(shape)}, the model's has "
                    f"{list(own[name].shape)}; draw a sketch for this model"
                )
