"""Progress on stderr: what is being done, and about how long it will take."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

_PATIENCE, _BEAT = 2.0, 0.5
"""Seconds before anything is shown, and between two looks at the clock."""

_FORMAT = "{desc} |{bar:24}| {elapsed} so far, about {remaining} left"


class Progress:
    """What a user is told while waiting.

    Args:
        quiet: Whether to tell nothing.
    """

    def __init__(self, *, quiet: bool = False):
        self._quiet = quiet

    def say(self, sentence: str) -> None:
        """Tells something that is no error."""
        if not self._quiet:
            print(f"skmm: {sentence}", file=sys.stderr)

    @contextmanager
    def step(self, what: str, seconds: float) -> Iterator[None]:
        """Shows a bar with the time left while the block runs, once it has run two seconds.

        Nobody knows how many swaps a descent will take: the bar follows the clock against a
        forecast, and waits just before its end where the forecast was short.

        Args:
            what: What the block does.
            seconds: How long it should take.
        """
        if self._quiet:
            yield
            return
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(what, seconds, done), daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()


def _watch(what: str, seconds: float, done: threading.Event) -> None:
    begin = time.perf_counter()
    if done.wait(_PATIENCE):
        return
    total = max(seconds, 1.5 * _PATIENCE)
    with tqdm(total=total, desc=f"skmm: {what}", bar_format=_FORMAT, leave=False) as bar:
        bar.start_t = bar.last_print_t = bar.start_t - (time.perf_counter() - begin)
        while True:
            elapsed = time.perf_counter() - begin
            if elapsed > 0.95 * total:  # the forecast was short: by how much nobody knows
                total = elapsed / 0.95
                bar.total = total
            bar.n = elapsed
            bar.refresh()
            if done.wait(_BEAT):
                return
