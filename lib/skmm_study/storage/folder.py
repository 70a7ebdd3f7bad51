"""Where what is computed once lies: the folder of all of it, and the one of each key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from skmm_study.storage.files import write_whole
from skmm_study.storage.keys import digest

SETTING = "SKMM_CACHE"


def cache_folder(path: str | os.PathLike | None = None) -> Path:
    """Returns the folder of arrays and trials that are computed once; safe to delete.

    Args:
        path: the folder; without it the environment variable ``SKMM_CACHE``, and without that the
            one for ``skmm`` among the user's caches. It need not exist yet.
    """
    return Path(path or os.environ.get(SETTING) or platformdirs.user_cache_path("skmm"))


def keyed_folder(folder: str | os.PathLike, name: str, key: Mapping[str, Any]) -> Path:
    """Makes the folder of what depends on ``key`` and on nothing else.

    Args:
        folder: holds many such folders.
        name: what it is, for people who look into ``folder``.
        key: JSON values; a copy lies beside the content, for the same people.
    """
    place = Path(folder) / f"{name}-{digest(key)[:20]}"
    if not (place / "key.json").exists():
        write_whole(place / "key.json", json.dumps(key, indent=2, sort_keys=True))
    return place
