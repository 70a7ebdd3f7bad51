"""The house: what stands where, and which part may import which. Imports in functions count too."""

import ast
import os
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import skmm

ROOT = Path(__file__).resolve().parent.parent
LIB = Path(skmm.__file__).parent.parent
PACKAGES = ["skmm", "skmm_cli", "skmm_scale", "skmm_study"]

# Which parts of the library a part may import: those that data flows through before. Gradients are
# sketched as they are made, so that their part comes after the maps.
ALLOWED = {
    "numerics": set(),
    "sketching": {"numerics"},
    "gradients": {"numerics", "sketching"},
    "spectrum": {"numerics"},
    "matching": {"numerics", "spectrum"},
    "criteria": {"numerics", "spectrum"},
    "rounding": {"numerics", "spectrum", "matching", "criteria"},
    "selection": {
        *("numerics", "sketching", "gradients", "spectrum", "matching", "criteria", "rounding"),
    },
    "training": {"numerics", "spectrum"},
}
IMPORTED_AS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
IMPORTED_AS |= {"open_clip": "open-clip-torch"}


def module_name(path, root):
    """The name by which the file at ``path`` is imported; a package's is that of its folder."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported_names(tree, module):
    """Absolute names that a module imports: of ``from a import b``, both are ``a.b``."""
    package = module.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else []
            parts = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def import_graph(root, packages=PACKAGES):
    """For every module below ``root``, the modules below it that it imports; and foreign names."""
    files = {module_name(p, root): p for name in packages for p in (root / name).rglob("*.py")}
    own, foreign = {}, {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own[module], foreign[module] = set(), set()
        # Relative to a package's own name if the file is its __init__, to its parent's otherwise.
        home = f"{module}.__init__" if path.name == "__init__.py" else module
        for name in imported_names(tree, home):
            if name.split(".")[0] not in packages:
                foreign[module].add(name.split(".")[0])
            elif name in files:
                own[module].add(name)
            else:  # a definition in the module
                own[module].add(name.rpartition(".")[0])
    return own, foreign


def contracted(graph, folder):
    """The graph among what lies directly in ``folder``; the folder's own file is ``__init__``."""
    depth = len(folder.split("."))

    def child(module):
        return (module.split(".")[depth:] or ["__init__"])[0]

    inside = {m for m in graph if m == folder or m.startswith(f"{folder}.")}
    children = {child(m): set() for m in inside}
    for module in inside:
        children[child(module)] |= {child(m) for m in graph[module] & inside} - {child(module)}
    return children


def cycle(graph):
    """The modules of an import cycle, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


GRAPH, FOREIGN = import_graph(LIB)
FILES = sorted(path for name in PACKAGES for path in (LIB / name).rglob("*.py"))
FOLDERS = [module_name(path, LIB) for path in FILES if path.name == "__init__.py"]


# Which packages a package may import besides itself: what scales the library builds on it, the
# command line on both; the study measures what the command line announces, which knows nothing
# of the study.
ABOVE = {
    "skmm": set(),
    "skmm_scale": {"skmm"},
    "skmm_cli": {"skmm", "skmm_scale"},
    "skmm_study": {"skmm", "skmm_cli"},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_those_below_it_alone(package):
    arrows = {
        (top(module), top(name))
        for module, names in GRAPH.items()
        for name in names
        if top(module) == package
    }
    assert arrows == {(package, name) for name in ABOVE[package] | {package}}


def top(module):
    return module.split(".")[0]


def test_no_module_imports_itself_by_way_of_others():
    assert cycle(GRAPH) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_has_a_cycle_among_its_parts(folder):
    """Nor two folders, each of which imports the other: a cycle no single module shows."""
    assert cycle(contracted(GRAPH, folder)) == []


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_part_imports_what_flows_into_it_alone(part):
    assert contracted(GRAPH, "skmm")[part] <= ALLOWED[part]


def test_table_of_parts_is_whole_and_ordered():
    """The root holds the flow's nouns and nothing else; each part imports earlier ones alone."""
    assert contracted(GRAPH, "skmm").keys() == ALLOWED.keys() | {"__init__"}
    order = list(ALLOWED)
    for part, allowed in ALLOWED.items():
        assert allowed <= set(order[: order.index(part)])
    flow = ["sketching", "spectrum", "matching", "rounding", "selection", "training"]
    assert sorted(flow, key=order.index) == flow


def test_root_holds_at_most_ten_modules():
    """Besides them only the marker that says: this package has types."""
    entries = {path.name for path in (LIB / "skmm").iterdir()} - {"__pycache__"}
    assert "py.typed" in entries
    assert len(entries - {"py.typed"}) <= 10


def test_surface_has_at_most_forty_names():
    assert len(skmm.__all__) <= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path, LIB))
def test_module_is_short_and_documented(path):
    """A module fits in one sitting, below 300 lines, and opens with what it is about."""
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) < 300


# What is imported is declared, in pyproject.toml, where its reader needs it.

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def on_index(requirements):
    """Names on the package index of what these lines require."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def installed_by(modules):
    """Names on the package index of what brings these modules."""
    return {canonicalize_name(IMPORTED_AS.get(module, module)) for module in modules}


BASE = on_index(PROJECT["dependencies"])
OPTIONAL = ("cvxpy", "gradients", "images", "sklearn", "thinning")
LIBRARY = BASE.union(*(on_index(EXTRAS[extra]) for extra in OPTIONAL))
COMMANDS = BASE.union(*(on_index(EXTRAS[extra]) for extra in ("cli", "gradients", "transformers")))
SCALE = COMMANDS | on_index(EXTRAS["ray"])
STUDY = LIBRARY.union(
    *(on_index(EXTRAS[extra]) for extra in ("study", "data", "transformers", "clip"))
)
PEERS = {"apricot", "coreax", "faiss", "skactiveml"}


def imported_by(package):
    """Names on the package index of what the modules of a package import."""
    names = {n for module in FOREIGN if module.split(".")[0] == package for n in FOREIGN[module]}
    return installed_by(names - sys.stdlib_module_names)


def test_library_imports_what_it_declares_and_no_more():
    assert imported_by("skmm") == LIBRARY


def test_command_line_imports_what_it_declares_and_no_more():
    """Of the base needs not all: the library has them. Tensors are read where torch is."""
    assert on_index(EXTRAS["cli"]) | {"torch"} <= imported_by("skmm_cli") <= COMMANDS


def test_what_scales_imports_only_what_is_declared():
    assert {"numpy", "pyarrow", "ray", "torch"} <= imported_by("skmm_scale") <= SCALE


def test_study_imports_only_what_is_declared():
    """Or what it measures beside ours if it is installed, and notes as absent if not."""
    assert {"pandas", "numpy"} <= imported_by("skmm_study") <= STUDY | PEERS


@pytest.mark.parametrize("method", ["skmm", "uniform"])
def test_selecting_from_an_array_loads_base_needs_alone(method):
    """Neither torch nor scikit-learn nor anything of the study, though all are installed here."""
    program = (
        "import sys, numpy, skmm; G = numpy.random.default_rng(0).standard_normal((60, 9));"
        f"skmm.select(G, 8, method={method!r}, m=5, rng=0);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(LIB)},
    ).stdout.split()
    extras = set().union(*map(on_index, EXTRAS.values())) - {"skmm"}
    assert {"torch", "scikit-learn", "pandas", "matplotlib", "cvxpy", "pyyaml"} <= extras
    assert {"numpy", "skmm"} <= set(loaded)
    assert not {*extras, "skmm-study"} & installed_by(loaded)


# The laws find what they are meant to find.


@pytest.fixture
def house(tmp_path):
    """Writes modules into an empty package and returns its graph."""

    def build(**sources):
        for name, source in {"__init__": "", "a.__init__": "", "b.__init__": "", **sources}.items():
            path = tmp_path.joinpath("toy", *name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return import_graph(tmp_path, ["toy"])

    return build


@pytest.mark.parametrize(
    "line",
    [
        "from toy.b.y import f",
        "from toy.b import y",
        "import toy.b.y",
        "from ..b import y",
        "from ..b.y import f",
        "def g():\n    import toy.b.y",
        "if False:\n    from toy.b.y import f",
    ],
)
def test_every_form_of_import_is_seen(house, line):
    own, _ = house(**{"a.x": line, "b.y": "def f(): ..."})
    assert own["toy.a.x"] == {"toy.b.y"}


def test_cycle_of_modules_is_found(house):
    own, _ = house(**{"a.x": "import toy.a.z", "a.z": "def f():\n    from toy.a import x"})
    assert {"toy.a.x", "toy.a.z"} <= set(cycle(own))


def test_cycle_of_folders_is_found(house):
    """Though no module is part of one."""
    own, _ = house(**{"a.x": "import toy.b.y", "b.y": "", "b.z": "import toy.a.w", "a.w": ""})
    assert cycle(own) == []
    assert {"a", "b"} <= set(cycle(contracted(own, "toy")))


def test_package_that_its_own_part_imports_is_a_cycle(house):
    own, _ = house(**{"a.__init__": "from toy.a.x import f", "a.x": "from toy.a import f"})
    assert cycle(own)


def test_foreign_packages_are_seen(house):
    _, foreign = house(**{"a.x": "import os.path\ndef f():\n    from torch import nn"})
    assert foreign["toy.a.x"] == {"os", "torch"}
