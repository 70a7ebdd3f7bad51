"""The folder of results: nothing lost, nothing mixed, the same bytes again."""

import hashlib
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image

import skmm
import skmm_study
from skmm_study.figures.methods import LOOKS
from skmm_study.report.tables import markdown
from skmm_study.storage import keys


@pytest.fixture
def output(project, monkeypatch):
    """The output of the notebook ``01_toy``, opened where the notebook lies."""
    project.write_notebook("01_toy", parameters="seed = 0\nbudgets = [8, 16]")
    monkeypatch.chdir(project.notebooks)
    (project.root / "figures/01_toy/risk.png").unlink()
    return open_study()


def open_study():
    values = {"seed": 7, "budgets": [8], "profile": "default", "unrelated": object()}
    return skmm_study.OutputFolder("../figures/01_toy", parameters=values)


@pytest.fixture
def folder(project):
    return project.root / "figures/01_toy"


@pytest.fixture
def trials(rng):
    """Four methods, three budgets, five trials; ``risk`` spans all magnitudes a float has."""
    keys = pd.MultiIndex.from_product(
        [["skmm", "uniform", "mine", "yours"], [8, 16, 32], range(5)],
        names=["method", "n", "trial"],
    )
    frame = keys.to_frame(index=False)
    frame["risk"] = rng.standard_normal(len(frame)) * 10.0 ** rng.integers(-300, 300, len(frame))
    return frame


@pytest.mark.filterwarnings("error")
def test_table_reads_back_to_the_bit(output, folder, trials):
    """The CSV is the truth: what is returned equals what was written, and what lies on disk."""
    back = output.save_table("risk", trials)
    pd.testing.assert_frame_equal(back, trials, check_exact=True)
    content = (folder / "risk.csv").read_bytes()
    assert b"\r" not in content
    output.save_table("again", back)
    assert (folder / "again.csv").read_bytes() == content


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"n": []}), "must have rows"),
        (pd.DataFrame([[1, 2]], columns=["n", "n"]), "one plain name a column"),
        (pd.DataFrame({("a", "b"): [1]}), "one plain name a column"),
        (pd.DataFrame({"n": [1]}, index=pd.Index([1], name="trial")), "reset_index"),
        (pd.DataFrame({"n": [1, 2]}).set_index([[0, 1], [0, 1]]), "reset_index"),
        (pd.DataFrame({"picks": [[1, 2], [3]]}), "list in column 'picks'"),
        (pd.DataFrame({"n": [1], "solver_seconds": [0.1]}), "save_times"),
    ],
)
def test_table_must_be_tidy(output, folder, frame, message):
    with pytest.raises(ValueError, match=message):
        output.save_table("risk", frame)
    assert not list(folder.iterdir())


def test_times_have_files_of_their_own(output, folder):
    output.save_times("selection", pd.DataFrame({"n": [8], "seconds": [0.25]}))
    assert (folder / "times_selection.csv").read_text() == "n,seconds\n8,0.25\n"
    with pytest.raises(ValueError, match="ends with 'seconds'"):
        output.save_times("selection", pd.DataFrame({"n": [8]}))


@pytest.mark.parametrize("name", ["Risk", "a/b", "../risk", "", "risk.final", "_risk"])
def test_name_stays_in_the_folder(output, folder, name):
    with pytest.raises(ValueError, match="lower-case letters"):
        output.save_markdown(name, "text")
    assert not list(folder.iterdir())


def draw(seed=0):
    skmm_study.set_style()
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.scatter(*np.random.default_rng(seed).standard_normal((2, 50)), label="$x$")
    ax.legend()
    return fig


def test_figure_has_the_same_bytes_again(output, folder):
    """Neither dates nor versions get into a figure; its data do."""
    kinds = ("png", "pdf")
    content = []
    for seed in (0, 0, 1):
        output.save_figure("risk", draw(seed))
        content.append([(folder / f"risk.{kind}").read_bytes() for kind in kinds])
    assert content[0] == content[1]
    assert all(one != other for one, other in zip(content[0], content[2], strict=True))
    assert not any(word in b"".join(content[0]) for word in (b"Matplotlib", b"CreationDate"))


def test_figure_above_the_limit_is_kept_with_fewer_colors(output, folder, rng):
    fig, ax = plt.subplots()
    ax.imshow(rng.random((160, 250)), cmap="PuOr")
    output.save_figure("noise", fig)
    with Image.open(folder / "noise.png") as saved:
        assert saved.mode == "P"
        pixels = np.asarray(saved.convert("RGB"), dtype=int)
    full = io.BytesIO()
    fig.savefig(full, dpi=180)
    assert full.tell() > 200_000 > (folder / "noise.png").stat().st_size
    with Image.open(full) as before:
        gap = np.abs(pixels - np.asarray(before.convert("RGB"), dtype=int))
    assert gap.mean() < 2  # of 255 levels


def test_large_figure_is_refused_and_nothing_written(output, folder, rng):
    fig, ax = plt.subplots()
    ax.imshow(rng.random((600, 800)))
    with pytest.raises(ValueError, match=r"at most 200 kB, got \d+ kB at dpi=180; draw fewer"):
        output.save_figure("noise", fig)
    with pytest.raises(ValueError, match="got dpi=300"):
        output.save_figure("noise", fig, dpi=300)
    assert not list(folder.iterdir())


def test_provenance_holds_what_the_results_depend_on(output, folder, project, trials):
    """Declared parameters with the values in force, and digests that anyone can recompute."""
    data = project.root / "data" / "pool.bin"
    data.parent.mkdir()
    data.write_bytes(b"pool")
    output.save_table("risk", trials)
    output.close(data={"pool": "../data/pool.bin"})
    text = (folder / "provenance.json").read_text()
    record = json.loads(text)
    assert record["notebook"]["name"] == "01_toy"
    assert record["profile"] == "default"
    assert record["parameters"] == {"budgets": [8], "seed": 7}
    digest = hashlib.sha256(b"pool").hexdigest()
    assert record["data"] == {"pool": {"sha256": digest, "path": "data/pool.bin"}}
    assert record["files"] == {
        "risk.csv": hashlib.sha256((folder / "risk.csv").read_bytes()).hexdigest()
    }
    assert record["versions"]["numpy"] == np.__version__
    assert record["wall_seconds"] >= 0
    assert str(project.root) not in text


def test_data_outside_the_project_leaves_no_path(output, folder, tmp_path):
    (tmp_path / "pool.bin").write_bytes(b"pool")
    output.close(data={"pool": tmp_path / "pool.bin"})
    record = json.loads((folder / "provenance.json").read_text())
    assert record["data"]["pool"].keys() == {"sha256"}


def test_absent_packages_have_no_version(monkeypatch):
    monkeypatch.setattr(keys, "PACKAGES", ("numpy", "no-such-package"))
    assert keys.package_versions().keys() == {"python", "skmm", "numpy"}


def test_missing_data_is_an_error(output, folder):
    with pytest.raises(ValueError, match=r"got 'pool': 'gone\.bin'"):
        output.close(data={"pool": "gone.bin"})
    assert not (folder / "provenance.json").exists()


def test_folder_never_mixes_two_runs(output, folder):
    """Files of an earlier run go, except those told to keep; strangers and folders stay."""
    output.save_markdown("old", "text")
    output.save_markdown("kept", "text")
    output.save_markdown("both", "first")
    output.close()
    (folder / "notes.txt").touch()
    (folder / "raw").mkdir()
    again = open_study()
    again.save_markdown("both", "second")
    again.save_markdown("new", "text")
    again.close(keep=["kept.md"])
    left = {path.name for path in folder.iterdir()}
    assert left == {"both.md", "new.md", "kept.md", "notes.txt", "raw", "provenance.json"}
    assert (folder / "both.md").read_text() == "second\n"
    record = json.loads((folder / "provenance.json").read_text())
    assert record["files"].keys() == {"both.md", "new.md"}


def test_study_belongs_to_a_notebook_and_its_parameters(output):
    with pytest.raises(ValueError, match=r"no 09_other\.ipynb in notebooks"):
        skmm_study.OutputFolder("../figures/09_other", parameters={})
    with pytest.raises(ValueError, match="got none for budgets, profile"):
        skmm_study.OutputFolder("../figures/01_toy", parameters={"seed": 0})


# Tables are drawn from tidy frames.


@pytest.fixture
def known():
    """Means 1, 2, 2 and 3 at n = 8, and one trial of one method at n = 16."""
    rows = [("uniform", 2.0), ("skmm", 1.0), ("mine", 2.001), ("a|b", 3.0)]
    tidy = [(name, 8, trial, mean + trial) for name, mean in rows for trial in (-1, 0, 1)]
    return pd.DataFrame([*tidy, ("skmm", 16, 0, 5e-4)], columns=["method", "n", "trial", "risk"])


def test_table_ranks_what_it_prints(known):
    """Best bold, second underlined, ties alike, absent cells dashed, one trial without spread."""
    text = skmm_study.markdown_table(known, values="risk", notation="fixed", digits=1)
    assert text.splitlines() == [
        "| method | n = 8 | n = 16 |",
        "| --- | ---: | ---: |",
        "| Uniform | <u>2.0 ± 1.0</u> | – |",
        "| SkMM | **1.0 ± 1.0** | **0.0** |",
        "| mine | <u>2.0 ± 1.0</u> | – |",
        r"| a\|b | 3.0 ± 1.0 | – |",
    ]


def test_table_in_scientific_notation_shares_the_exponent(known):
    known["risk"] *= 1e-3
    text = skmm_study.markdown_table(known, values="risk", best="max", order=["skmm", "a|b"])
    assert text.splitlines()[2:] == [
        "| SkMM | <u>(1.00 ± 1.00)e-3</u> | **5.00e-7** |",
        r"| a\|b | **(3.00 ± 1.00)e-3** | – |",
    ]


def test_scale_is_a_factor(known):
    """Scaling the values and asking for a scale give the same table; no best, no marks."""
    scaled = known.assign(risk=100 * known["risk"])
    knobs = {"values": "risk", "notation": "fixed", "best": "none"}
    text = skmm_study.markdown_table(known, scale=100, **knobs)
    assert text == skmm_study.markdown_table(scaled, **knobs)
    assert "**" not in text


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"values": "loss"}, "a column 'loss'"),
        ({"values": "risk", "best": "least"}, "best must be one of"),
        ({"values": "risk", "notation": "hex"}, "notation must be one of"),
    ],
)
def test_table_refuses_unknown_knobs(known, knobs, message):
    with pytest.raises(ValueError, match=message):
        skmm_study.markdown_table(known, **knobs)


def test_frame_prints_as_it_stands(output, folder):
    frame = pd.DataFrame({"name": ["a"], "n": [1000000], "risk": [1 / 3]})
    shown = output.save_markdown("plain", frame)
    expected = "| name | n | risk |\n| --- | ---: | ---: |\n| a | 1000000 | 0.3333 |"
    assert shown.data == markdown(frame) == expected
    assert (folder / "plain.md").read_text() == expected + "\n"
    assert output.save_markdown("titled", frame, title="All").data == f"All\n\n{expected}"
    assert (folder / "titled.md").read_text() == f"All\n\n{expected}\n"


# Figures tell methods apart in the same way everywhere.


def looks(names):
    """Styles without their labels."""
    styles = skmm_study.method_styles(names).values()
    return [(style.color, style.marker, style.line) for style in styles]


def test_each_selector_has_a_look_and_a_name_of_its_own():
    """No two share all of colour, marker and line, and none gets by with a spare look."""
    names = sorted(skmm.SELECTORS)
    assert set(names) <= LOOKS.keys()
    assert (
        len(set(looks(names)))
        == len({skmm_study.method_label(name) for name in names})
        == len(names)
    )


@pytest.mark.parametrize("name", ["skmm", "uniform", "deepfool"])
def test_known_methods_look_the_same_in_any_company(name):
    assert looks(["stranger", name])[1] == looks([name])[0]


def test_unknown_methods_get_looks_of_their_own():
    names = [*skmm.SELECTORS, "a", "b", "c"]
    assert len(set(looks(names))) == len(names)
    assert skmm_study.method_styles(["a"])["a"].label == skmm_study.method_label("a") == "a"


@pytest.mark.parametrize(
    ("band", "center", "low", "high"),
    [
        ("range", np.median, np.min, np.max),
        ("quartiles", np.median, lambda x: np.quantile(x, 0.25), lambda x: np.quantile(x, 0.75)),
        (
            "std",
            np.mean,
            lambda x: np.mean(x) - np.std(x, ddof=1),
            lambda x: np.mean(x) + np.std(x, ddof=1),
        ),
        (
            "error",
            np.mean,
            lambda x: np.mean(x) - np.std(x, ddof=1) / np.sqrt(len(x)),
            lambda x: np.mean(x) + np.std(x, ddof=1) / np.sqrt(len(x)),
        ),
    ],
)
def test_bands_are_what_the_legend_says(rng, band, center, low, high):
    """Line and band equal the statistics of the trials, whatever the order of the rows."""
    risk = rng.lognormal(size=(3, 5))
    frame = pd.DataFrame(
        [("skmm", n, x) for n, row in zip((8, 16, 32), risk, strict=True) for x in row],
        columns=["method", "n", "risk"],
    ).sample(frac=1, random_state=0)
    _, ax = plt.subplots()
    caption = skmm_study.plot_bands(ax, frame, y="risk", band=band)
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), (8, 16, 32))
    np.testing.assert_allclose(line.get_ydata(), [center(row) for row in risk], rtol=1e-12)
    edge = ax.collections[0].get_paths()[0].vertices
    for n, row in zip((8, 16, 32), risk, strict=True):
        at_n = edge[edge[:, 0] == n, 1]
        np.testing.assert_allclose([at_n.min(), at_n.max()], [low(row), high(row)], rtol=1e-12)
    assert caption.endswith("of 5 trials")
    assert ax.get_legend().get_title().get_text() == caption


def test_bands_name_unequal_numbers_of_trials_and_missing_columns(known):
    _, ax = plt.subplots()
    caption = skmm_study.plot_bands(ax, known, y="risk", legend=False)
    assert caption == "median and range of 1–3 trials"
    assert ax.get_legend() is None
    with pytest.raises(ValueError, match="a column 'loss'"):
        skmm_study.plot_bands(ax, known, y="loss")
    with pytest.raises(ValueError, match="band must be one of error, quartiles, range, std"):
        skmm_study.plot_bands(ax, known, y="risk", band="sem")


@pytest.mark.parametrize(
    ("risk", "expected"),
    [((1e-3, 1e2), {"0.001", "0.1", "10"}), ((2.5e-3, 4e-2), {"0.005", "0.01", "0.02"})],
)
def test_log_axes_have_plain_labels(risk, expected):
    """Budgets are labelled where they lie; risks at powers of ten, or more often if few fit in."""
    fig, ax = plt.subplots()
    ax.plot([48, 1600], risk)
    skmm_study.plain_log(ax.xaxis, [48, 400, 1600])
    skmm_study.plain_log(ax.yaxis)
    fig.canvas.draw()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels(which="both")] == ["48", "400", "1600"]
    low, high = ax.get_ylim()
    shown = {label.get_text() for label in ax.get_yticklabels(which="both")} - {""}
    assert {text for text in shown if low <= float(text) <= high} >= expected
    assert not any(text for text in shown if not re.fullmatch(r"[125e\-+0.]+", text))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")
    plt.rcdefaults()


def test_points_beyond_the_frame_are_marked():
    """Each at its place along the edge, in its line's colour; those at one place do not cover."""
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], [0.5, 9, 9], "o-", color="red")
    ax.plot([1, 2, 3], [-9, 0.5, 9], "s-", color="blue")
    ax.axhline(20)
    ax.set_ylim(0, 1)
    skmm_study.mark_clipped(ax)
    marks = [(*line.get_xydata()[0], line.get_color(), line.get_marker()) for line in ax.lines[3:]]
    expected = [(2, 0.975, "red", "^"), (3, 0.975, "red", "^")]
    expected += [(1, 0.025, "blue", "v"), (3, 0.925, "blue", "^")]
    assert [(x, round(y, 3), *look) for x, y, *look in marks] == expected
    assert ax.get_ylim() == (0, 1)
    plt.close(fig)
