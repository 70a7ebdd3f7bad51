"""Placing: where the parts of a large selection are worked on, threads or something else."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.stored import StoredRows
from skmm.numerics.threads import share
from skmm.selection.selectors.coordinates import Metric

Rows = NDArray[np.floating] | StoredRows


class Task(Protocol):
    """A part of the work, told in numbers of rows.

    Attributes:
        members: The rows that are read for it, ascending. What comes of it is told by places in
            these, so that it may be done where rows are numbered otherwise.
        metric: What rows are measured in.
    """

    @property
    def members(self) -> NDArray[np.intp]:
        """See above."""
        ...

    @property
    def metric(self) -> Metric:
        """See above."""
        ...


Work = Callable[[Rows, Any], Any]
"""What is done for a task: it reads the rows of its ``members`` and no others."""

Place = Callable[[Work, Rows, Sequence[Any]], Sequence[Any]]
"""What does a piece of work for each of some tasks, in their order, wherever that is done."""

_place: ContextVar[Place | None] = ContextVar("_place", default=None)


@contextmanager
def placed_by(place: Place) -> Generator[None]:
    """Lets something else than this process's threads work on the parts, in a ``with`` block."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def each(work: Work, rows: Rows, tasks: Sequence[Task]) -> list[Any]:
    """Does a piece of work for each task, the largest first: on linear algebra's threads.

    In a block of `placed_by` where that places them.

    Returns:
        What came of each, in the order of the tasks.
    """
    order = sorted(range(len(tasks)), key=lambda i: -len(tasks[i].members))
    sorted_, place = [tasks[i] for i in order], _place.get()
    done = place(work, rows, sorted_) if place else share(lambda task: work(rows, task), sorted_)
    results: list[Any] = [None] * len(tasks)
    for i, result in zip(order, done, strict=True):
        results[i] = result
    return results
