"""What code does, as a digest: the syntax, without words, of all that it runs through."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path

OURS = ("skmm", "skmm_study")
"""The packages of this project."""

_KEEPERS = "skmm_study.storage"
"""The package that keeps results: it has no part in making them."""


def code_behind(*starts: str, without: Iterable[str] = ()) -> str:
    """SHA-256 of modules and of all that they import, at any depth, other packages apart.

    What is imported inside a function counts; comments, docstrings, imports for type checkers and
    the package that keeps results do not. Strings that document an attribute, below it, are
    docstrings too. Only packages are imported to find their modules; no module is run.

    Args:
        starts: names of modules, such as ``"skmm.training.probing"``.
        without: names of modules that are neither counted nor followed.

    Raises:
        ValueError: a module has no source to read.
    """
    names, skipped = list(starts), set(without)
    found: dict[str, str] = {}
    while names:
        name = names.pop()
        if name in found or name in skipped or name.startswith(_KEEPERS):
            continue
        source, package = _source(name)
        found[name] = _syntax(source)
        for start, parts in _imports(source):
            start = resolve_name(start, package)
            if is_foreign(start) or (spec := _spec(start)) is None:
                continue
            names += [start] if spec.origin else []  # a package without a file of its own has none
            if spec.submodule_search_locations:
                # `from package import module` names the module last.
                modules = (f"{start}.{part}" for part in parts)
                names += [module for module in modules if _spec(module) is not None]
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(found[name].encode())
    return total.hexdigest()


def is_foreign(module: str) -> bool:
    """Whether a module is of another package, so that name and version stand for its code."""
    top = module.partition(".")[0]
    if top in OURS or top == "__main__":
        return False
    if top in sys.stdlib_module_names:
        return True
    if (spec := _spec(top)) is None:
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ModuleNotFoundError, ValueError):  # not below a package, or a module made by hand
        return None


def _source(module: str) -> tuple[str, str]:
    """Returns the source of a module, and the package that its relative imports start from."""
    spec = _spec(module)
    if spec is None or not (spec.origin or "").endswith(".py"):
        raise ValueError(f"module {module} must be a file of Python to be part of a key")
    return Path(spec.origin).read_text(encoding="utf-8"), spec.parent


@cache
def _syntax(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [part for part in node.body if not _is_text(part)]
    return ast.dump(tree)


def _is_text(part: ast.stmt) -> bool:
    if not isinstance(part, ast.Expr) or not isinstance(part.value, ast.Constant):
        return False
    return isinstance(part.value.value, str)


@cache
def _imports(source: str) -> list[tuple[str, list[str]]]:
    """Returns imported modules, with leading points where relative, and the names taken of each."""
    found = []
    for node in _nodes_that_run(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            found.append((start, [alias.name for alias in node.names]))
    return found


def _nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _nodes_that_run(node)
