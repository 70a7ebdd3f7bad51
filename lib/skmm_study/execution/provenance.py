"""Where a result comes from: sources, parameters, versions and data, each with its digest."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import skmm
from skmm_study.storage.code import OURS
from skmm_study.storage.files import sha256
from skmm_study.storage.keys import kernels, package_versions


def used_modules() -> dict[str, str]:
    """Returns the digest of each module of library and study that the process has loaded so far.

    They load lazily, so these are the modules that the result depends on. Keys are paths
    like ``skmm/spectrum.py``.
    """
    library = Path(skmm.__file__).parent.parent
    loaded = [module for name, module in sys.modules.items() if name.split(".")[0] in OURS]
    files = (getattr(module, "__file__", None) for module in loaded)
    paths = sorted(Path(file) for file in files if file is not None)
    return {path.relative_to(library).as_posix(): sha256(path) for path in paths}


def data_digests(data: Mapping[str, str | Path], root: Path) -> dict[str, dict[str, str]]:
    """Returns the digest of each data file and, if it lies in ``root``, its path from there.

    Raises:
        ValueError: a path is not a file.
    """
    digests = {}
    for name, given in data.items():
        path = Path(given).resolve()
        if not path.is_file():
            raise ValueError(f"data must map names to files, got {name!r}: {str(given)!r}")
        digests[name] = {"sha256": sha256(path)}
        if path.is_relative_to(root):
            digests[name]["path"] = Path(os.path.relpath(path, root)).as_posix()
    return digests


def provenance(
    *,
    notebook: str,
    code: str,
    parameters: Mapping[str, Any],
    data: Mapping[str, str | Path],
    files: Mapping[str, str],
    seconds: float,
    root: Path,
) -> dict[str, Any]:
    """Returns the record that lies beside the results of a notebook.

    Args:
        notebook: name of the notebook.
        code: digest of its code cells.
        parameters: the values it ran with; ``profile`` among them.
        data: name -> file that it read.
        files: name -> digest of the files that it wrote.
        seconds: wall time of the notebook.
        root: folder of the project; paths are relative to it.
    """
    return {
        "notebook": {"name": notebook, "code_sha256": code},
        "profile": parameters["profile"],
        "parameters": {key: value for key, value in parameters.items() if key != "profile"},
        "platform": f"{platform.system()} {platform.machine()}",
        "kernels": kernels(),
        "versions": package_versions(),
        "modules": used_modules(),
        "data": data_digests(data, root),
        "files": dict(sorted(files.items())),
        "wall_seconds": round(seconds, 1),
    }


def is_current(
    record: Mapping[str, Any],
    *,
    code: str,
    parameters: Mapping[str, Any],
    results: Path,
    root: Path,
) -> bool:
    """Returns whether a run now would rest on what the run of ``record`` rested on.

    Args:
        record: of `provenance`.
        code: digest of the notebook's code cells now.
        parameters: the values it would run with; ``profile`` among them.
        results: folder of the files that the record names.
        root: folder of the project.
    """
    library = Path(skmm.__file__).parent.parent
    parameters = json.loads(json.dumps(dict(parameters)))
    known = {"profile": parameters.pop("profile"), "parameters": parameters}
    known |= {"kernels": kernels(), "versions": package_versions()}
    if any(record.get(name) != value for name, value in known.items()):
        return False
    # Data outside the project has left no path to look at, so it may be another one.
    data = {entry.get("path", ""): entry["sha256"] for entry in record["data"].values()}
    parts = ((library, record["modules"]), (root, data), (results, record["files"]))
    return record["notebook"]["code_sha256"] == code and all(
        (folder / name).is_file() and sha256(folder / name) == digest
        for folder, files in parts
        for name, digest in files.items()
    )
