"""Which part of the study may use which: one way, and never in a circle."""

import ast
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

import skmm_study

ROOT = Path(skmm_study.__file__).parent
USES = {
    "storage": set(),
    "pools": {"storage"},
    "theory": set(),
    "vision": {"storage", "pools"},
    "text": {"storage", "pools"},
    "training": {"storage", "pools", "vision", "text"},
    "trials": {"storage", "pools", "theory", "training"},
    "figures": {"pools", "vision"},
    "report": {"figures"},
    "execution": {"storage", "report"},
    "ledger": {"storage", "figures", "report", "execution"},
    "site": {"figures", "report", "execution"},
}
"""Folder -> the others that it may import."""


def imported(tree):
    """Modules of the study that run because ``tree`` is imported or called, by name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if (ROOT.parent / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def arrows():
    """Module -> the modules of the study that it imports."""
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        names = imported(ast.parse(path.read_text(encoding="utf-8")))
        ours = {one for one in names if one.startswith("skmm_study.")}
        found[name.removesuffix(".__init__")] = {one for one in ours if find_spec(one)}
    return found


ARROWS = arrows()


def test_every_folder_has_its_place():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == USES.keys()
    assert sum(map(len, ARROWS.values())) > 50  # the arrows are seen at all


@pytest.mark.parametrize("folder", USES)
def test_folder_imports_what_it_may(folder):
    prefix = f"skmm_study.{folder}."
    used = {
        target.split(".")[1]
        for module, targets in ARROWS.items()
        if module.startswith(prefix)
        for target in targets
    }
    assert used - {folder} <= USES[folder]


def test_no_module_imports_itself_in_a_circle():
    order = [*TopologicalSorter(ARROWS).static_order()]  # raises CycleError, which names the circle
    assert set(order) >= ARROWS.keys()
    assert [*TopologicalSorter(USES).static_order()]
