"""The wheel: what is in it, and that it works where nothing but its declared needs is installed.

Builds the wheel and installs it, with the pinned versions, into an environment without the
checkout. This takes the network, so it is left to `make wheel`.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import skmm
from examples import NAMES, run_readme

ROOT = Path(__file__).resolve().parent.parent
MEGABYTES = 400
TORCH = ("gradients", "matching.recipe", "selection.datasets")
LACKING = {
    name: 'needs torch: pip install "skmm[gradients]"'
    for name in NAMES
    if skmm._MODULE_OF[name] in TORCH
}
LACKING["SubsetSelector"] = 'needs sklearn: pip install "skmm[sklearn]"'

pytestmark = pytest.mark.skipif(
    "SKMM_WHEEL" not in os.environ, reason="takes the network: make wheel"
)


def run(*command):
    """Runs a program that does not see the checkout; returns what it prints."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=outside, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pip(*arguments):
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build folder left in the checkout would leak into it."""
    source = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("*.egg-info"))
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source)
    (path,) = target.iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--constraint", ROOT / "requirements.lock", wheel)
    return python


@pytest.fixture(scope="module")
def report(python):
    """What the README's first example and the names' examples do there."""
    return json.loads(run(python, "-I", ROOT / "tests" / "examples.py"))


def test_wheel_holds_the_library_and_its_command_line_alone(wheel):
    files = zipfile.ZipFile(wheel).namelist()
    lib, packages = ROOT / "lib", ["skmm", "skmm_cli", "skmm_scale"]
    paths = [path for name in packages for path in (lib / name).rglob("*")]
    kinds = (".py", ".css", ".typed")
    held = {str(path.relative_to(lib)) for path in paths if path.suffix in kinds}
    information = f"skmm-{skmm.__version__}.dist-info"
    assert {file for file in files if not file.startswith(information)} == held
    assert {file.split("/")[0] for file in files} == {*packages, information}


def test_command_without_its_extra_says_what_to_install(python):
    """One sentence and an exit code, where a user who wants the command has the library alone."""
    done = subprocess.run([python.parent / "skmm", "-h"], capture_output=True, text=True)
    needed = 'skmm: the command line needs cyclopts: pip install "skmm[cli]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (1, "", needed)


def test_environment_holds_the_base_needs_alone(python):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {Requirement(line).name for line in project["dependencies"]}
    held = json.loads(pip("--python", python, "list", "--format", "json"))
    assert {entry["name"] for entry in held} == base | {"skmm"}


def test_environment_is_small(python):
    held = python.parent.parent.rglob("*")
    files = [path for path in held if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 10**6


def test_readme_runs_as_in_the_checkout(python, report):
    assert Path(report["file"]).is_relative_to(python.parent.parent)
    shown = run_readme((ROOT / "README.md").read_text(encoding="utf-8"))[1]
    assert report["readme"].splitlines()[1:] == shown.splitlines()[1:]


def test_examples_run_or_name_their_extra(report):
    assert report["names"].keys() == set(NAMES)
    lacking = {name: what for name, what in report["names"].items() if what != "ran"}
    assert lacking.keys() == LACKING.keys()
    assert all(LACKING[name] in what for name, what in lacking.items())
