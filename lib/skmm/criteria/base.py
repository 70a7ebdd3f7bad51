"""What a criterion must answer for exchange descent to lower it, and sums of criteria."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Cross(NamedTuple):
    """What swaps add to the two single changes, as it is held: ``factor * matrix[place[i], j]``.

    Attributes:
        factor: Of all entries.
        matrix: A line for each selected sample, ``[n, N]``.
        place: Which line is that of a sample, ``[N]``; of those outside it has no meaning.
    """

    factor: float
    matrix: Floats
    place: Indices

    def lines(self, rows: Indices) -> Floats:
        """Returns the lines of some selected samples, not to be written to: ``[len(rows), N]``."""
        places = self.place[rows]
        if (np.diff(places) == 1).all():
            return self.matrix[places[0] : places[-1] + 1]
        return self.matrix[places]


def quadratic_forms(rows: Floats, matrix: Floats) -> Floats:
    r"""Returns :math:`x_i^\top A x_i` for all rows, in blocks: ``[N]``."""
    parts = [np.einsum("ij,ij->i", rows[b] @ matrix, rows[b]) for b in blocks(*rows.shape)]
    return np.concatenate(parts)


def gather(matrix: Floats, rows: Indices, columns: Indices) -> Floats:
    """Returns a copy of the entries ``[rows, columns]``: of columns that lie close by strips."""
    strip = slice(columns.min(initial=0), columns.max(initial=-1) + 1)
    if strip.stop - strip.start > 2 * len(columns):
        return matrix[rows[:, None], columns]
    return matrix[rows, strip].take(columns - strip.start, axis=1)


class Criterion(ABC):
    """An objective over subsets of ``N`` rows of which some are selected.

    Attributes:
        inside: Which rows are selected, shape ``[N]``, boolean.
    """

    inside: NDArray[np.bool_]

    @property
    @abstractmethod
    def N(self) -> int:
        """Number of rows."""

    @abstractmethod
    def start(self, indices: Indices) -> None:
        """Makes ``indices`` the current subset."""

    @abstractmethod
    def value(self) -> float:
        """Returns the objective of the current subset."""

    def scale(self) -> float:
        """Returns the size of the numbers that the objective is made of, at least one.

        Rounding errors are in proportion to it, and so is what counts as a difference.
        """
        return 1.0

    @abstractmethod
    def single_changes(self) -> tuple[Floats, Floats]:
        """Returns what leaving and what entering of each row would add, apart: ``[N]`` each.

        Only the order among those inside (leaving) and those outside (entering) has a meaning.
        """

    @abstractmethod
    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """Returns the exact change of the objective by each swap: ``[leaving, entering]``.

        To be written to.
        """

    def crosses(self) -> list[Cross] | None:
        """Returns what each swap adds to the sum of its `single_changes`, in terms, if it is held.

        If not, `swap_changes` has to make products. Terms of factor 0 are left out.
        """
        return None

    def underestimate(self) -> Criterion | None:
        """Returns what tells lower bounds of `swap_changes` at this subset for less; None: nothing.

        Where it does, few swaps must be computed to know the best ones.
        """
        return None

    @abstractmethod
    def swap(self, leaving: Indices, entering: Indices) -> None:
        """Replaces the rows ``leaving`` by as many ``entering`` ones."""

    @abstractmethod
    def restrict(self, rows: Indices) -> Self:
        """Returns this criterion with only ``rows`` movable, numbered ``0, 1, ...``."""


class Combination(Criterion):
    """A weighted sum of criteria over the same pool.

    Args:
        terms: Pairs of weight and criterion.

    Raises:
        ValueError: there are none, or they are of pools of different sizes.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(1).standard_normal((40, 3))
        >>> second, fourth = skmm.SecondMoment(rows, 9), skmm.FourthMoment(rows, 9)
        >>> both = skmm.Combination([(1.0, second), (0.5, fourth)])
        >>> both.start(np.arange(9))
        >>> np.allclose(both.value(), second.value() + 0.5 * fourth.value())
        True
    """

    def __init__(self, terms: Sequence[tuple[float, Criterion]]):
        self._terms = list(terms)
        sizes = {term.N for _, term in self._terms}
        if len(sizes) != 1:
            raise ValueError(
                "terms must be criteria of one pool, at least one, "
                f"got {len(self._terms)} of N in {sorted(sizes)}"
            )

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return self._terms[0][1].N

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        for _, term in self._terms:
            term.start(indices)
        self.inside = self._terms[0][1].inside  # all terms agree, and go on in place

    def value(self) -> float:
        """See `Criterion.value`."""
        return sum(weight * term.value() for weight, term in self._terms)

    def scale(self) -> float:
        """See `Criterion.scale`."""
        return max([1.0, *(abs(weight) * term.scale() for weight, term in self._terms)])

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        pairs = [(weight, *term.single_changes()) for weight, term in self._terms]
        leaving = reduce(np.add, (weight * leave for weight, leave, _ in pairs))
        return leaving, reduce(np.add, (weight * enter for weight, _, enter in pairs))

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        total: Floats | None = None
        for weight, term in self._terms:
            changes = term.swap_changes(leaving, entering)
            if weight != 1.0:
                changes *= weight
            total = changes if total is None else np.add(total, changes, out=total)
        return cast("Floats", total)

    def crosses(self) -> list[Cross] | None:
        """See `Criterion.crosses`; what is not held for one term is not for the sum."""
        crosses: list[Cross] = []
        for weight, term in self._terms:
            held = term.crosses()
            if held is None:
                return None
            crosses += [one._replace(factor=weight * one.factor) for one in held if weight]
        return crosses

    def underestimate(self) -> Criterion | None:
        """See `Criterion.underestimate`; terms that have none are told exactly."""
        loose = [term.underestimate() if weight > 0.0 else None for weight, term in self._terms]
        if all(term is None for term in loose):
            return None
        pairs = zip(self._terms, loose, strict=True)
        return Combination([(weight, bound or term) for (weight, term), bound in pairs])

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        for _, term in self._terms:
            term.swap(leaving, entering)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = type(self)([(weight, term.restrict(rows)) for weight, term in self._terms])
        part.inside = part._terms[0][1].inside
        return part
