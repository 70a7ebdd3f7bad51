"""The notebooks: how they are committed, what they may use, and that they run."""

import ast
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

import skmm
import skmm_study
from skmm_study.execution.notebook_source import (
    code_digest,
    declared_parameters,
    read_notebook,
    read_source,
)
from skmm_study.execution.output import PNG_LIMIT
from skmm_study.execution.profiles import Profile
from skmm_study.execution.runner import execute
from skmm_study.storage.files import sha256

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
PAPER = sorted(path for path in (ROOT / "figures" / "paper").glob("*") if path.is_dir())
PROFILES = sorted(path.stem for path in (FOLDER / "profiles").glob("*.yaml"))
PACKAGES = {
    *("IPython", "matplotlib", "numpy", "pandas", "scipy", "seaborn", "sklearn", "torch"),
    *("math", "pathlib", "time"),
}
SURFACES = {"skmm": skmm, "skmm_study": skmm_study}
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
NEIGHBOUR = re.compile(r"\b(Previous|Next):\s+\[(\d\d)[^\]]*\]\(([^)\s]+)\)")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def complaints(path):
    """What keeps the notebook at ``path`` from being committed, each in a few words."""
    notebook = read_notebook(path)
    found = []
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        found.append(f"is malformed: {error.message}")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("has no kernelspec python3")
    if not notebook.cells[0].source.startswith("# "):
        found.append("has no title")
    if len(notebook.cells) > 60:
        found.append(f"has {len(notebook.cells)} cells, over 60")
    try:
        declared = declared_parameters(notebook, path.stem)
    except ValueError as error:
        found.append(str(error))
    else:
        places = {"profile": "default", "out_dir": f"../figures/{path.stem}"}
        if places.items() - {key: declared.get(key) for key in places}.items():
            found.append(f"must declare {places}")
    return (
        found
        + complaints_about_code(notebook)
        + complaints_about_images(notebook, path)
        + complaints_about_neighbours(notebook, path)
    )


def complaints_about_code(notebook):
    found, lengths = [], []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type != "code":
            continue
        if cell.outputs or cell.execution_count is not None:
            found.append(f"cell {number} has outputs or a count")
        if notebook.cells[number - 2].cell_type != "markdown":
            found.append(f"cell {number} has no prose before it")
        lengths.append(len(cell.source.splitlines()))
        if lengths[-1] > 25:
            found.append(f"cell {number} has {lengths[-1]} lines, over 25")
        try:
            found += [f"cell {number} {what}" for what in complaints_about_imports(cell.source)]
        except SyntaxError:
            found.append(f"cell {number} is not plain Python")
    if lengths and statistics.median(lengths) > 8:
        found.append(f"has a median of {statistics.median(lengths)} lines a cell, over 8")
    return found


def complaints_about_imports(source):
    """Packages that are not expected, and whatever is not on a public surface of ours."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "."]
        else:
            modules = []
        for module in modules:
            if module.split(".")[0] not in PACKAGES and module not in SURFACES:
                found.append(f"imports {module}")
        surface, names = "", []
        if isinstance(node, ast.ImportFrom) and node.module in SURFACES:
            surface, names = node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in SURFACES:
            surface, names = ast.unparse(node.value), [node.attr]
        public = SURFACES[surface].__all__ if surface else []
        found += [f"uses {surface}.{name}, not public" for name in names if name not in public]
    return found


def prose_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def complaints_about_images(notebook, path):
    images = IMAGE.findall(prose_of(notebook))
    found = [f"shows {image}, missing" for image in images if not (path.parent / image).is_file()]
    if not any(image.startswith(f"../figures/{path.stem}/") for image in images):
        found.append("shows none of its figures")
    return found


def complaints_about_neighbours(notebook, path):
    """Each leads to the notebooks before and after it in its folder, by number and file."""
    names = sorted(file.name for file in path.parent.glob("[0-9][0-9]_*.ipynb"))
    here = names.index(path.name)
    due = {("Previous", name[:2], name) for name in names[:here][-1:]}
    due |= {("Next", name[:2], name) for name in names[here + 1 :][:1]}
    linked = set(NEIGHBOUR.findall(prose_of(notebook)))
    return [f"lacks {way}: {name}" for way, _, name in sorted(due - linked)] + [
        f"has no neighbour {way}: {name}" for way, _, name in sorted(linked - due)
    ]


def test_every_notebook_is_numbered():
    """None escapes the laws below and `make figures`; no two share a number."""
    assert sorted(FOLDER.glob("*.ipynb")) == NOTEBOOKS
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert len(numbers) == len(set(numbers))


@each_notebook
def test_notebook_is_fit_to_commit(path):
    assert not complaints(path)


@each_notebook
def test_source_is_what_nbformat_reads(path):
    """Its parameters too; a notebook reads itself without that package."""
    ours, theirs = read_source(path), read_notebook(path)
    for cell, read in zip(ours.cells, theirs.cells, strict=True):
        kinds = (read.cell_type, read.source, read.metadata)
        assert (cell.cell_type, cell.source, cell.metadata) == kinds
    assert code_digest(ours) == code_digest(theirs)
    assert declared_parameters(ours, path.stem) == declared_parameters(theirs, path.stem)


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_sets_declared_parameters_alone(profile):
    """Papermill would inject an undeclared one unnoticed; the default profile overrides nothing."""
    loaded = Profile.load(profile, FOLDER)
    for path in NOTEBOOKS:
        loaded.parameters(path.stem, declared_parameters(read_notebook(path), path.stem))
    assert profile != "default" or not loaded.overrides


@each_notebook
def test_committed_results_are_of_this_notebook(path):
    """The code has not changed since, no file is of another run, and no figure is large."""
    record = record_of_whole_results(ROOT / "figures" / path.stem)
    assert record["profile"] == "default"
    assert record["notebook"]["code_sha256"] == code_digest(read_notebook(path))


@pytest.mark.parametrize("folder", PAPER, ids=lambda folder: folder.name)
def test_committed_results_of_the_full_study_are_whole(folder):
    """Of the profile as it stands; their code may be older, for they take hours."""
    record = record_of_whole_results(folder)
    loaded = Profile.load("paper", FOLDER)
    assert record["profile"] == loaded.name
    overrides = loaded.overrides[folder.name]
    ran = parameters_of_the_full_study() | record["parameters"]
    assert {name: ran.get(name) for name in overrides} == overrides


def parameters_of_the_full_study():
    """A section may have moved since it ran: its parameters are then in another record."""
    records = [json.loads((folder / "provenance.json").read_text("utf-8")) for folder in PAPER]
    return {name: value for record in records for name, value in record["parameters"].items()}


def record_of_whole_results(folder):
    """Returns the provenance of results of which no file is missing, changed or too large."""
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert {file: sha256(folder / file) for file in record["files"]} == record["files"]
    assert all(file.stat().st_size <= PNG_LIMIT for file in folder.glob("*.png"))
    return record


@pytest.mark.notebook
@each_notebook
def test_notebook_runs(path, tmp_path):
    """In the smoke profile, to its end, leaving a table, a figure and where they come from."""
    profile = replace(Profile.load("smoke", FOLDER), figures=tmp_path / "figures")
    execute(path, profile, build=tmp_path / "build")
    results = tmp_path / "figures" / path.stem
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert record["profile"] == "smoke"
    assert {Path(file).suffix for file in record["files"]} >= {".csv", ".md", ".png", ".pdf"}


# The laws refuse what they are meant to refuse.


def test_good_notebook_is_accepted(project):
    path = project.write_notebook(
        "01_toy", "import skmm", "from skmm_study import OutputFolder\nOutputFolder"
    )
    assert complaints(path) == []


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import skmm_study.execution.output", "cell 4 imports skmm_study.execution.output"),
        ("from skmm.spectrum import Spectrum", "cell 4 imports skmm.spectrum"),
        ("from skmm import import_module", "cell 4 uses skmm.import_module, not public"),
        ("skmm.import_module", "cell 4 uses skmm.import_module, not public"),
        ("import requests", "cell 4 imports requests"),
        ("from . import helpers", "cell 4 imports ."),
        ("%matplotlib inline", "cell 4 is not plain Python"),
        ("x = 1\n" * 26, "cell 4 has 26 lines, over 25"),
        ("x = 1\n" * 14, "has a median of 8.5 lines a cell, over 8"),
    ],
)
def test_bad_code_is_refused(project, code, complaint):
    assert complaint in complaints(project.write_notebook("01_toy", code))


def spoil_outputs(notebook):
    notebook.cells[3].outputs = [v4.new_output("stream", text="hello")]


def spoil_count(notebook):
    notebook.cells[3].execution_count = 1


def spoil_kernelspec(notebook):
    del notebook.metadata["kernelspec"]


def spoil_tag(notebook):
    del notebook.cells[1].metadata["tags"]


def spoil_places(notebook):
    notebook.cells[1].source = 'profile = "default"\nout_dir = "../figures/02_other"'


def spoil_title(notebook):
    notebook.cells[0].source = "No title."


def spoil_prose(notebook):
    del notebook.cells[2]


def spoil_image(notebook):
    notebook.cells[-1].source += "\n![Gone](../figures/01_toy/gone.png)"


def spoil_figure(notebook):
    notebook.cells[-1].source = "No figure."


def spoil_neighbour(notebook):
    notebook.cells[-1].source += "\nNext: [02, more](02_more.ipynb)."


def spoil_length(notebook):
    notebook.cells += [v4.new_markdown_cell("More.") for _ in range(60)]


def spoil_format(notebook):
    notebook.cells[3].surprise = True


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_outputs, "cell 4 has outputs or a count"),
        (spoil_count, "cell 4 has outputs or a count"),
        (spoil_kernelspec, "has no kernelspec python3"),
        (spoil_tag, "must have one cell tagged 'parameters', got 0"),
        (spoil_places, "must declare"),
        (spoil_title, "has no title"),
        (spoil_prose, "cell 3 has no prose before it"),
        (spoil_image, "shows ../figures/01_toy/gone.png, missing"),
        (spoil_figure, "shows none of its figures"),
        (spoil_neighbour, "has no neighbour Next: 02_more.ipynb"),
        (spoil_length, "cells, over 60"),
        (spoil_format, "is malformed"),
    ],
)
def test_bad_notebook_is_refused(project, spoil, complaint):
    """One fault, one complaint."""
    path = project.write_notebook("01_toy", "x = 1")
    notebook = read_notebook(path)
    spoil(notebook)
    path.write_text(json.dumps(notebook))
    (found,) = complaints(path)
    assert complaint in found


def test_notebook_without_its_neighbours_is_refused(project):
    """A notebook that comes last changes what the one before it must lead to."""
    first, last = (project.write_notebook(name, "x = 1") for name in ("01_toy", "02_more"))
    assert complaints(first) == ["lacks Next: 02_more.ipynb"]
    assert complaints(last) == ["lacks Previous: 01_toy.ipynb"]
