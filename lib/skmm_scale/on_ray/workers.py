"""Workers: processes that hold what they were told to make, and are started anew when they die."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import cloudpickle

from skmm.numerics.inputs import check_integer

_LARGEST = 1 << 20
"""Bytes of what a worker is told; more would be data, which workers open by their paths."""


class Workers:
    """Equal workers, each of which does one task at a time.

    Attributes:
        actors: Ray's handles.
    """

    def __init__(self, actors: list[Any]):
        self.actors = actors

    def each(
        self, make: Callable[[], Any], function: Callable[..., Any], tasks: Iterable[tuple]
    ) -> Iterator[tuple[int, Any]]:
        """Yields, of each task as it is done, its place and ``function(held, *task)``.

        ``held`` is ``make()``, made once a worker and kept until it is told to make something else.
        A worker that dies is started anew, makes it again, and does its task again. Where a task
        fails, those under way are waited for.

        Raises:
            ValueError: ``make`` carries data; or what ``function`` raises, of any kind.
        """
        told = cloudpickle.dumps(make)
        if len(told) > _LARGEST:
            raise ValueError(
                f"make must be small, got {len(told)} bytes: let it open files by their paths on "
                "the worker, and carry no arrays"
            )
        waiting, under_way = enumerate(tasks), {}

        def place(actor: Any) -> None:
            i, task = next(waiting, (None, ()))
            if i is not None:
                under_way[actor.call.remote(told, function, *task)] = i, actor

        for actor in self.actors:
            place(actor)
        try:
            while under_way:
                (ready,), _ = ray.wait(list(under_way), num_returns=1)
                i, actor = under_way.pop(ready)
                yield i, ray.get(ready)
                place(actor)
        except Exception:
            if under_way:
                ray.wait(list(under_way), num_returns=len(under_way))
            raise

    def stop(self) -> None:
        """Ends all workers, whatever they are doing."""
        while self.actors:
            ray.kill(self.actors.pop())


@contextmanager
def workers(
    count: int, *, num_cpus: float = 1, num_gpus: float = 0, restarts: int = 10
) -> Iterator[Workers]:
    """Starts workers for a ``with`` block.

    Args:
        count: How many.
        num_cpus: Processors that each declares; linear algebra has one thread all the same, so that
            bits do not depend on it.
        num_gpus: Accelerators of each, or a share of one.
        restarts: How often one that dies is started anew.
    """
    check_integer(count, "workers", low=1, hint="one for each processor is as fast as it gets")
    check_integer(restarts, "restarts", low=0, hint="0: a worker that dies ends the work")
    kind = ray.remote(
        num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=restarts, max_task_retries=restarts
    )(_Worker)
    pool = Workers([kind.remote() for _ in range(count)])
    try:
        yield pool
    finally:
        pool.stop()


@contextmanager
def some(given: int | Workers) -> Iterator[Workers]:
    """Yields the workers that are given, or starts so many for a ``with`` block."""
    if isinstance(given, Workers):
        yield given
        return
    with workers(given) as pool:
        yield pool


class _Worker:
    def __init__(self):
        self._told, self._held = b"", None

    def call(self, told: bytes, function: Callable[..., Any], *task: Any) -> Any:
        if told != self._told:
            self._held = None  # before the next is made: both may not fit into memory
            self._told, self._held = told, cloudpickle.loads(told)()
        return function(self._held, *task)
