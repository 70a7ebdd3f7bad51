"""The site's sources, without Sphinx: pages, links, evidence, notebooks. A browser sees more."""

import posixpath
import re
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import v4
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import skmm
from skmm_study.execution.executed_copy import finish, relink, show_figures_once
from skmm_study.execution.runner import main
from skmm_study.site.evidence import POOLS, Evidence
from skmm_study.site.layout import Layout
from skmm_study.site.notebooks import MissingCopyError, executed_copies, without_progress
from skmm_study.site.prepare import page_text, prepare

ROOT = Path(__file__).resolve().parent.parent
PICTURE = {"output_type": "display_data", "data": {"image/png": "aGFsbG8="}, "metadata": {}}


def drawing(name, *outputs):
    """A code cell that saves a figure, and what it shows."""
    shown = [nbformat.from_dict(output) for output in outputs]
    return v4.new_code_cell(f'output.save_figure("{name}", fig)', outputs=shown)


# An executed copy.


def test_fresh_figure_replaces_the_committed_one_and_takes_its_text():
    """Only where this run has drawn it; what else the cell says stays; once is as good as twice."""
    prose = "\n\nWhat it shows.\n\n![Another's](../figures/02_other/risk.png)"
    cells = [
        drawing("risk", PICTURE),
        v4.new_markdown_cell("![Risk against n](../figures/01_toy/risk.png)" + prose),
        v4.new_markdown_cell("![Full study](../figures/paper/01_toy/risk.png)"),
        drawing("times"),
        v4.new_markdown_cell("![Times](../figures/01_toy/times.png)"),
        drawing("alone", PICTURE),
        v4.new_markdown_cell("![Alone](../figures/01_toy/alone.png)"),
    ]
    notebook = v4.new_notebook(cells=cells)
    for _ in range(2):
        show_figures_once(notebook, "01_toy")
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        assert text == [
            prose.strip(),
            "![Full study](../figures/paper/01_toy/risk.png)",
            "![Times](../figures/01_toy/times.png)",
        ]
        alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt") for cell in code]
        assert alts == ["Risk against n", None, "Alone"]


def test_links_are_rewritten_and_code_is_not():
    text = "[`a`](../x.md#here) ![b](y.png) [c](https://d.e/f) [g](#h) `[i](j)`\n```\n[k](l)\n```\n"
    assert relink(text, str.upper) == (
        "[`a`](../X.MD#here) ![b](Y.PNG) [c](https://d.e/f) [g](#h) `[i](j)`\n```\n[k](l)\n```\n"
    )


def test_executed_copy_shows_each_figure_once_and_its_links_work(project, monkeypatch):
    """Opened from its own folder; the runner has always left both pictures, one of them broken."""
    code = [
        "import skmm_study\noutput = skmm_study.OutputFolder(out_dir, parameters=globals())",
        "import matplotlib.pyplot as plt\n\nfig, ax = plt.subplots()\n"
        'output.save_figure("risk", fig)',
        "output.close()",
    ]
    path = project.write_notebook("01_toy", *code)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += "\n\nSee [the profiles](profiles/smoke.yaml)."
    nbformat.write(notebook, path)
    monkeypatch.delenv("MPLBACKEND")  # as in a notebook: figures are shown
    assert main([str(path), "--profile", "smoke"]) == 0
    copy = project.root / "build" / "smoke" / "01_toy.ipynb"
    cells = nbformat.read(copy, as_version=4).cells
    pictures = [out for cell in cells for out in cell.get("outputs", []) if "data" in out]
    assert sum("image/png" in out["data"] for out in pictures) == 1
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "![" not in text
    (link,) = re.findall(r"\]\((.*?)\)", text)
    assert (copy.parent / link).samefile(project.notebooks / "profiles" / "smoke.yaml")


# The sources of the site, laid out once from a checkout whose copies are its notebooks as they are.


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """This checkout with every notebook as its own executed copy."""
    root = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("build", ".git", ".venv"):
            (root / path.name).symlink_to(path)
    build = root / "build" / "default"
    build.mkdir(parents=True)
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        (build / path.name).write_bytes(path.read_bytes())
        finish(build / path.name, root / "notebooks", home=build)
    copy = nbformat.read(build / "04_fast_rate.ipynb", as_version=4)
    table = {"text/markdown": "[table](../../figures/04_fast_rate/rates.md)"}
    last = [cell for cell in copy.cells if cell.cell_type == "code"][-1]
    last.outputs = [v4.new_output("display_data", data=table)]
    nbformat.write(copy, build / "04_fast_rate.ipynb")
    return root


@pytest.fixture(scope="module")
def site(checkout):
    """The folder that Sphinx reads."""
    target = checkout / "build" / "site-source"
    prepare(checkout, target, build=checkout / "build" / "default")
    return target


@pytest.fixture(scope="module")
def pages(site):
    """Path of a page -> its Markdown."""
    found = {
        path.relative_to(site).as_posix(): path.read_text(encoding="utf-8")
        for path in site.rglob("*.md")
    }
    for path in (site / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        text = [cell.source for cell in cells if cell.cell_type == "markdown"]
        shown = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
        text += [data["text/markdown"] for data in shown if "text/markdown" in data]
        found[f"notebooks/{path.name}"] = "\n\n".join(text)
    return found


def links(text):
    """Paths and anchors of the links in Markdown, pictures among them; code left out."""
    found = []
    relink(text, lambda path: found.append(path) or path)
    return found


def test_every_page_is_listed(pages):
    """In a table of contents that is reached from the first page."""
    entry = re.compile(r"^(?:.*<(.+)>|([\w/.-]+))$")
    reached, waiting = set(), ["index"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        (text,) = (pages[page] for page in (f"{name}.md", f"{name}.ipynb") if page in pages)
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in filter(None, block.split("\n")):
                if not line.startswith(":"):
                    target = next(filter(None, entry.match(line).groups()))
                    waiting.append(posixpath.join(posixpath.dirname(name), target))
    listed = {page for page in pages if not page.startswith("files/")}
    assert {page.rpartition(".")[0] for page in listed} == reached


def test_every_link_leads_somewhere(pages, site):
    count = 0
    for page, text in pages.items():
        for path in links(text):
            base = site / path.lstrip("/") if path.startswith("/") else site / page / ".." / path
            assert Path(posixpath.normpath(base)).exists(), f"{page} links to {path}"
            count += 1
    assert count > 200


def test_every_picture_has_alternative_text(pages, site):
    count = 0
    for page, text in pages.items():
        for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text):
            where = f"{page} shows {path} without a word"
            assert re.search(r"\w{3}", alt), where
            assert ".png" not in alt, where
            count += 1
    for path in (site / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if any("image/png" in out.get("data", {}) for out in cell.get("outputs", [])):
                assert cell.metadata["mystnb"]["image"]["alt"]
    assert count > 10


def test_examples_of_the_pages_compile(pages):
    blocks = [
        (page, block)
        for page, text in pages.items()
        for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    assert len(blocks) >= 2
    for page, block in blocks:
        compile(block, page, "exec")


@pytest.mark.parametrize("name", sorted(skmm.SELECTORS))
def test_method_has_a_page_from_the_registry(pages, name):
    one, text = skmm.SELECTORS[name], pages[f"methods/{name}.md"]
    for fact in (f"# {one.label}: `{name}`", one.summary, one.cost, one.reference, *one.needs):
        assert fact in text
    for knob in set(one.knobs) - set(one.needs):
        assert f"``{knob}``\n    " in text, f"{knob} is not told"
    assert f"]({name}.md)" in pages["methods/index.md"]


def test_every_public_name_has_a_place_in_the_reference(pages):
    text = "".join(text for page, text in pages.items() if page.startswith("api/"))
    directives = re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: skmm\.(\w+)$", text, re.M)
    assert sorted(directives) == skmm.__all__
    # What scikit-learn hangs on an estimator is described there, in terms that this site lacks.
    members = re.search(r":: skmm\.SubsetSelector\n   :members: (.*)", text)[1].split(", ")
    assert members == ["fit", "get_support", "fit_resample"]


def test_no_placeholder_is_left(pages):
    for page, text in pages.items():
        assert not re.search(r"^```\{(evidence|guides)\}", text, re.MULTILINE), page


def test_page_that_asks_for_what_is_not_there_is_refused(tmp_path):
    (tmp_path / "docs").mkdir()
    layout, evidence = Layout(tmp_path, tmp_path / "site"), Evidence(tmp_path)
    for text, message in (
        ("[gone](gone.md)", "must link to files of the checkout, got 'gone.md'"),
        ("[gone](methods/gone.md)", "must link to files of the checkout"),
        ("```{evidence} luck\n```\n", "evidence must be one of methods, .* got 'luck'"),
    ):
        (tmp_path / "docs" / "page.md").write_text(text)
        with pytest.raises(ValueError, match=message):
            page_text(layout, evidence, "docs/page.md")


# Notebooks.


def test_missing_or_other_copy_is_told_in_a_sentence(tmp_path):
    sources, build = tmp_path / "notebooks", tmp_path / "build"
    sources.mkdir()
    build.mkdir()
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1 + 1")])
    nbformat.write(notebook, sources / "01_toy.ipynb")
    with pytest.raises(MissingCopyError, match=r"build/01_toy.ipynb is missing.*make figures"):
        executed_copies(sources, build)
    extra = v4.new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    notebook.cells.append(extra)
    nbformat.write(notebook, build / "01_toy.ipynb")
    assert executed_copies(sources, build).keys() == {"01_toy"}
    notebook.cells[0].source = "1 + 2"
    nbformat.write(notebook, build / "01_toy.ipynb")
    with pytest.raises(MissingCopyError, match=r"other code than .*make figures"):
        executed_copies(sources, build)


def test_bars_of_progress_are_left_out():
    """They are widgets, for which a page would load scripts from the web."""
    bar = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "100 %"}
    cell = drawing("risk", {"output_type": "display_data", "data": bar, "metadata": {}}, PICTURE)
    notebook = v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    without_progress(notebook)
    assert [list(out["data"]) for out in notebook.cells[0].outputs] == [["image/png"]]
    assert "widgets" not in notebook.metadata


# Evidence.


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.name)
def test_gain_over_uniform_is_the_lead_that_the_study_found(pool):
    """The page's own pairing of the scores against the committed table of leads."""
    leads = pd.read_csv(ROOT / "figures/paper" / pool.notebook / "leads.csv")
    uniform = leads[(leads["pool"] == pool.name) & (leads["method"] == "uniform")].iloc[0]
    ours = Evidence(ROOT).gains(pool.name).loc["skmm"].astype(object)
    for mine, theirs in (("gain", "lead"), ("low", "lead_low"), ("high", "lead_high")):
        np.testing.assert_allclose(ours[mine], uniform[theirs], rtol=1e-9)


def test_what_the_page_says_of_other_packages_gradients_is_in_the_table():
    """The fastest, the most exact, and what sixteen times as many numbers do not make up for."""
    table = pd.read_csv(ROOT / "figures/bench/gradient_peers.csv").dropna(subset="gram_error")
    few, many = (part.set_index("way") for _, part in table.groupby("numbers"))
    assert many["numbers"].iloc[0] == 16 * few["numbers"].iloc[0]
    for part in (few, many):
        assert part["seconds"].idxmin() == "bergson, per_module"
        assert part.at["bergson, per_module", "over_plain"] < 1
        blocks = [way for way in part.index if not way.startswith("skmm") and "global" not in way]
        for error in ("gram_error", "cosine_error"):
            assert part.loc[blocks, error].min() > part.at["skmm, two-sided", error]
            assert part.loc[blocks, error].min() > few.at["skmm, tensor", error]
    assert few["gram_error"].idxmin() == many["gram_error"].idxmin() == "skmm, tensor"
    assert few.at["bergson, global", "over_plain"] > 10
    assert many.at["skmm, tensor", "over_plain"] > 10


# What is installed for it.


def test_needs_of_the_site_are_pinned_apart_from_the_lock():
    """Exact versions, none that the lock has another opinion of, all that the extra names."""
    lines = [
        line
        for line in (ROOT / "docs" / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins.values())
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    assert not pins.keys() & {canonicalize_name(Requirement(line).name) for line in locked}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["optional-dependencies"]["site"]:
        asked = Requirement(line)
        if asked.name != "skmm":
            (part,) = pins[canonicalize_name(asked.name)].specifier
            assert asked.specifier.contains(part.version)


@pytest.mark.parametrize("target", ["site", "site-check"])
def test_makefile_tells_of_the_site(target):
    assert re.search(rf"^{target}: .*## \w", (ROOT / "Makefile").read_text(), re.MULTILINE)
