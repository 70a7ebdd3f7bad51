"""Running one notebook: parameters, results, failures, interruption, and what make learns of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from skmm_study.execution.notebook_source import code_digest, declared_parameters, read_notebook
from skmm_study.execution.profiles import Profile
from skmm_study.execution.runner import dependency_rule, execute, main

OPEN = """import skmm
import skmm_study

output = skmm_study.OutputFolder(out_dir, parameters=globals())"""
DRAW = """import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

skmm_study.set_style()
rng = np.random.default_rng(seed)
trials = [("skmm", n, trial, rng.lognormal() / n) for n in (8, 16) for trial in range(n_trials)]
risk = pd.DataFrame(trials, columns=["method", "n", "trial", "risk"])
"""
SAVE = """risk = output.save_table("risk", risk)
fig, ax = plt.subplots()
skmm_study.plot_bands(ax, risk, y="risk")
output.save_figure("risk", fig)
output.save_markdown("risk", skmm_study.markdown_table(risk, values="risk"))
"""


def run(notebook, profile="smoke", status=0):
    """Runs ``notebook`` as the command line would; returns the folder of its executed copy."""
    assert main([str(notebook), "--profile", profile]) == status
    return notebook.parent.parent / "build" / profile


def test_undeclared_parameter_is_an_error_before_any_work(project, capsys):
    """Papermill would inject it unnoticed; here the report names it and what is declared."""
    project.write_profile("figures: out\nnotebooks: {01_toy: {n_trial: 2, seed: 1}}\n")
    build = run(project.write_notebook("01_toy", OPEN, "output.close()"), status=1)
    report = capsys.readouterr().out
    assert "n_trial in 01_toy" in report
    assert "out_dir, profile, seed" in report
    assert (build / "01_toy.failed").read_text() in report
    assert not (build / "01_toy.ipynb").exists()


def test_notebook_must_declare_what_the_runner_sets(project):
    path = project.write_notebook("01_toy")
    notebook = read_notebook(path)
    notebook.cells[1].source = "seed = 0"
    nbformat.write(notebook, path)
    profile = Profile.load("smoke", project.notebooks)
    with pytest.raises(ValueError, match="01_toy must declare out_dir, profile; it declares seed"):
        execute(path, profile, build=project.root / "build")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("figures: out\nnotebooks: {02_gone: {seed: 1}}", "no 02_gone.ipynb"),
        ("figures: out", "'figures' and 'notebooks'"),
        ("figures: out\nnotebooks: {}\nnotebook: {}", "'figures' and 'notebooks'"),
        ("- 1", "nothing else"),
    ],
)
def test_malformed_profile_is_an_error(project, text, message):
    project.write_profile(text)
    with pytest.raises(ValueError, match=message):
        Profile.load("smoke", project.notebooks)


def test_unknown_profile_lists_the_known_ones(project):
    with pytest.raises(ValueError, match="one of default, smoke, got 'large'"):
        Profile.load("large", project.notebooks)


def notebook_with_parameters(*sources):
    cells = [v4.new_code_cell(source, metadata={"tags": ["parameters"]}) for source in sources]
    return v4.new_notebook(cells=cells)


def test_declared_parameters_are_the_literals_of_the_tagged_cell():
    source = "seed = 0  # root\nbudgets = [\n    48,\n    96,\n]\nscale = -1.5\nname = 'a'"
    declared = declared_parameters(notebook_with_parameters(source), "01_toy")
    assert declared == {"seed": 0, "budgets": [48, 96], "scale": -1.5, "name": "a"}


@pytest.mark.parametrize("source", ["n = 2 * m", "import numpy", "a = b = 1", "a, b = 1, 2", "f()"])
def test_parameters_cell_may_only_assign_literals(source):
    with pytest.raises(ValueError, match="01_toy may only assign literals"):
        declared_parameters(notebook_with_parameters(source), "01_toy")


@pytest.mark.parametrize("sources", [(), ("seed = 0", "seed = 1")])
def test_exactly_one_cell_is_tagged(sources):
    with pytest.raises(ValueError, match=f"one cell tagged 'parameters', got {len(sources)}"):
        declared_parameters(notebook_with_parameters(*sources), "01_toy")


def test_digest_follows_code_alone():
    """Prose, outputs and counts leave the digest as it is; any change of code does not."""
    notebook = notebook_with_parameters("seed = 0")
    before = code_digest(notebook)
    notebook.cells[0].outputs = [v4.new_output("stream", text="hello")]
    notebook.cells[0].execution_count = 3
    notebook.cells.append(v4.new_markdown_cell("prose"))
    assert code_digest(notebook) == before
    notebook.cells[0].source += " "
    assert code_digest(notebook) != before


def test_run_gives_results_and_the_same_bytes_again(project, capsys):
    """Two runs agree to the byte in all but provenance, which names what make must watch."""
    project.write_profile("figures: out\nnotebooks: {01_toy: {n_trials: 3}}\n")
    parameters = "seed = 0\nn_trials = 8"
    path = project.write_notebook(
        "01_toy", OPEN, DRAW, SAVE, "output.close()", parameters=parameters
    )
    source = path.read_bytes()
    results = project.root / "out" / "01_toy"

    build = run(path)
    record = json.loads((results / "provenance.json").read_text())
    first = {file: (results / file).read_bytes() for file in record["files"]}
    assert first.keys() == {"risk.csv", "risk.md", "risk.png", "risk.pdf"}
    assert record["profile"] == "smoke"
    assert record["parameters"] == {"n_trials": 3, "seed": 0}
    assert len(first["risk.csv"].splitlines()) == 1 + 2 * 3
    assert path.read_bytes() == source
    assert {"skmm_study/figures/style.py", "skmm_study/execution/output.py"} <= record[
        "modules"
    ].keys()
    assert not [module for module in record["modules"] if "runner" in module]

    rule = (build / "01_toy.d").read_text()
    assert rule.startswith("build/smoke/01_toy.ipynb: ")
    assert all(f"{module}" in rule for module in record["modules"])
    assert {file.name for file in build.iterdir()} == {"01_toy.d", "01_toy.ipynb", "01_toy.log"}
    assert any(cell.get("outputs") for cell in read_notebook(build / "01_toy.ipynb").cells)
    assert "[01_toy] done in" in capsys.readouterr().out

    run(path)
    assert {file: (results / file).read_bytes() for file in record["files"]} == first


def test_failing_cell_is_reported_by_its_number_in_the_source(project, capsys):
    path = project.write_notebook("01_toy", "print('before')", "x = 1\nassert x > 2, 'claim'")
    build = run(path, status=1)
    report = (build / "01_toy.failed").read_text()
    assert report in capsys.readouterr().out
    assert "01_toy failed in cell 6 of 7:\n    x = 1\n    assert x > 2, 'claim'\n" in report
    assert "AssertionError: claim" in report
    log = (build / "01_toy.log").read_text()
    assert "before" in log
    assert "AssertionError: claim" in log
    left = {file.name for file in build.iterdir()}
    assert left == {"01_toy.failed", "01_toy.failed.ipynb", "01_toy.log"}


def test_dead_kernel_is_reported(project):
    build = run(project.write_notebook("01_toy", "import os\n\nos._exit(1)"), status=1)
    assert "failed in cell 4 of 5" in (build / "01_toy.failed").read_text()
    assert not (build / "01_toy.ipynb").exists()


def test_kernel_that_is_slow_to_rest_is_not_interrupted(project, capfd):
    """It has answered the last request and is still at it when the run ends: nothing is printed."""
    slow = """import time

handlers = get_ipython().kernel.shell_handlers
answer = handlers["kernel_info_request"]


async def answer_slowly(*request):
    await answer(*request)
    time.sleep(0.3)


handlers["kernel_info_request"] = answer_slowly"""
    run(project.write_notebook("01_toy", OPEN, slow, "output.close()"))
    assert not capfd.readouterr().err


def test_results_of_an_earlier_run_do_not_pass_for_new_ones(project):
    """A notebook that forgets to close its output fails, although an old provenance lies there."""
    path = project.write_notebook("01_toy", "seed")
    (project.root / "figures/01_toy/provenance.json").write_text("{}")
    build = run(path, profile="default", status=1)
    assert "must call output.close()" in (build / "01_toy.failed").read_text()
    assert not (build / "01_toy.ipynb").exists()
    assert not (build / "01_toy.partial.ipynb").exists()


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_copy(project, kind):
    path = project.write_notebook(
        "01_toy", "open('started', 'w').close()\nimport time\ntime.sleep(60)"
    )
    command = [
        sys.executable,
        "-m",
        "skmm_study.execution.runner",
        str(path),
        "--profile",
        "smoke",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (project.notebooks / "started").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(kind)
    assert "[01_toy] interrupted" in process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert [file.name for file in (project.root / "build/smoke").iterdir()] == ["01_toy.log"]


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs make in ``root``: settings of an outer make do not reach it, nor is it measured."""
    command = ["make", "VENV=.venv", *arguments]
    outer = ("MAKE", "MFLAGS", "COV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=env)


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs GNU make")


@needs_make
def test_rule_reruns_when_a_file_changes_or_goes(tmp_path):
    """As make reads the rule: up to date, stale after a change, stale and no error after a loss."""
    target, module, data = (tmp_path / name for name in ("copy", "module.py", "two words.csv"))
    module.touch()
    data.touch()
    target.touch()
    rule = dependency_rule(target, [module, data], root=tmp_path)
    (tmp_path / "Makefile").write_text(f"copy: ; touch copy\n{rule}")
    future = target.stat().st_mtime + 5
    assert make(tmp_path, "--question", "copy").returncode == 0
    for needed in (module, data):
        os.utime(needed, (future, future))
        assert make(tmp_path, "--question", "copy").returncode == 1
        os.utime(needed, (0, 0))
    data.unlink()
    assert make(tmp_path, "--question", "copy").returncode == 1


@pytest.fixture
def checkout(project):
    """A copy of this checkout with two notebooks of its own and a complete environment."""
    here = Path(__file__).resolve().parent.parent
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(here / name, project.root)
    shutil.copytree(here / "lib", project.root / "lib", ignore=shutil.ignore_patterns("*.egg-info"))
    programs = project.root / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python").chmod(0o755)
    (project.root / ".venv" / ".skmm-installed").touch()
    project.write_notebook("01_plain", OPEN, "output.close()")
    project.write_notebook("02_ridge", OPEN, "skmm.cross_validate", "output.close()")
    return project


@needs_make
def test_make_executes_what_changed_and_nothing_else(checkout):
    """All notebooks, then none, then the one whose module changed, then past one that fails."""

    def executed(status=0):
        done = make(checkout.root, "figures", "PROFILE=smoke", "JOBS=2")
        assert done.returncode == status, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        return {line.split("]")[0][1:] for line in lines if "] running" in line}, done.stdout

    both = {"01_plain", "02_ridge"}
    assert executed()[0] == both
    names, text = executed()
    assert not names
    assert "Nothing to execute" in text
    ridge = checkout.root / "lib/skmm/training/ridge.py"
    ridge.touch()
    assert executed()[0] == {"02_ridge"}
    ridge.touch()
    checkout.write_notebook("01_plain", "1 / 0")
    names, text = executed(status=2)
    assert names == both
    assert "[02_ridge] done" in text
    assert "failed in cell 4 of 5:\n    1 / 0\n  ZeroDivisionError: division by zero" in text
    assert text.rstrip().endswith("01_plain.failed.ipynb")


@needs_make
def test_make_alone_lists_every_target(checkout):
    text = make(checkout.root).stdout
    for target in (
        "env",
        "figures",
        "ledger",
        "verify",
        "test",
        "wheel",
        "lint",
        "bench",
        "lock",
        "clean",
    ):
        assert f"make {target} " in text


@needs_make
def test_make_verifies_the_profile_it_is_told(checkout):
    done = make(checkout.root, "verify", "PROFILE=smoke")
    assert done.returncode == 2
    assert "must have committed tables in" in done.stdout


@needs_make
def test_make_refuses_an_old_python(checkout):
    """Nothing is installed, the message names the version, and the next run tries again."""
    shutil.rmtree(checkout.root / ".venv")
    old = checkout.root / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make(checkout.root, "env", "PYTHON3=./old-python")
    assert done.returncode == 2
    assert "Python 3.11 or newer, but ./old-python is Python 3.9.1" in done.stdout
    assert not (checkout.root / ".venv").exists()
