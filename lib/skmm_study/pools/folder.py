"""Where the data lies: one setting for images, texts and weights."""

from __future__ import annotations

import os
from pathlib import Path

SETTING = "SKMM_DATA"


def shipped_folder() -> Path:
    """The ``data/`` folder of the checkout, which holds what ships with the project."""
    return Path(__file__).resolve().parents[3] / "data"


def data_folder(path: str | os.PathLike | None = None) -> Path:
    """Returns the folder that holds ``stanford_cars/``, ``weights/`` and other data sets.

    Args:
        path: the folder; without it the environment variable ``SKMM_DATA``, and without that the
            ``data/`` folder of the checkout. The folder need not exist yet.
    """
    return Path(path or os.environ.get(SETTING) or shipped_folder())
