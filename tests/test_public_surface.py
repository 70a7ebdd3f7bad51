"""The public surface: lazy, complete, documented."""

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import skmm
import skmm_study

LIBRARY = Path(skmm.__file__).parent
PACKAGES = [skmm, skmm_study]
NAMES = [(package, name) for package in PACKAGES for name in package.__all__]
each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[name for _, name in NAMES])
def test_name_resolves_where_the_table_says(package, name):
    """A public name is defined in the module that the table gives for it, not passed on by it."""
    value = getattr(package, name)
    module = f"{package.__name__}.{package._MODULE_OF[name]}"
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"{package.__name__}.{name} has no docstring"
        assert value.__module__.startswith(module)
    else:
        assert vars(import_module(module))[name] is value


@each_package
def test_each_name_has_one_home(package):
    listed = [name for names in package._HOME.values() for name in names]
    assert len(listed) == len(set(listed))
    assert dir(package) == package.__all__ == sorted(listed)


def test_study_offers_what_is_used():
    """By a notebook, a benchmark or a page; classes may be of results alone."""
    root = Path(__file__).resolve().parent.parent
    readers = [("notebooks", "*.ipynb"), ("benchmarks", "*.py"), ("docs", "*.md"), ("data", "*.md")]
    files = [file for folder, pattern in readers for file in (root / folder).rglob(pattern)]
    words = set(re.findall(r"\w+", "\n".join(file.read_text("utf-8") for file in files)))
    unread = set(skmm_study.__all__) - words
    assert [name for name in unread if not inspect.isclass(getattr(skmm_study, name))] == []


def test_type_checkers_see_the_table_that_runs():
    """Imports that only a type checker reads, of each name from its home."""
    tree = ast.parse(Path(skmm.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {a.asname: node.module for node in block.body for a in node.names if a.asname == a.name}
    assert seen == {name: f"skmm.{module}" for name, module in skmm._MODULE_OF.items()}


@each_package
def test_unknown_name_says_what_there_is(package):
    with pytest.raises(AttributeError, match=r"no attribute 'no_such_name'; it offers \['"):
        package.no_such_name  # noqa: B018


def run_afresh(program):
    """What a fresh interpreter does with ``program``."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(LIBRARY.parent)},
    )


def test_import_is_lazy():
    """The bare import loads no other module, so a notebook depends on what it uses alone."""
    loaded = set(run_afresh("import sys, skmm; print(*sys.modules)").stdout.split())
    assert {name for name in loaded if name.startswith("skmm")} == {"skmm"}
    assert not loaded & {"numpy", "scipy", "torch", "matplotlib", "pandas"}


MATCH_WITH_CVXPY = "skmm.match_moments(numpy.eye(5), 2, solver='cvxpy', rng=0)"

THIN = "skmm.select(numpy.eye(5), 2, method='kernel_thinning', rng=0)"


@pytest.mark.parametrize(
    ("module", "extra", "needed_by", "statement"),
    [
        ("torch", "gradients", "skmm.gradients", "skmm.sketched_gradients"),
        ("cvxpy", "cvxpy", 'solver="cvxpy"', MATCH_WITH_CVXPY),
        ("goodpoints", "thinning", 'method="kernel_thinning"', THIN),
        ("sklearn", "sklearn", "skmm.SubsetSelector", "skmm.SubsetSelector"),
        ("torch", "gradients", "skmm.select_from", "skmm.select_from"),
    ],
)
def test_missing_extra_says_what_to_install(module, extra, needed_by, statement):
    program = f"import sys, numpy, skmm; sys.modules[{module!r}] = None; "
    done = run_afresh(program + statement)
    last = done.stderr.splitlines()[-1]
    assert last == f'ImportError: {needed_by} needs {module}: pip install "skmm[{extra}]"'
