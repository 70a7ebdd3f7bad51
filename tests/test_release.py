"""What a release says of itself, and what the hosted checks call, hold together."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import skmm

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def commands():
    """Each line that the workflow runs, a matrix of targets written out."""
    for job in WORKFLOW["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            for target in matrix.get("target", [""]):
                yield step.get("run", "").replace("${{ matrix.target }}", target)


def test_one_version_everywhere():
    """The distribution, the module, the citation and the newest entry of the changelog agree."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(\d\S*)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)[1]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == skmm.__version__ == citation["version"] == newest
    assert citation["license"] == PROJECT["license"]


def test_workflow_calls_targets_that_exist():
    called = {target for line in commands() for target in re.findall(r"\bmake ([a-z]+)", line)}
    assert called >= {"test", "wheel", "lint", "dist", "lowest", "newest", "audit"}
    assert called <= TARGETS


def test_workflow_covers_what_one_machine_checks():
    """Whatever .ci/run asks for, the hosted checks ask for too."""
    here = set(re.findall(r"^make ([a-z]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    assert here
    assert here <= {target for line in commands() for target in re.findall(r"make ([a-z]+)", line)}


def test_workflow_runs_the_pythons_that_the_project_allows():
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(allowed.contains(version) for version in matrix["python"])
    assert not allowed.contains("3.10")
    assert {"3.11", "3.12", "3.13", "3.14"} <= set(matrix["python"])
    assert {os.split("-")[0] for os in matrix["os"]} == {"ubuntu", "macos"}


def test_phony_targets_are_those_there_are():
    """A target that is no file is said to be none, and none is listed that went."""
    lines = MAKEFILE.replace("\\\n", " ")
    assert set(re.search(r"^\.PHONY: (.*)$", lines, re.MULTILINE)[1].split()) == TARGETS


def test_quick_tests_exist():
    """A test file that was renamed is not left out of the other versions in silence."""
    quick = subprocess.run(
        ["make", "--eval", "show:; @echo $(QUICK)", "show"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    files = quick.stdout.split()
    assert files, quick.stderr
    assert all((ROOT / file).is_file() for file in files)


def test_hooks_run_the_locked_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    pins = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    assert len(pins) == 1
    assert pins <= set((ROOT / "requirements.lock").read_text().splitlines())
    called = {found for hook in hooks for found in re.findall(r"\bmake ([a-z]+)", hook["entry"])}
    assert called <= TARGETS


def test_tools_are_pinned():
    lines = (ROOT / ".ci/tools.txt").read_text().splitlines()
    needs = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {need.name for need in needs} == {"build", "twine", "pip-audit", "pip-licenses"}
    assert all([part.operator for part in need.specifier] == ["=="] for need in needs)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_form_is_complete(path):
    """A form has a name, a sentence, and fields with labels and distinct names."""
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert form["name"]
    assert form["description"]
    assert all(field["attributes"]["label"] for field in form["body"])
    names = [field["id"] for field in form["body"]]
    assert len(names) == len(set(names))


SAID = """
import json, sys
print(json.dumps({answer}))
"""


def audit(tmp_path, advisories):
    """Runs the audit with stand-ins for the two programs that it asks."""
    licences = [{"Name": "Some_Package", "Version": "1.0", "License": "MIT | or not\nwhole text"}]
    for module, answer in (("piplicenses", licences), ("pip_audit", {"dependencies": advisories})):
        (tmp_path / f"{module}.py").write_text(SAID.format(answer=repr(answer)))
    out = tmp_path / "packages.md"
    command = [sys.executable, ROOT / ".ci/audit.py", "--python", "unused", "--out", out]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    return done, out.read_text() if out.exists() else ""


@pytest.mark.parametrize(
    ("entry", "code", "cell"),
    [
        ({"vulns": []}, 0, "none"),
        ({"vulns": [{"id": "X-1"}, {"id": "X-2"}]}, 1, "X-1, X-2"),
        ({"skip_reason": "not found"}, 1, "not looked up"),
    ],
    ids=["clean", "vulnerable", "out of reach"],
)
def test_audit_tells_unknown_from_none(tmp_path, entry, code, cell):
    """A database that does not answer has not said that nothing is known."""
    done, text = audit(tmp_path, [{"name": "some-package", "version": "1.0", **entry}])
    assert done.returncode == code, done.stderr
    assert f"| some-package | 1.0 | MIT / or not | {cell} |" in text
    assert ("out of reach" in text) == (cell == "not looked up")


def test_audit_refuses_an_environment_that_lacks_what_is_locked(tmp_path):
    """Whose licences would go untold."""
    advisories = [{"name": name, "vulns": []} for name in ("some-package", "another")]
    done, text = audit(tmp_path, advisories)
    assert done.returncode == 1
    assert "lacks another: install" in done.stderr
    assert not text


def test_committed_audit_is_of_the_locked_versions():
    """After `make lock`, `make audit`: no line is of a version that is not installed any more."""
    text = (ROOT / "figures/audit/packages.md").read_text()
    audited = re.findall(r"^\| ([a-z0-9-]+) \| (\d\S*) \|.*\|.*\|$", text, re.MULTILINE)
    assert len(audited) > 100
    pins = {line.split(" ;")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert {f"{name}=={version}" for name, version in audited} <= pins
