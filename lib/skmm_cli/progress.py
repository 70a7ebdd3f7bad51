"""Progress on stderr: what is being done, and about how long it will take."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_PATIENCE, _BEAT, _LOG_BEAT = 2.0, 0.5, 10.0
"""Seconds before anything is shown; between two looks at a terminal, and two lines of a log."""

_CELLS = 24
"""Width of the bar."""


class Progress:
    """What a user is told while waiting.

    Args:
        quiet: Whether to tell nothing.
    """

    def __init__(self, *, quiet: bool = False):
        self._quiet = quiet

    def say(self, sentence: str) -> None:
        """Tells something that is no error, such as what was taken for features."""
        if not self._quiet:
            print(f"skmm: {sentence}", file=sys.stderr)

    @contextmanager
    def step(self, what: str, seconds: float) -> Iterator[None]:
        """Shows the time left while the block runs, once it has run two seconds.

        Nobody knows how many swaps a descent will take: the bar follows the clock against a
        forecast, and says so where the forecast was short. In a terminal it is one line that
        changes and goes; in a log, a line every ten seconds.

        Args:
            what: What the block does.
            seconds: How long it should take.
        """
        if self._quiet:
            yield
            return
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(what, seconds, done, sys.stderr), daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()


def _watch(what: str, seconds: float, done: threading.Event, stream: TextIO) -> None:
    begin = time.perf_counter()
    wait = _PATIENCE
    terminal = stream.isatty()
    while not done.wait(wait):
        line = _line(what, time.perf_counter() - begin, seconds)
        stream.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
        stream.flush()
        wait = _BEAT if terminal else _LOG_BEAT
    if terminal:
        stream.write("\r\x1b[K")
        stream.flush()


def _line(what: str, elapsed: float, seconds: float) -> str:
    """Returns what is shown after ``elapsed`` of ``seconds`` foreseen."""
    share = min(elapsed / max(seconds, 1e-9), 0.97)
    bar = "#" * int(share * _CELLS)
    left = f"about {clock(seconds - elapsed)} left" if elapsed < seconds else "longer than foreseen"
    return f"skmm: {what} [{bar:<{_CELLS}}] {clock(elapsed)} so far, {left}"


def clock(seconds: float) -> str:
    """Returns a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
