"""How many threads linear algebra takes: one where products are small, all where one is large.

Handing a small product to a second thread costs more than the product, and beside another busy
process it costs milliseconds; a selection makes such products by the thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

_LARGE = 1 << 30
"""Multiplications from which on a product is shared among threads: tens of milliseconds on one."""

_Item, _Result = TypeVar("_Item"), TypeVar("_Result")

_given: ContextVar[int | None] = ContextVar("_given", default=None)


@cache
def _controller() -> ThreadpoolController:
    # Looking the loaded libraries up takes milliseconds: once is enough, for NumPy's and SciPy's
    # BLAS are loaded with whatever calls this.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread() -> Generator[None]:
    """Limits BLAS to one thread in a ``with`` block, but for what is marked as `large_product`."""
    if _given.get() is not None:
        yield
        return
    controller = _controller()
    most = max((library.num_threads for library in controller.lib_controllers), default=1)
    token = _given.set(most)
    try:
        with controller.limit(limits=1):
            yield
    finally:
        _given.reset(token)


@contextmanager
def large_product(multiplications: int) -> Generator[None]:
    """Lets a product of so many multiplications have the caller's threads again, if it is large."""
    given = _given.get()
    if given is None or given == 1 or multiplications < _LARGE:
        yield
        return
    with _controller().limit(limits=given):
        yield


def share(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Returns what a function makes of each item, on as many threads as the caller's BLAS has.

    Each call runs on one thread, its products, too: what it returns depends on the item alone.
    For calls of tenths of a second whose time goes to NumPy, which lets other threads run.
    """
    with one_thread():
        given = _given.get() or 1
        if given == 1 or len(items) < 2:
            return [function(item) for item in items]
        alone = _given.set(1)
        try:
            contexts = [copy_context() for _ in items]
        finally:
            _given.reset(alone)
        with ThreadPoolExecutor(given) as pool:
            run = [
                pool.submit(context.run, function, item)
                for context, item in zip(contexts, items, strict=True)
            ]
            return [future.result() for future in run]
