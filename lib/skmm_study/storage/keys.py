"""What a result rests on: digests of the code that it runs through and of the arrays it reads."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from skmm_study.execution.provenance import OURS, package_versions
from skmm_study.storage.arrays import code_version


def array_digest(array: NDArray) -> str:
    """SHA-256 of an array's type, shape and entries."""
    array = np.ascontiguousarray(array)
    total = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    total.update(array.data)
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages whose arithmetic results depend on."""
    known = package_versions()
    return {
        name: known[name] for name in ("numpy", "scipy", "torch", "scikit-learn") if name in known
    }


def code_behind(*starts: str | ModuleType) -> str:
    """Digest of modules of library and study and all others of them that they import, at any depth.

    What is imported inside a function counts; comments and docstrings do not.

    Args:
        starts: modules or their names, such as ``"skmm.training.probing"``.
    """
    names = [start if isinstance(start, str) else start.__name__ for start in starts]
    found: dict[str, ModuleType] = {}
    while names:
        if (name := names.pop()) not in found:
            found[name] = sys.modules.get(name) or import_module(name)
            names += _imports(found[name])
    return code_version(*(found[name] for name in sorted(found)))


@cache
def _imports(module: ModuleType) -> list[str]:
    """Names of the modules of library and study that ``module`` imports."""
    names = []
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            # `from package import module` names the module last.
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = [name for name in names if name.split(".")[0] in OURS]
    return [name for name in ours if _is_module(name)]


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
