"""The command line: it does what the public functions do, and says so to people and programs."""

import inspect
import json
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, ipc, parquet
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

import skmm
from skmm_cli import forecast, progress
from skmm_cli.app import EXAMPLES, build
from skmm_cli.choosing import apportion
from skmm_cli.judging import Judge
from skmm_cli.main import main

N, R, n = 60, 5, 9
NAMES = np.array([f"u{i:03d}" for i in np.random.default_rng(5).permutation(N)])


@pytest.fixture
def rows(rng):
    return rng.standard_normal((N, R)) * [3.0, 2.0, 1.0, 1.0, 0.5]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pool(rows):
    """The pool as a Parquet file with names, groups, classes and a list of features."""
    columns = {
        "id": NAMES,
        "features": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), R),
        "site": np.repeat(["north", "south", "west"], [30, 20, 10]),
        "kind": np.arange(N) % 4,
    }
    parquet.write_table(pa.table(columns), "pool.parquet")
    return "pool.parquet"


def done(*words):
    """Runs a command line that must succeed."""
    assert main([str(word) for word in words]) == 0


def read(path="out.csv"):
    held = csv.read_csv(path)
    return {name: held[name].to_numpy() for name in held.column_names}


# Formats in


def write_arrow(path, held, *, stream=False):
    with (ipc.new_stream if stream else ipc.new_file)(path, held.schema) as file:
        file.write_table(held)


def wide(rows):
    return pa.table({f"x{j}": rows[:, j] for j in range(R)})


def lists(rows, kind=None):
    return pa.table({"embedding": pa.array(rows.tolist(), kind)})


WRITERS = {
    "a.npy": lambda rows: np.save("a.npy", rows),
    "fortran.npy": lambda rows: np.save("fortran.npy", np.asfortranarray(rows)),
    "a.npz": lambda rows: np.savez("a.npz", a=rows, note=np.array("made by hand")),
    "packed.npz": lambda rows: np.savez_compressed("packed.npz", a=rows),
    "a.csv": lambda rows: np.savetxt("a.csv", rows, delimiter=",", fmt="%.17g"),
    "headed.csv": lambda rows: csv.write_csv(wide(rows), "headed.csv"),
    "a.tsv": lambda rows: np.savetxt("a.tsv", rows, delimiter="\t", fmt="%.17g"),
    "wide.parquet": lambda rows: parquet.write_table(wide(rows), "wide.parquet"),
    "list.parquet": lambda rows: parquet.write_table(lists(rows), "list.parquet"),
    "chunked.parquet": lambda rows: parquet.write_table(
        lists(rows), "chunked.parquet", row_group_size=7
    ),
    "fixed.parquet": lambda rows: parquet.write_table(
        lists(rows, pa.list_(pa.float64(), R)), "fixed.parquet"
    ),
    "a.arrow": lambda rows: write_arrow("a.arrow", lists(rows)),
    "stream.arrow": lambda rows: write_arrow("stream.arrow", wide(rows), stream=True),
    "a.feather": lambda rows: write_arrow("a.feather", wide(rows)),
    "a.safetensors": lambda rows: save_file({"a": rows}, "a.safetensors"),
    "a.pt": lambda rows: torch.save(torch.from_numpy(rows), "a.pt"),
    "grad.pt": lambda rows: torch.save(torch.nn.Parameter(torch.from_numpy(rows)), "grad.pt"),
    "named.pth": lambda rows: torch.save({"a": torch.from_numpy(rows)}, "named.pth"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_subset(name, rows):
    """That of `skmm.select` on the array: the file's format leaves no trace."""
    WRITERS[name](rows)
    done("select", name, "-n", n, "-o", "out.npy", "--seed", 3)
    assert np.array_equal(np.load("out.npy"), skmm.select(rows, n, rng=3).indices)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "int8"])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npy"])
def test_short_numbers_are_read_as_what_they_stand_for(name, kind, rows):
    tensor = torch.from_numpy(4 * rows).to(getattr(torch, kind))
    if name == "a.npy":
        if kind == "bfloat16":
            pytest.skip("NumPy has none")
        np.save(name, tensor.numpy())
    else:
        torch.save(tensor, name) if name == "a.pt" else save_tensors({"a": tensor}, name)
    done("select", name, "-n", n, "-o", "out.npy")
    stood_for = tensor.to(torch.float64).numpy()
    chosen = skmm.select(stood_for, n, rng=0)
    assert np.array_equal(np.load("out.npy"), chosen.indices)


def test_columns_say_what_is_features(rows):
    """And no other column of numbers has a say: not the group, nor the label, nor the id."""
    held = wide(rows).append_column("y", pa.array(1e6 * np.arange(N)))
    held = held.append_column("who", pa.array(np.arange(N)[::-1])).append_column(
        "g", pa.array(np.zeros(N))
    )
    parquet.write_table(held, "a.parquet")
    words = ["select", "a.parquet", "-n", n, "--id", "who", "--group", "g", "--labels", "y"]
    done(*words, "-o", "out.csv")
    chosen = skmm.select(rows, n, rng=0).indices
    assert np.array_equal(read()["index"], chosen)
    assert np.array_equal(read()["id"], N - 1 - chosen)
    done("select", "a.parquet", "-n", n, "--columns", "x1, x3", "-o", "two.csv")
    expected = skmm.select(rows[:, [1, 3]], n, rng=0).indices
    assert np.array_equal(read("two.csv")["index"], expected)


# Formats out


def test_outputs_agree(rows, pool, capsys):
    for suffix in ("csv", "parquet", "npy"):
        done("select", pool, "-n", n, "-o", f"out.{suffix}", "-q")
    capsys.readouterr()
    done("select", pool, "-n", n, "-q")
    assert capsys.readouterr().out == Path("out.csv").read_text()
    held = parquet.read_table("out.parquet").to_pydict()
    assert held["index"] == read()["index"].tolist() == np.load("out.npy").tolist()
    assert held["id"] == read()["id"].tolist() == NAMES[held["index"]].tolist()


def test_names_with_commas_and_quotes_come_back(rows):
    names = np.array([f'say "{i}", or\nnot' for i in range(N)])
    np.savez("a.npz", a=rows, id=names)
    done("select", "a.npz", "-n", n, "-o", "out.csv")
    held = csv.read_csv("out.csv", parse_options=csv.ParseOptions(newlines_in_values=True))
    assert held["id"].to_pylist() == names[held["index"].to_numpy()].tolist()


def test_force_replaces_and_nothing_else_does(pool, capsys):
    Path("out.csv").write_text("mine")
    assert main(["select", pool, "-n", "3", "-o", "out.csv"]) == 1
    assert Path("out.csv").read_text() == "mine"
    done("select", pool, "-n", 3, "-o", "out.csv", "--force")
    assert len(read()["index"]) == 3
    assert {path.name for path in Path().iterdir()} == {"pool.parquet", "out.csv"}


def test_output_that_appears_meanwhile_is_kept(pool, monkeypatch, capsys):
    """Somebody writes the file while samples are chosen."""

    def slow(*arguments, **knobs):
        Path("out.csv").write_text("mine")
        return select(*arguments, **knobs)

    select = skmm.select
    monkeypatch.setattr("skmm.select", slow, raising=False)
    assert main(["select", pool, "-n", "3", "-o", "out.csv"]) == 1
    assert "appeared meanwhile" in capsys.readouterr().err
    assert Path("out.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 1), (ZeroDivisionError(), 70)]
)
def test_what_is_stopped_leaves_nothing(error, code, pool, monkeypatch, capsys):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr("skmm.select", stop, raising=False)
    assert main(["select", pool, "-n", "3", "-o", "out.csv", "--report", "out.html"]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {path.name for path in Path().iterdir()} == {"pool.parquet"}


# Samples kept, left out, in groups


def test_excluded_rows_are_no_part_of_the_pool(rows, pool):
    """As if the file had never had them; the output still counts rows of the file."""
    left_out = np.array([0, 7, 8, 59])
    Path("bad.csv").write_text("id\n" + "\n".join(NAMES[left_out]) + "\n")
    done("select", pool, "-n", n, "--exclude", "bad.csv", "-o", "out.csv")
    left = np.setdiff1d(np.arange(N), left_out)
    assert np.array_equal(read()["index"], left[skmm.select(rows[left], n, rng=0).indices])


def test_excluded_rows_are_cut_from_what_a_method_needs(rows, rng):
    probabilities = rng.dirichlet(np.ones(3), (2, N))
    np.save("a.npy", rows)
    np.save("early.npy", probabilities)
    np.save("labels.npy", labels := rng.integers(3, size=N))
    np.save("bad.npy", np.arange(20))
    words = ["--method", "el2n", "--labels", "labels.npy", "--set", "early_probabilities=early.npy"]
    done("select", "a.npy", "-n", n, *words, "--exclude", "bad.npy", "-o", "out.npy")
    knobs = {"labels": labels[20:], "early_probabilities": probabilities[:, 20:]}
    expected = skmm.select(rows[20:], n, method="el2n", rng=0, **knobs).indices + 20
    assert np.array_equal(np.load("out.npy"), expected)


@pytest.mark.parametrize("by", ["site", "sites.csv", "sites.npy"])
def test_groups_are_pools_of_their_own(by, rows, pool):
    """Each gets what `skmm.select` chooses from it alone, and its share of the budget."""
    sites = np.repeat(["north", "south", "west"], [30, 20, 10])
    np.save("sites.npy", sites)
    order = np.argsort(NAMES)  # a table with ids is matched by them
    csv.write_csv(pa.table({"id": NAMES[order], "where": sites[order]}), "sites.csv")
    done("select", pool, "-n", 12, "--group", by, "-o", "out.csv")
    held = read()
    for site, budget in {"north": 6, "south": 4, "west": 2}.items():
        members = np.flatnonzero(sites == site)
        expected = members[skmm.select(rows[members], budget, rng=0).indices]
        assert np.array_equal(held["index"][held["group"] == site], expected)


def test_shares_are_fair(rng):
    """By the largest remainder: all is shared, none over its size, each within one of its quota."""
    for _ in range(300):
        sizes = rng.integers(0, 40, rng.integers(1, 9))
        if (total := int(sizes.sum())) == 0:
            continue
        budget = int(rng.integers(0, total + 1))
        shares = apportion(budget, sizes)
        assert shares.sum() == budget
        assert np.all((shares >= 0) & (shares <= sizes))
        quotas = budget * sizes / total
        assert np.all(np.abs(shares - quotas) < 1)
        rounded_up = shares > quotas
        remainders = quotas - np.floor(quotas)
        if rounded_up.any() and (~rounded_up).any():
            assert remainders[rounded_up].min() >= remainders[~rounded_up].max() - 1e-9


def test_kept_samples_are_complemented(rows, pool):
    if "keep" not in inspect.signature(skmm.select).parameters:
        pytest.skip("skmm.select keeps no samples yet")
    kept = np.array([3, 30, 58])
    Path("labelled.csv").write_text("id\n" + "\n".join(NAMES[kept]) + "\n")
    done("select", pool, "-n", n, "--keep", "labelled.csv", "-o", "out.csv")
    assert np.array_equal(read()["index"], skmm.select(rows, n, rng=0, keep=kept).indices)
    assert not set(read()["index"]) & set(kept)
    done("select", pool, "-n", n, "--keep", "labelled.csv", "--group", "site", "-o", "groups.csv",
         "--exclude", "out.csv", "--report", "out.html")  # fmt: skip
    assert not set(read("groups.csv")["index"]) & {*kept, *read()["index"]}


def test_kept_samples_reach_select(rows, pool, monkeypatch):
    """By their rows, in the pool that the method sees."""
    seen = []

    def spy(features, budget, *, keep, **knobs):
        seen.append((features, keep))
        free = np.setdiff1d(np.arange(len(features)), keep)
        return replace(select(features, budget, **knobs), indices=free[:budget])

    select = skmm.select
    monkeypatch.setattr("skmm.select", spy, raising=False)
    Path("labelled.csv").write_text("index\n58\n3\n")
    Path("bad.csv").write_text("index\n0\n10\n")
    done("select", pool, "-n", n, "--keep", "labelled.csv", "--exclude", "bad.csv", "-o", "out.csv")
    ((features, keep),) = seen
    assert np.array_equal(features[keep], rows[[58, 3]])


def test_weights_are_those_of_the_method(rows, pool):
    done("select", pool, "-n", n, "--method", "sensitivity", "--weights", "-o", "out.csv")
    selection = skmm.select(rows, n, method="sensitivity", rng=0)
    assert np.array_equal(read()["weight"], selection.weights)
    done("select", pool, "-n", n, "--method", "sensitivity", "--weights", "--group", "site",
         "-o", "groups.csv")  # fmt: skip
    assert read("groups.csv")["weight"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("method", [name for name, one in skmm.SELECTORS.items() if not one.needs])
def test_every_method_that_needs_features_alone(method, rows, pool):
    if method == "kernel_thinning":
        pytest.importorskip("goodpoints")
    done("select", pool, "-n", n, "--method", method, "-o", "out.npy")
    assert np.array_equal(np.load("out.npy"), skmm.select(rows, n, method=method, rng=0).indices)


def test_knobs_arrive_as_what_they_are(rows, pool):
    settings = {"criterion": "full", "metric": "row", "mean": True, "slack": 2}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    done("select", pool, "-n", n, "-m", 3, "--sketch", "srht", *words, "-o", "out.npy")
    expected = skmm.select(rows, n, m=3, sketch="srht", rng=0, **settings).indices
    assert np.array_equal(np.load("out.npy"), expected)


def test_labels_may_be_words(rows, pool):
    done("select", pool, "-n", n, "--method", "class_balanced", "--labels", "site", "-o", "out.npy")
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    expected = skmm.select(rows, n, method="class_balanced", labels=labels, rng=0).indices
    assert np.array_equal(np.load("out.npy"), expected)


# The other commands


@pytest.mark.parametrize("column", ["id", "index", "lines"])
def test_certify_measures_what_the_library_measures(column, rows, pool, capsys):
    indices = np.array([4, 40, 9, 11, 59, 23])
    listed = NAMES[indices] if column == "id" else indices.astype(str)
    head = [] if column == "lines" else [column]
    Path("s.csv").write_text("\n".join([*head, *listed]) + "\n")
    done("certify", pool, "s.csv", "--json", "-q")
    told = json.loads(capsys.readouterr().out)
    certificate = skmm.certify(skmm.PoolView.of(rows, rng=0), indices)
    assert told["dimension"] == certificate.dimension
    for name in ("n", "slack", "variance", "bias_share"):
        assert told["subset"][name] == pytest.approx(getattr(certificate, name))
    done("certify", pool, "s.csv", "-q")
    assert f"{certificate.slack:.3g}" in capsys.readouterr().out


def test_uniform_is_what_chance_gives(rows, rng):
    """The median of nine is where most draws are; all commands tell of the same nine."""
    view = skmm.PoolView.of(rows, rng=0)
    judge = Judge(view, 0)
    told, draw = judge.uniform(20)
    others = [judge.coverage(rng.choice(N, 20, replace=False)) for _ in range(200)]
    low, high = np.quantile(others, [0.1, 0.9])
    assert low < told.coverage < high
    assert len(np.unique(draw)) == told.n == 20
    assert judge.chance(20) == {"slack": told.slack, "variance": told.variance}
    again = Judge(view, 0)
    again.uniform(7)
    assert again.uniform(20)[0] == told


def test_uniform_draws_leave_out_what_is_kept(rows):
    beside = np.arange(0, N, 2)
    for draw in Judge(skmm.PoolView.of(rows, rng=0), 0).draws(25, beside):
        assert np.array_equal(draw[:30], beside)
        assert len(np.unique(draw)) == 55


def test_coverage_is_the_mean_of_the_nearest_cosines(rows):
    judge, indices = Judge(skmm.PoolView.of(rows, rng=0), 0), np.arange(0, N, 9)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = (unit @ unit[indices].T).max(axis=1).mean()
    assert judge.coverage(indices) == pytest.approx(expected)


def test_clusters_are_found(rng):
    """Eight far apart groups, each whole in one cluster, the largest first."""
    group = np.repeat(np.arange(8), [200, 100, 60, 40, 30, 20, 10, 9])
    rows = 40.0 * np.eye(8)[group] + rng.standard_normal((len(group), 8))
    clusters = Judge(skmm.PoolView.of(rows, rng=0), 0).clusters
    assert len(np.unique(clusters)) <= 8
    for k in range(8):
        assert len(np.unique(clusters[group == k])) == 1
    assert np.all(np.diff(np.bincount(clusters)) <= 0)


@pytest.mark.parametrize("method", ["skmm", "max_herding", "uniform"])
def test_plan_tells_of_the_subsets_that_select_would_choose(method, rows, pool, capsys):
    """Of a nested method, too, which is run but once."""
    done("plan", pool, "--budgets", "20,6", "--method", method, "--json", "-q")
    told = json.loads(capsys.readouterr().out)["plan"]
    assert [row["n"] for row in told] == [6, 20]
    for row in told:
        certificate = skmm.select(rows, row["n"], method=method, rng=0).certificate
        assert row["subset"]["variance"] == pytest.approx(certificate.variance)
        risk = certificate.variance * certificate.dimension / row["n"]
        assert row["risk"] == pytest.approx(risk)


def test_plan_chooses_budgets_itself(pool, capsys):
    done("plan", pool, "-q")
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == [1, 3, 7, 15, 30]


def test_compare_tells_what_methods_share(rows, pool, capsys):
    names = ["skmm", "k_center", "uniform"]
    done("compare", pool, "-n", n, "--methods", ",".join(names), "--json", "-q")
    told = json.loads(capsys.readouterr().out)
    subsets = [set(skmm.select(rows, n, method=name, rng=0).indices) for name in names]
    expected = [[len(a & b) / n for b in subsets] for a in subsets]
    assert told["overlap"] == expected
    assert [row["method"] for row in told["methods"]] == names
    done("compare", pool, "-n", n, "--methods", ",".join(names))
    assert capsys.readouterr().out.count("k_center") == 3


def test_methods_lists_them_all(capsys):
    done("methods", "--json")
    told = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in told} == set(skmm.SELECTORS)
    done("methods")
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert sorted(first) == sorted(skmm.SELECTORS)
    done("methods", "k_means")
    assert skmm.SELECTORS["k_means"].summary in capsys.readouterr().out


# What is said


def test_json_has_null_for_what_is_infinite(pool, capsys):
    """So that any reader takes it: a subset of two samples spans no five directions."""
    done("select", pool, "-n", 2, "--json", "-q")

    def refuse(word):
        raise AssertionError(word)

    told = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert told["certificate"]["variance"] is None
    assert len(told["index"]) == told["n"] == 2


def test_certificate_is_printed_where_the_samples_are_not(pool, capsys):
    done("select", pool, "-n", n, "-o", "out.csv")
    told = capsys.readouterr()
    assert told.out.startswith(f"skmm: {n} of {N} samples in ")
    assert "uniform, median of 9" in told.out
    done("select", pool, "-n", n)
    piped = capsys.readouterr()
    assert piped.out == Path("out.csv").read_text()
    assert "uniform, median of 9" in piped.err
    done("select", pool, "-n", n, "-q")
    assert capsys.readouterr().err == ""


def test_warning_is_a_note_of_one_line(rows, capsys):
    rows[7] *= 1e6
    np.save("a.npy", rows)
    done("select", "a.npy", "-n", n, "-o", "out.csv")
    (note,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("skmm: note: ")]
    assert "row 7 alone" in note
    done("select", "a.npy", "-n", n, "-o", "quiet.csv", "-q")
    assert capsys.readouterr().err == ""


def word(command):
    """The word by which a command is called."""
    return command.__name__.replace("_", "-")


ENCODER = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
}


@pytest.fixture
def encoder():
    """A folder with a tiny model's configuration, whose weights are then random."""
    Path("encoder").mkdir()
    Path("encoder/config.json").write_text(json.dumps(ENCODER))
    return "encoder"


@pytest.mark.parametrize("command", list(EXAMPLES), ids=word)
def test_help_shows_an_example_that_runs(command, rng, encoder, capsys):
    done(word(command), "-h")
    assert EXAMPLES[command] in re.sub(r"\s+", " ", capsys.readouterr().out)
    np.save("features.npy", rng.standard_normal((1200, 6)))
    np.save("subset.npy", np.arange(50))
    done("sketch", "features.npy", "--into", "store")
    words = EXAMPLES[command].replace("subset.csv", "subset.npy").split()
    done(*words[1:], *(["--force"] if command.__name__ == "select" else []))


def test_model_is_checked_for_its_loss(encoder, capsys):
    """BERT counts positions from the left: padding there needs them told."""
    done("check-model", encoder, "--parameters", "bert.encoder.*", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["loss"]) == ("encoder", "masked-lm")
    differ = [one["arrangement"] for one in told["differences"] if not one["same"]]
    assert differ == ["batches padded on the left"]
    done("check-model", encoder, "--loss", "cross-entropy")
    left = capsys.readouterr().out.splitlines()[2]
    assert left.startswith("batches padded on the left")
    assert "differ  pad on the right, side='right'" in left


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--loss", "perplexity"], 2, "--loss must be one of causal-lm, cross-entropy, masked-lm"),
        (["--parameters", "bert.*.nothing"], 1, "parameters has 'bert.*.nothing', which no"),
        (["--loss", "causal-lm", "--json"], 1, "encoder does not load as a model"),
    ],
)
def test_model_that_cannot_be_checked_is_one_sentence(words, code, message, encoder, capsys):
    if "causal-lm" in words:
        Path("encoder/config.json").write_text("{}")
    assert main(["check-model", encoder, *words]) == code
    assert message in capsys.readouterr().err


def test_help_and_version(capsys):
    done("-h")
    told = capsys.readouterr().out
    assert all(word(command) in told for command in EXAMPLES)
    done("--version")
    assert capsys.readouterr().out.strip() == skmm.__version__
    done()
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_it(shell):
    script = build().generate_completion(shell=shell)
    assert all(word(command) in script for command in EXAMPLES)


def test_missing_extra_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    assert main(["-h"]) == 1
    needed = 'skmm: the command line needs cyclopts: pip install "skmm[cli]"\n'
    assert capsys.readouterr().err == needed


def test_missing_transformers_says_what_to_install(monkeypatch, encoder, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert main(["check-model", encoder]) == 1
    needed = 'skmm: skmm check-model needs transformers: pip install "skmm[transformers]"\n'
    assert capsys.readouterr().err == needed


@pytest.mark.parametrize(("file", "module"), [("a.pt", "torch"), ("a.csv", "pyarrow")])
def test_missing_reader_says_what_to_install(file, module, monkeypatch, capsys):
    Path(file).write_text("1,2\n3,4\n")
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["select", file, "-n", "1"]) == 1
    assert re.search(rf'needs {module}: pip install "skmm\[\w+\]"', capsys.readouterr().err)


# Progress


def test_progress_is_told_to_who_waits(pool, monkeypatch, capsys):
    """Nothing in the first seconds, then how long it still takes; nothing at all when quiet."""
    done("select", pool, "-n", n, "-o", "out.csv")
    assert "left" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(forecast, "seconds", lambda *_: 60.0)
    monkeypatch.setattr("skmm_cli.commands.options.seconds", lambda *_: 60.0)
    done("select", pool, "-n", n, "-o", "slow.csv")
    assert re.search(
        r"choosing 9 of 60 \[.*\] 0 s so far, about 60 s left", capsys.readouterr().err
    )
    done("select", pool, "-n", n, "-o", "quiet.csv", "-q")
    assert capsys.readouterr().err == ""


def test_bar_follows_the_clock():
    lines = [progress._line("x", elapsed, 100.0) for elapsed in (0.0, 25.0, 50.0, 99.0, 500.0)]
    bars = [line.count("#") for line in lines]
    assert bars == sorted(bars)
    assert "about 75 s left" in lines[1]
    assert "longer than foreseen" in lines[-1]


@pytest.mark.parametrize("method", sorted(skmm.SELECTORS))
def test_forecast_grows_with_the_pool(method):
    small, large = (forecast.seconds(method, size, 64, 64, 100) for size in (1000, 8000))
    assert 0 < small <= large < 1e4


def test_a_large_pool_is_announced(monkeypatch, capsys, tmp_path):
    """Time and memory before the choice, and a file of a pool stays where it is."""
    monkeypatch.setattr("skmm.selection.selectors.stratified.MOST", 50)
    rows = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    np.save(tmp_path / "pool.npy", rows)
    done("select", tmp_path / "pool.npy", "-n", 6, "-o", tmp_path / "out.csv")
    assert re.search(r"choosing takes about \d+ s and \d+ MB of memory", capsys.readouterr().err)


# The page


class Reader(HTMLParser):
    """Reads a page: whether its elements nest, what it loads, and its text."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.loads, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page(path="out.html"):
    reader = Reader()
    reader.feed(Path(path).read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture
def report(pool):
    done("select", pool, "-n", n, "-o", "out.csv", "--report", "out.html", "--labels", "kind", "-q")
    return page()


def test_page_is_whole(report):
    """It loads nothing and runs nothing, and tells what was chosen."""
    assert report.loads == []
    assert "script" not in report.seen
    content = Path("out.html").read_text(encoding="utf-8")
    assert "http" not in re.sub(r"<dd>.*?</dd>", "", content)
    assert "prefers-color-scheme: dark" in content
    assert "width=device-width" in content
    assert report.seen.count("svg") == 3
    assert f"{n} of {N} samples to label" in report.text
    assert all(name in report.text for name in read()["id"])


def test_page_counts_what_was_taken(report):
    """In each cluster and class as many as the subset has there; every picture says what it is."""
    content = Path("out.html").read_text(encoding="utf-8")
    counts = [int(count) for count in re.findall(r"<b(?: class=\"none\")?>(\d+)</b>", content)]
    kinds = read()["index"] % 4
    assert counts[-4:] == [int(np.sum(kinds == k)) for k in range(4)]
    assert sum(counts) == 2 * n
    assert len(re.findall(r'<svg [^>]*role="img" aria-label="[^"]{20,}"', content)) == 3


def test_page_trusts_no_name(rows):
    """What stands in a file is shown, never run."""
    evil = "<script>alert('x')</script>\"'&"
    np.savez("a.npz", a=rows, id=np.array([f"{i}{evil}" for i in range(N)]),
             kind=np.array([evil, "b"])[np.arange(N) % 2])  # fmt: skip
    done("select", "a.npz", "-n", n, "--labels", "kind", "--report", "out.html", "-o", "out.csv")
    reader = page()
    assert "script" not in reader.seen
    assert evil in reader.text


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("kind", ["equal", "zero", "one column", "one row"])
def test_page_of_a_pool_without_shape(size, kind, rng):
    """All rows equal, all zero, of one feature, or a single one: nothing divides by nothing."""
    rows = {
        "equal": np.ones((8, 3)),
        "zero": np.zeros((8, 3)),
        "one column": rng.standard_normal((8, 1)),
        "one row": rng.standard_normal((1, 3)),
    }[kind]
    np.save("a.npy", rows)
    size = min(size, len(rows))
    done("select", "a.npy", "-n", size, "--report", "out.html", "-o", "out.csv", "-q")
    assert "nan" not in re.sub(r"<style>.*</style>", "", Path("out.html").read_text(), flags=re.S)
    page()


def test_same_seed_same_page(pool):
    done("select", pool, "-n", n, "-o", "a.csv", "--report", "a.html", "-q")
    done("select", pool, "-n", n, "-o", "b.csv", "--report", "b.html", "-q")
    pages = [re.sub(r"<dd>\S+ s</dd>", "", Path(f"{x}.html").read_text()) for x in "ab"]
    assert pages[0] == pages[1]


def test_outputs_get_the_permissions_of_the_user(pool):
    before = os.umask(0o027)
    try:
        done("select", pool, "-n", n, "-o", "out.csv")
    finally:
        os.umask(before)
    assert Path("out.csv").stat().st_mode & 0o777 == 0o640
