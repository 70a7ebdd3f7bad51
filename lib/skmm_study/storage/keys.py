"""What a result rests on, as digests: values, arrays, objects with their code, and versions."""

from __future__ import annotations

import copyreg
import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

import skmm
from skmm_study.storage.code import code_behind, is_foreign

PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "pandas", "matplotlib")
_ARITHMETIC = ("numpy", "scipy", "torch", "scikit-learn")


def package_versions() -> dict[str, str]:
    """Returns the versions of Python, of this library and of the packages results depend on."""
    found = {"python": platform.python_version(), "skmm": skmm.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def kernels() -> list[str]:
    """Names the kernels that linear algebra runs on, such as ``openblas Haswell``.

    They differ between processors, and by ``OPENBLAS_CORETYPE``, and round differently. Other
    packages may bring a BLAS of their own, and load it sooner or later: only that of NumPy and
    SciPy counts, where it can be told apart.
    """
    loaded = [info for info in threadpool_info() if info["user_api"] == "blas"]
    ours = [x for x in loaded if {"numpy.libs", "scipy.libs"} & set(Path(x["filepath"]).parts)]
    return sorted({f"{x['internal_api']} {x.get('architecture', '')}" for x in ours or loaded})


def arithmetic() -> dict[str, Any]:
    """Returns what results depend on below our code: versions of packages, and kernels."""
    known = package_versions()
    return {name: known[name] for name in _ARITHMETIC if name in known} | {"kernels": kernels()}


def digest(content: Any) -> str:
    """SHA-256 of JSON values; the order of a mapping's keys does not matter."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def array_digest(array: NDArray) -> str:
    """SHA-256 of an array's type, shape and entries."""
    array = np.ascontiguousarray(array)
    total = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    total.update(array.data)
    return total.hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of what an object is and does, the same in any process.

    Its attributes count, at any depth and in their order, and which of them are one object; and the
    code of its classes and functions: of this project and of your own files all that is behind it,
    of other packages the name and the version. So two networks with equal weights differ if their
    activations, strides or orders of layers do.

    Args:
        value: what `pickle` can take apart, such as numbers, containers, arrays, tensors,
            functions, and objects of them: a ``torch.nn.Module`` among others.

    Raises:
        ValueError: it holds something that has no content, such as an open file.
    """
    return digest(_describe(value, {}))


def _describe(value: Any, seen: dict[int, tuple[int, Any]]) -> Any:
    """Returns JSON values; whatever is not plain becomes a list that is headed by its kind."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (tuple, frozenset, bytes, CodeType, ModuleType):
        return _describe_constant(value, seen)
    if id(value) in seen:
        return ["again", seen[id(value)][0]]
    # Kept with its number: another object could get the number of one that is gone.
    seen[id(value)] = len(seen), value
    if type(value) is list:
        return ["list", *(_describe(part, seen) for part in value)]
    if type(value) is dict:
        return ["dict", *([_describe(part, seen) for part in pair] for pair in value.items())]
    if type(value) is set:
        return _describe_constant(frozenset(value), seen)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", array_digest(value)]
    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor):
        entries = value.detach().cpu().contiguous().flatten()
        entries = entries.view(sys.modules["torch"].uint8).numpy()
        return ["tensor", str(value.dtype), list(value.shape), array_digest(entries)]
    if isinstance(value, type | FunctionType):
        return _describe_definition(value, seen)
    try:
        registered = copyreg.dispatch_table.get(type(value))
        parts = registered(value) if registered else value.__reduce_ex__(4)
    except Exception as error:  # whatever a class raises that cannot be taken apart
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ValueError(
            f"value must be made of numbers, containers, arrays and code, got a {kind} in it, "
            f"which has no content that a key could hold ({error})"
        ) from error
    if isinstance(parts, str):
        return ["named", getattr(value, "__module__", None) or type(value).__module__, parts]
    listed = (list(part) if hasattr(part, "__next__") else part for part in parts)
    return ["object", *(_describe(part, seen) for part in listed)]


def _describe_constant(value: Any, seen: dict[int, tuple[int, Any]]) -> list:
    """Describes what the interpreter shares as it likes: it has content, and no identity."""
    if isinstance(value, tuple):
        return ["tuple", *(_describe(part, seen) for part in value)]
    if isinstance(value, frozenset):
        return ["set", *sorted(digest(_describe(part, {})) for part in value)]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, ModuleType):
        return ["module", value.__name__, _code_of(value.__name__)]
    parts = (value.co_code, value.co_names, value.co_varnames, value.co_consts)
    return ["code", *(_describe(part, seen) for part in parts)]


def _describe_definition(value: type | FunctionType, seen: dict[int, tuple[int, Any]]) -> list:
    """Describes a class or function: its name, the code behind its module, and what it holds."""
    module = value.__module__
    named = [type(value).__qualname__, module, value.__qualname__, _code_of(module)]
    if is_foreign(module):
        return named
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
        if module == "__main__":
            used = sorted(_names_in(value.__code__) & value.__globals__.keys())
            parts.append([(name, value.__globals__[name]) for name in used])
    else:
        parts = list(value.__bases__)
        if module == "__main__":
            parts += [
                (name, getattr(part, "fget", getattr(part, "__func__", part)))
                for name, part in vars(value).items()
                if isinstance(part, FunctionType) or not name.startswith(("__", "_abc_"))
            ]
    return [*named, *(_describe(part, seen) for part in parts)]


def _names_in(code: CodeType) -> set[str]:
    """Names that a function looks up, those of the functions within it included."""
    inner = (_names_in(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inner)


def _code_of(module: str) -> str:
    """Digest of what is behind a module; of another package, its version."""
    if module == "__main__":
        return ""
    if not is_foreign(module):
        return code_behind(module)
    top = module.partition(".")[0]
    return getattr(sys.modules.get(top), "__version__", platform.python_version())
