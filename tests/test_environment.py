"""The three statements of what must be installed agree with one another."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_NAMES = {"pytorch": "torch", "ray-core": "ray"}


def by_name(lines, renamed=()):
    """Requirements by their canonical name on the package index; a name may have several."""
    requirements = {}
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(dict(renamed).get(requirement.name, requirement.name))
        requirements.setdefault(name, []).append(requirement)
    return requirements


# These extras are no part of the study's environment: nothing that is committed is made with them.
APART = {"clip", "site", "thinning"}
EXTRAS = [lines for extra, lines in PROJECT["optional-dependencies"].items() if extra not in APART]
DIRECT = by_name(line for part in [PROJECT["dependencies"], *EXTRAS] for line in part)
DIRECT.pop("skmm")
LOCKED = by_name(line for line in (ROOT / "requirements.lock").read_text().splitlines() if line)
ENVIRONMENT = by_name((x for x in CONDA["dependencies"] if isinstance(x, str)), CONDA_NAMES)


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_lock_pins_versions_that_the_project_allows(name):
    """Each direct dependency is pinned, on every platform, to a version within its bounds."""
    assert name in LOCKED, f"requirements.lock lacks {name}; run make lock"
    for pin in LOCKED[name]:
        ((operator, version),) = [(part.operator, part.version) for part in pin.specifier]
        assert operator == "=="
        assert DIRECT[name][0].specifier.contains(version)


def test_lock_pins_every_line_to_one_version():
    loose = [str(pin) for pins in LOCKED.values() for pin in pins if "==" not in str(pin.specifier)]
    assert not loose


def test_conda_environment_states_the_same_bounds():
    """environment.yml names what the project names, no more and no less, with the same bounds."""
    stated = {name: str(pins[0].specifier) for name, pins in ENVIRONMENT.items()}
    assert SpecifierSet(stated.pop("python")) == SpecifierSet(PROJECT["requires-python"])
    assert stated.pop("pip") == ""
    assert stated == {name: str(pins[0].specifier) for name, pins in DIRECT.items()}


def test_extras_that_documents_name_exist():
    """In commands, ``skmm[cli]`` or ``.[test,clip]``; CONTRIBUTING lists them all."""
    extras = set(PROJECT["optional-dependencies"])
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data").glob("*.md")]
    named = set()
    for page in [*pages, *(ROOT / "lib").rglob("*.py")]:
        for some in re.findall(r"""["'](?:skmm|\.)\[([a-z,]+)\]""", page.read_text("utf-8")):
            named.update(some.split(","))
    assert named <= extras
    listed = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("its extras")[2]
    assert set(re.findall("`([a-z]+)`", listed.partition("for a checkout")[0])) == extras


def test_conda_environment_installs_this_checkout():
    (pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--editable ."]


def test_library_needs_only_four_packages():
    """The core stays light; whatever else is imported is an extra."""
    core = by_name(PROJECT["dependencies"])
    assert core.keys() == {"numpy", "scipy", "threadpoolctl", "tqdm"}


def test_extra_of_the_tests_brings_all_others():
    """So that the tests of an extra run wherever the tests do; the lock is made of this one."""
    held, added = set(), {"test"}
    while added:
        held |= added
        lines = [line for extra in added for line in PROJECT["optional-dependencies"][extra]]
        added = {x for line in by_name(lines).get("skmm", []) for x in line.extras} - held
    assert held == PROJECT["optional-dependencies"].keys() - APART
