"""One thread for linear algebra where products are small and follow one another by the thousand."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Looking the loaded libraries up takes milliseconds: once is enough, for NumPy's and SciPy's
    # BLAS are loaded with whatever calls this.
    return ThreadpoolController()


def one_thread() -> AbstractContextManager:
    """Limits BLAS to one thread in a ``with`` block.

    Handing a small product to a second thread costs more than the product; beside another busy
    process it costs milliseconds, thousands of times.
    """
    return _controller().limit(limits=1, user_api="blas")
