"""What every selector is: a function of a pool, a budget and a generator, kept in one registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import to_array
from skmm.numerics.stored import StoredRows, scan
from skmm.numerics.threads import large_product
from skmm.sketching import SKETCHES
from skmm.spectrum import Spectrum

_SKETCH = 1 << 30
"""Bytes that the sketch of rows out of core may take."""


@dataclass(frozen=True, eq=False)
class Pool:
    r"""The pool of ``N`` samples, with its sketch and spectrum made once, when first asked for.

    Attributes:
        rows: :math:`G`, shape ``[N, r]``, as `check_pool` returns it: an array, a sparse array, or
            a tensor on an accelerator.
        m: Sketch size; ``m = r`` means no sketch at all.
        sketch: Name of the Johnson-Lindenstrauss map, one of `skmm.SKETCHES`.
        rng: Generator that the map is drawn from.
        kept: Samples that are labelled already, ascending, shape ``[k]``: they count as part of the
            subset, and none of them is chosen.
    """

    rows: Any
    m: int
    sketch: str
    rng: np.random.Generator
    kept: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    @property
    def N(self) -> int:
        """Pool size."""
        return self.rows.shape[0]

    @property
    def others(self) -> NDArray[np.intp]:
        """Samples that may be chosen, ascending: all but those kept."""
        return np.delete(np.arange(self.N), self.kept)

    def outside(self) -> NDArray[np.bool_]:
        """Returns which samples may be chosen, shape ``[N]``, to be written to."""
        outside = np.ones(self.N, dtype=bool)
        outside[self.kept] = False
        return outside

    @cached_property
    def features(self) -> NDArray[np.floating]:
        """The rows dense and in main memory, made when a method first asks for them."""
        return to_array(self.rows)

    @cached_property
    def sketched(self) -> NDArray[np.floating] | StoredRows:
        r""":math:`\tilde G = G\,\Gamma`, shape ``[N, m]``: sketched where and as the rows are.

        Rows out of core stay there, unless they are sketched: then the sketch is held. Arrays are
        sketched by the same blocks as these, so that their sketches are the same to the last bit.
        """
        r, stored = self.rows.shape[1], isinstance(self.rows, StoredRows)
        if self.m == r:
            return self.rows if stored else self.features
        drawn = SKETCHES[self.sketch].draw(r, self.m, rng=self.rng)
        if stored:
            _check_held(self.rows, self.m)
        if stored or isinstance(self.rows, np.ndarray):
            return _sketch_by_blocks(drawn, self.rows, self.m)
        with large_product(self.N * r * self.m):
            return to_array(drawn(self.rows))

    @cached_property
    def spectrum(self) -> Spectrum:
        r"""Spectrum of :math:`\tilde\Sigma`."""
        return Spectrum.of(self.sketched)


def _check_held(rows: StoredRows, m: int) -> None:
    """Raises ``ValueError`` if the sketch of rows out of core takes more than a gigabyte."""
    taken = len(rows) * m * rows.dtype.itemsize
    if taken > _SKETCH:
        raise ValueError(
            f"m must be at most {_SKETCH // (len(rows) * rows.dtype.itemsize)} for {len(rows)} "
            f"rows out of core, whose sketch is held in memory, got m={m}; sketch them to a store "
            "once (skmm sketch) and select from that"
        )


def _sketch_by_blocks(
    sketch: Any, rows: StoredRows | NDArray[np.floating], m: int
) -> NDArray[np.floating]:
    """Sketches rows block by block; the sketch is held in memory."""
    out = np.empty((len(rows), m), rows.dtype)
    with large_product(rows.shape[0] * rows.shape[1] * m):
        for part, block in scan(rows):
            out[part] = sketch(block)
    return out


@dataclass(frozen=True, eq=False)
class Choice:
    r"""What a selector returns.

    Attributes:
        indices: Distinct samples, shape ``[n]``, in the order chosen; none of those kept.
        objective: What the selector lowered, at this subset with those kept, if it lowers anything.
        lower_bound: Proven: no subset of this size has a smaller objective.
        settings: What was used where the caller left the choice to the selector, in words.
        weights: Training weights that belong to the method, shape ``[n]``, positive, sum 1, in the
            order of ``indices``; ``None``: all :math:`1/n`.
    """

    indices: NDArray[np.intp]
    objective: float = np.nan
    lower_bound: float = np.nan
    settings: str = ""
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Selector:
    """A selection method and what a user must know before choosing it.

    Attributes:
        name: The ``method`` that `skmm.select` takes.
        choose: ``choose(pool, n, *, rng, **knobs) -> Choice``.
        label: Its name in tables and figures.
        cost: Order of its running time.
        reference: Where the method is from.
        needs: The knobs that must be given, for it needs more than features: ``("labels",)``.
        deterministic: Whether the subset depends on the pool and ``n`` alone, given the sketch.
        nested: Whether, seed by seed, the subset of ``n`` is the first ``n`` of any larger one.
        keeps: Whether it looks at ``pool.kept``, samples that are labelled already.
        knobs: All that it takes beyond the pool, the budget and the generator.
    """

    name: str
    choose: Callable[..., Choice]
    label: str
    cost: str
    reference: str
    needs: tuple[str, ...] = ()
    deterministic: bool = False
    nested: bool = False
    keeps: bool = False
    knobs: tuple[str, ...] = field(init=False)

    def __post_init__(self):
        parameters = inspect.signature(self.choose).parameters.values()
        knobs = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rng")
        object.__setattr__(self, "knobs", knobs)

    @property
    def summary(self) -> str:
        """First line of the selector's docstring."""
        return (inspect.getdoc(self.choose) or "").partition("\n")[0]


SELECTORS: dict[str, Selector] = {}
"""All selectors by name."""


def selector(name: str, **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers ``choose(pool, n, *, rng, **knobs) -> Choice`` under ``name``.

    Args:
        name: The ``method`` that `skmm.select` takes.
        **facts: What a user must know, ``label``, ``cost`` and ``reference`` at least: the
            attributes of `Selector`. They are written here and nowhere else.
    """

    def register(choose: Callable[..., Any]) -> Callable[..., Any]:
        SELECTORS[name] = Selector(name, choose, **facts)
        return choose

    return register
