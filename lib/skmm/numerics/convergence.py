"""The warning that an iteration ended before it had converged."""

from __future__ import annotations

import warnings


class ConvergenceWarning(UserWarning):
    """An iteration reached its limit of steps; the message gives what is left and what to change.

    Example:
        >>> import warnings
        >>> import numpy as np
        >>> import skmm
        >>> shares = np.random.default_rng(0).random((20, 3))
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     relaxed = skmm.match_moments(shares, 5, rng=0, slack=0.5, max_steps=1)
        >>> relaxed.converged, caught[0].category is skmm.ConvergenceWarning
        (False, True)
    """


def warn_of_limit(what: str, limit: str, left: str, change: str) -> None:
    """Warns that ``what`` reached ``limit`` with ``left`` to go, and says what to change."""
    message = f"{what} reached {limit} with {left} left; {change}"
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
