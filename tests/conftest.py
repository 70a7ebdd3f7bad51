"""What tests share: one seed, one thread, no display, and a project in which to run notebooks."""

import os

# Before NumPy and Torch load: results and timings must not depend on the number of cores.
# ruff: noqa: E402
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["MPLBACKEND"] = "Agg"

from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import v4

LONG = ("test_notebooks.py", "test_kernels.py", "test_ray.py")
"""Files with tests of many seconds: they come first, so that no process ends long after others."""


def pytest_collection_modifyitems(items):
    """Sorts the items, files as wholes: within one the order stays."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """No test reads or fills the user's caches, nor does a notebook that a test runs."""
    os.environ["SKMM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def rng() -> np.random.Generator:
    """The generator of a test; the same in every run and in every order."""
    return np.random.default_rng(20240706)


@pytest.fixture
def _unmeasured(monkeypatch):
    """Processes that a test starts are not traced: what they run is measured elsewhere."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@dataclass(frozen=True)
class Project:
    """A project with notebooks of its own, laid out like this one."""

    root: Path

    @property
    def notebooks(self) -> Path:
        """The folder of the notebooks."""
        return self.root / "notebooks"

    def write_profile(self, text: str, name: str = "smoke") -> None:
        """Writes the profile ``name``."""
        folder = self.notebooks / "profiles"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)

    def write_notebook(self, name: str, *code: str, parameters: str = "seed = 0") -> Path:
        """Writes a notebook that satisfies every law, if its ``code`` cells do."""
        image = self.root / "figures" / name / "risk.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
        places = f'profile = "default"\nout_dir = "../figures/{name}"'
        first = v4.new_code_cell(f"{parameters}\n{places}", metadata={"tags": ["parameters"]})
        cells = [v4.new_markdown_cell("# The claim\n\nIn two sentences."), first]
        for source in code:
            cells += [v4.new_markdown_cell("Prose."), v4.new_code_cell(source)]
        cells.append(v4.new_markdown_cell(f"![Risk](../figures/{name}/risk.png)"))
        python = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.notebooks / f"{name}.ipynb"
        nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": python}), path)
        return path


@pytest.fixture
def project(tmp_path) -> Project:
    """An empty project with the profiles ``smoke``, for quick runs, and ``default``."""
    project = Project(tmp_path / "project")
    project.write_profile("figures: build/smoke/figures\nnotebooks: {}\n")
    project.write_profile("figures: figures\nnotebooks: {}\n", name="default")
    return project
