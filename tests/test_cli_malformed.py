"""Whatever a user hands to the command line by mistake: one sentence, a code, and nothing else.

Every case makes its files in an empty folder and returns a command line that cannot be carried out.
"""

import contextlib
import io
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import ipc, parquet
from safetensors.numpy import save_file

import skmm_cli
from skmm_cli.main import main
from skmm_scale.sketching import FeatureSource, sketch_share

LIB = Path(skmm_cli.__file__).parent.parent
N, R = 12, 3
GOOD = np.random.default_rng(0).standard_normal((N, R))
CASES = {}
"""By name: makes files in a folder, and returns the arguments of ``skmm``."""

NOBODY = {"folder that may not be written", "file that may not be read", "report not permitted"}
"""Cases of permissions, which a superuser would not feel."""

TIGHT = {f"disk full for {suffix}" for suffix in ("csv", "parquet", "npy", "html")}
"""Cases in which a file can have no more than a few bytes."""


class Canary:
    """What runs code when it is unpickled: it leaves a file behind."""

    def __reduce__(self):
        return (open, ("canary", "w"))


def case(name):
    def register(make):
        assert name not in CASES
        CASES[name] = make
        return make

    return register


def features(name, write, *more):
    """A case of a features file that ``write`` makes at a path; by default it is selected from."""

    def make(folder):
        path = folder / name.split(" ")[-1]
        write(path)
        return ["select", str(path), "-n", "2", "-o", str(folder / "out.csv"), *more]

    case(name)(make)


def npy(path, array=GOOD):
    np.save(path, array, allow_pickle=True)


def arguments(name, *words, good=True):
    """A case of a bad command line about a good file, where ``FILE`` stands for it."""

    def make(folder):
        if good:
            npy(folder / "good.npy")
        return [word.replace("FILE", str(folder / "good.npy")) for word in words]

    case(name)(make)


def holed(value, dtype=np.float64):
    array = GOOD.astype(dtype)
    array[5, 1] = value
    return array


# Arrays of NumPy

for name, array in {
    "no axis": np.float64(3.0),
    "one axis": GOOD[0],
    "three axes": GOOD[:, :, None],
    "four axes": np.ones((2, 2, 2, 2)),
    "no rows": GOOD[:0],
    "no columns": GOOD[:, :0],
    "neither": np.zeros((0, 0)),
    "complex": GOOD.astype(np.complex128),
    "single complex": GOOD.astype(np.complex64),
    "text": np.full((4, 2), "a"),
    "bytes": np.full((4, 2), b"a"),
    "dates": np.full((4, 2), np.datetime64("2020-01-01")),
    "durations": np.full((4, 2), np.timedelta64(3, "D")),
    "objects": np.full((4, 2), Canary()),
    "records": np.zeros(4, dtype=[("a", "f8"), ("b", "i4")]),
    "raw memory": np.zeros((4, 2), dtype="V3"),
    "NaN": holed(np.nan),
    "single NaN": holed(np.nan, np.float32),
    "half NaN": holed(np.nan, np.float16),
    "infinity": holed(np.inf),
    "minus infinity": holed(-np.inf, np.float32),
    "nothing but NaN": np.full((4, 2), np.nan),
}.items():
    features(f"{name} in a.npy", lambda path, array=array: npy(path, array))


def npy_bytes():
    with io.BytesIO() as file:
        np.save(file, GOOD)
        return file.getvalue()


def header(text, version=(1, 0)):
    """A .npy file whose header says ``text``."""
    padded = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(padded)) + padded + bytes(96)


whole = npy_bytes()
for length in (1, 3, 6, 7, 9, 20, 100, 128, len(whole) // 2, len(whole) - 1):
    features(f"first {length} bytes of b.npy", lambda path, k=length: path.write_bytes(whole[:k]))

for name, content in {
    "no magic": b"\x00" + whole[1:],
    "version 9": whole[:6] + b"\x09\x00" + whole[8:],
    "code as header": header("__import__('pathlib').Path('canary').touch()"),
    "list as header": header("[1, 2]"),
    "no shape": header("{'descr': '<f8', 'fortran_order': False}"),
    "negative shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 4), }"),
    "huge shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**9, 10**9), }"),
    "too large shape": header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 999999999), }"
    ),
    "float shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1.5, 2), }"),
    "unknown type": header("{'descr': '<q9', 'fortran_order': False, 'shape': (3, 4), }"),
    "pickle": pickle.dumps(Canary()),
    "archive": b"PK\x03\x04" + bytes(40),
    "page": b"<!doctype html><p>404: not found",
    "numbers": b"1,2\n3,4\n",
    "noise": np.random.default_rng(1).bytes(4000),
}.items():
    features(f"{name} instead of c.npy", lambda path, content=content: path.write_bytes(content))

# Archives of NumPy


def npz(path, **arrays):
    np.savez(path, **arrays)


def cut(write, path, share):
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def spoilt(write, path):
    """Flips bytes in the middle of a file."""
    write(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    for i in range(middle - 20, middle + 20):
        content[i] ^= 0x5A
    path.write_bytes(bytes(content))


for name, arrays in {
    "two matrices": {"a": GOOD, "b": GOOD},
    "no numbers": {"a": np.full(4, "x")},
    "three axes": {"a": GOOD[None]},
    "NaN": {"a": holed(np.nan)},
    "objects": {"a": np.full((4, 2), Canary())},
    "unequal vectors": {"a": GOOD[:, 0], "b": GOOD[:5, 0]},
    "ids twice": {"a": GOOD, "id": np.arange(N) // 2},
    "too few ids": {"a": GOOD, "id": np.arange(N - 1)},
    "ids of two axes": {"a": GOOD, "id": np.arange(2 * N).reshape(N, 2)},
}.items():
    features(f"{name} in d.npz", lambda path, arrays=arrays: npz(path, **arrays))
features("half of e.npz", lambda path: cut(lambda p: npz(p, a=GOOD), path, 0.5))
features("spoilt e.npz", lambda path: spoilt(lambda p: npz(p, a=GOOD), path))
features("no array in e.npz", lambda path: zipfile.ZipFile(path, "w").close())
features("noise in e.npz", lambda path: path.write_bytes(bytes(range(200))))
features("matrix not in e.npz", lambda path: npz(path, a=GOOD), "--columns", "b")
features("id not in e.npz", lambda path: npz(path, a=GOOD), "--id", "name")

# Tables of text

for name, text in {
    "header alone": "a,b\n",
    "no lines": "\n\n",
    "too few cells": "a,b\n1,2\n3\n",
    "too many cells": "a,b\n1,2\n3,4,5\n",
    "text alone": "a,b\nx,y\nz,w\n",
    "empty cell": "a,b\n1,2\n,4\n5,6\n",
    "NaN": "a,b\n1,2\nnan,4\n5,6\n",
    "infinity": "a,b\n1,2\ninf,4\n5,6\n",
    "one name twice": "a,a\n1,2\n3,4\n",
    "semicolons": "a;b\n1;2\n3;4\n",
    "open quote": 'a,b\n1,2\n"3,4\n',
    "zero byte": "a,b\n1,2\n3,\0\n",
    "ids twice": "id,a\nu,1\nv,2\nu,3\n",
    "missing id": "id,a\nu,1\n,2\nw,3\n",
    "decimal commas": 'a,b\n"1,5","2,5"\n"3,5","4,5"\n',
}.items():
    features(f"{name} in f.csv", lambda path, text=text: path.write_text(text))
features("noise in f.csv", lambda path: path.write_bytes(np.random.default_rng(2).bytes(900)))
features("wide letters in f.csv", lambda path: path.write_text("a,b\n1,2\n3,4\n", "utf-16"))
features("pickle in f.csv", lambda path: path.write_bytes(pickle.dumps(Canary())))
features("commas in f.tsv", lambda path: path.write_text("a,b\nx,2\ny,4\n"))
for option, value in (("--columns", "c"), ("--id", "c"), ("--group", "c"), ("--labels", "c")):
    features(
        f"no {option[2:]} in g.csv", lambda path: path.write_text("a,b\n1,2\n3,4\n5,7\n"),
        option, value,
    )  # fmt: skip
features("text for numbers in g.csv", lambda path: path.write_text("a,b\n1,x\n3,y\n5,z\n"),
         "--columns", "a,b")  # fmt: skip

# Tables of Arrow


def table(**columns):
    return pa.table(columns)


def lists(array):
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


EMPTY = pa.table({"a": pa.array([], pa.float64())})
BAD_TABLES = {
    "no rows": EMPTY,
    "text alone": table(a=["x", "y"]),
    "missing number": table(a=[1.0, None, 3.0], b=[1.0, 2.0, 3.0]),
    "NaN": table(a=[1.0, np.nan, 3.0], b=[1.0, 2.0, 3.0]),
    "unequal lists": table(a=[[1.0, 2.0], [3.0], [4.0, 5.0]]),
    "missing list": table(a=pa.array([[1.0, 2.0], None, [4.0, 5.0]])),
    "missing entry": table(a=pa.array([[1.0, 2.0], [3.0, None]])),
    "empty lists": table(a=pa.array([[], []], pa.list_(pa.float64()))),
    "lists of text": table(a=[["x", "y"], ["z", "w"]]),
    "records": table(a=[{"x": 1.0}, {"x": 2.0}]),
    "two matrices": table(a=lists(GOOD), b=lists(GOOD)),
    "ids twice": table(a=lists(GOOD), id=["u"] * N),
    "missing id": table(a=lists(GOOD), id=[None, *map(str, range(N - 1))]),
    "dates": table(a=pa.array([0, 1, 2], pa.date32())),
}
for name, bad in BAD_TABLES.items():
    features(f"{name} in h.parquet", lambda path, bad=bad: parquet.write_table(bad, path))


def arrow(path, held):
    with ipc.new_file(path, held.schema) as file:
        file.write_table(held)


fine = table(a=lists(GOOD))
for name in ("no rows", "NaN", "unequal lists", "ids twice"):
    features(f"{name} in i.arrow", lambda path, bad=BAD_TABLES[name]: arrow(path, bad))
for share in (0.1, 0.5, 0.9):
    features(
        f"{share} of j.parquet",
        lambda path, share=share: cut(lambda p: parquet.write_table(fine, p), path, share),
    )
    features(
        f"{share} of j.feather",
        lambda path, share=share: cut(lambda p: arrow(p, fine), path, share),
    )
features("spoilt j.parquet", lambda path: spoilt(lambda p: parquet.write_table(fine, p), path))
features("ends of j.parquet", lambda path: path.write_bytes(b"PAR1" + bytes(8) + b"PAR1"))
features("noise in j.parquet", lambda path: path.write_bytes(bytes(range(250))))
features("text in j.arrow", lambda path: path.write_text("a,b\n1,2\n"))
features("other table in j.arrow", lambda path: parquet.write_table(fine, path))
features("no column of j.parquet", lambda path: parquet.write_table(fine, path), "--columns", "b")

# Tensors


def tensors(path, **arrays):
    save_file(arrays, path)


def torch_file(path, held, **how):
    torch.save(held, path, **how)


for name, arrays in {
    "one axis": {"a": GOOD[0]},
    "two matrices": {"a": GOOD, "b": GOOD},
    "NaN": {"a": holed(np.nan)},
    "no rows": {"a": GOOD[:0]},
}.items():
    features(f"{name} in k.safetensors", lambda path, arrays=arrays: tensors(path, **arrays))
features("half of k.safetensors", lambda path: cut(lambda p: tensors(p, a=GOOD), path, 0.5))
for name, content in {
    "noise": bytes(range(100)),
    "endless header": struct.pack("<Q", 1 << 62) + b"{}",
    "no tensors": struct.pack("<Q", 2) + b"{}",
    "bad header": struct.pack("<Q", 4) + b"{{{{",
    "tensor beyond the end": struct.pack("<Q", 62)
    + b'{"a":{"dtype":"F64","shape":[9,9],"data_offsets":[0,648]}}    ',
}.items():
    features(f"{name} in l.safetensors", lambda path, content=content: path.write_bytes(content))
for name, held in {
    "code": Canary(),
    "code beside tensors": {"a": torch.from_numpy(GOOD), "b": Canary()},
    "a model": torch.nn.Linear(2, 2),
    "a list": [1, 2],
    "no tensors": {"a": 1, "b": "c"},
    "a word": "features",
    "one axis": torch.ones(4),
    "NaN": torch.from_numpy(holed(np.nan)),
    "two matrices": {"a": torch.from_numpy(GOOD), "b": torch.from_numpy(GOOD)},
    "complex": torch.ones(4, 2, dtype=torch.complex64),
}.items():
    features(f"{name} in m.pt", lambda path, held=held: torch_file(path, held))
features(
    "old code in m.pth",
    lambda path: torch_file(path, Canary(), _use_new_zipfile_serialization=False),
)
features("pickle in m.pt", lambda path: path.write_bytes(pickle.dumps(Canary())))
features("half of m.pt", lambda path: cut(lambda p: torch_file(p, torch.ones(90, 9)), path, 0.5))
features("noise in m.pth", lambda path: path.write_bytes(bytes(range(99))))

# Names and kinds of files

for suffix in ("txt", "json", "xlsx", "h5", "npy.gz", "zip", "yaml"):
    features(f"unknown suffix of n.{suffix}", lambda path: path.write_bytes(whole))
for suffix in ("pkl", "pickle", "joblib"):
    features(f"pickle in n.{suffix}", lambda path: path.write_bytes(pickle.dumps(Canary())))
for suffix in ("npy", "npz", "csv", "tsv", "parquet", "arrow", "safetensors", "pt"):
    features(f"empty o.{suffix}", lambda path: path.touch())
features("no suffix: features", lambda path: path.write_bytes(whole))
features("missing p.npy", lambda path: None)
features("folder named p.npy", lambda path: path.mkdir())
features("pipe named p.npy", os.mkfifo)
features("pipe named p.parquet", os.mkfifo)
features("link to nothing, q.npy", lambda path: path.symlink_to("nowhere.npy"))
features("link to itself, q.npy", lambda path: path.symlink_to(path))
features("link to zeros, q.npy", lambda path: path.symlink_to("/dev/zero"))
features("link to nothing at all, q.csv", lambda path: path.symlink_to("/dev/null"))
arguments("file below a file", "select", "FILE/x.npy", "-n", "2")
arguments("name too long", "select", "x" * 300 + ".npy", "-n", "2")
arguments("name of zero byte", "select", "x\0.npy", "-n", "2")
arguments("empty name", "select", "", "-n", "2")


@case("socket instead of a file")
def _(folder):
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.npy")
    return ["select", str(folder / "s.npy"), "-n", "2"]


@case("file that may not be read")
def _(folder):
    npy(folder / "t.npy")
    (folder / "t.npy").chmod(0)
    return ["select", str(folder / "t.npy"), "-n", "2"]


# Command lines

for n in ("0", "-1", str(N + 1), str(10**30), "1.5", "abc", "", "1e3", "nan"):
    arguments(f"budget {n!r}", "select", "FILE", f"-n={n}")
arguments("no budget", "select", "FILE")
arguments("budget without a number", "select", "FILE", "-n")
arguments("no features", "select", "-n", "2", good=False)
arguments("two files of features", "select", "FILE", "FILE", "-n", "2")
arguments("unknown command", "choose", "FILE", good=False)
arguments("unknown option", "select", "FILE", "-n", "2", "--fast")
arguments("unknown method", "select", "FILE", "-n", "2", "--method", "magic")
arguments("method of no name", "select", "FILE", "-n", "2", "--method", "")
arguments("unknown knob", "select", "FILE", "-n", "2", "--set", "speed=3")
arguments("knob without a value", "select", "FILE", "-n", "2", "--set", "metric")
arguments("value without a knob", "select", "FILE", "-n", "2", "--set", "=raw")
arguments("knob twice", "select", "FILE", "-n", "2", "--set", "sigma=1", "--set", "sigma=2")
arguments("knob of another method", "select", "FILE", "-n=2", "--method=uniform", "--set", "rank=2")
for knob in ("metric=foo", "criterion=foo", "sigma=0", "sigma=-1", "sigma=nan", "sigma=abc",
             "sigma=1e999", "slack=0", "slack=x", "weight=-1", "weight=x", "mean=3"):  # fmt: skip
    arguments(f"knob {knob}", "select", "FILE", "-n", "2", "--set", knob)
for method, knob in {
    "leverage": "rank=0", "ridge_leverage": "rank=x", "active_ft": "steps=-1",
    "typiclust": "cap=0", "prob_cover": "delta=x", "sensitivity": "clusters=1.5",
    "skmm_paper": "solver=foo", "log_det": "ridge=x", "k_medoids": "sigma=none",
}.items():  # fmt: skip
    arguments(f"{method} with {knob}", "select", "FILE", "-n=2", "--method", method, "--set", knob)
for method in ("class_balanced", "contextual_diversity", "deepfool", "el2n", "entropy",
               "forgetting", "glister", "grand", "margin"):  # fmt: skip
    arguments(f"{method} without its needs", "select", "FILE", "-n", "2", "--method", method)
for seed in ("-1", "x", "1.5"):
    arguments(f"seed {seed}", "select", "FILE", "-n", "2", f"--seed={seed}")
for m in ("0", "-3", str(R + 1), "x"):
    arguments(f"sketch size {m}", "select", "FILE", "-n", "2", f"-m={m}")
arguments("unknown sketch", "select", "FILE", "-n", "2", "--sketch", "pencil")
arguments("unknown method of methods", "methods", "magic", good=False)
for budgets in ("0", "a,b", "3,-1", str(N + 1), "1.5"):
    arguments(f"plan of {budgets}", "plan", "FILE", f"--budgets={budgets}")
arguments("comparison of nothing", "compare", "FILE", "-n", "2", "--methods", " , ")
arguments("comparison with magic", "compare", "FILE", "-n", "2", "--methods", "skmm,magic")
arguments("comparison beyond the pool", "compare", "FILE", "-n", "99")
arguments("comparison with knobs", "compare", "FILE", "-n", "2", "--set", "metric=raw")

# Outputs


def output(name, prepare, path="out.csv", *more, option="-o"):
    def make(folder):
        npy(folder / "good.npy")
        prepare(folder)
        return ["select", str(folder / "good.npy"), "-n", "2", option, str(folder / path), *more]

    case(name)(make)


def nothing(folder):
    return None


def taken(name):
    return lambda folder: (folder / name).write_text("mine")


for suffix in ("txt", "json", "xlsx", "pkl", "csv.gz"):
    output(f"output as {suffix}", nothing, f"out.{suffix}")
output("output without a suffix", nothing, "out")
output("report as pdf", nothing, "out.pdf", option="--report")
for name in ("out.csv", "out.parquet", "out.npy"):
    output(f"{name} exists", taken(name), name)
output("out.html exists", taken("out.html"), "out.html", option="--report")
output("output is the input", nothing, "good.npy")
output("output is a folder", lambda folder: (folder / "out.csv").mkdir())
output(
    "forced output is a folder", lambda folder: (folder / "out.csv").mkdir(), "out.csv", "--force"
)
output("output is a pipe", lambda folder: os.mkfifo(folder / "out.csv"), "out.csv", "--force")
output("output is a device", lambda folder: (folder / "out.csv").symlink_to("/dev/full"),
       "out.csv", "--force")  # fmt: skip
output("no folder for the output", nothing, "no/out.csv")
output("no folder for the report", nothing, "no/out.html", option="--report")
output("output below a file", nothing, "good.npy/out.csv")
output("output of a long name", nothing, "x" * 300 + ".csv")
output("output of a zero byte", nothing, "x\0.csv")
output("weights in an array", nothing, "out.npy", "--weights")
output("output and report are one", lambda folder: (folder / "out.csv").symlink_to("r.html"),
       "out.csv", "--report", "r.html")  # fmt: skip
output("report exists, output does not", taken("r.html"), "out.csv", "--report", "r.html")


def closed(folder):
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0o555)


output("folder that may not be written", closed, "closed/out.csv")
output("report not permitted", closed, "closed/out.html", option="--report")
output("disk full for csv", nothing, "out.csv")
output("disk full for parquet", nothing, "out.parquet")
output("disk full for npy", nothing, "out.npy")
output("disk full for html", nothing, "out.html", "-o", "out.csv", option="--report")

# Lists of samples, groups and labels


def beside(name, option, file, write, *more, ids=False):
    """A case of a bad file beside good features, which have ids or not."""

    def make(folder):
        pool = folder / "good.npz"
        npz(pool, a=GOOD, **({"id": np.array([f"u{i}" for i in range(N)])} if ids else {}))
        path = folder / file
        write(path)
        if option == "certify":
            return ["certify", str(pool), str(path), *more]
        return ["select", str(pool), "-n", "2", option, str(path), *more]

    case(name)(make)


def lines(*words):
    return lambda path: path.write_text("\n".join(words) + "\n")


for option in ("certify", "--keep", "--exclude"):
    for name, file, write in [
        ("missing", "s.csv", lambda path: None),
        ("empty", "s.csv", lambda path: path.touch()),
        ("a folder", "s.csv", lambda path: path.mkdir()),
        ("beyond the pool", "s.csv", lines("index", "0", str(N))),
        ("below the pool", "s.csv", lines("index", "0", "-1")),
        ("not whole", "s.csv", lines("index", "0.5", "1.5")),
        ("twice", "s.csv", lines("index", "3", "4", "3")),
        ("names without ids", "s.csv", lines("name", "u1", "u2")),
        ("of two columns", "s.csv", lines("a,b", "1,2", "3,4")),
        ("of two axes", "s.npy", lambda path: npy(path, np.zeros((2, 2), int))),
        ("pickled", "s.npy", lambda path: npy(path, np.array([Canary()]))),
    ]:
        beside(f"{option}: samples {name}", option, file, write)
    beside(f"{option}: unknown id", option, "s.csv", lines("id", "u1", "v9"), ids=True)
    beside(f"{option}: id twice", option, "s.csv", lines("id", "u1", "u1"), ids=True)
beside("everything excluded", "--exclude", "s.csv", lines("index", *map(str, range(N))))
beside("too much excluded", "--exclude", "s.csv", lines("index", *map(str, range(1, N))))
beside("too much kept", "--keep", "s.csv", lines("index", *map(str, range(1, N))))


@case("both kept and excluded")
def _(folder):
    npy(folder / "good.npy")
    (folder / "s.csv").write_text("index\n3\n")
    list_of = str(folder / "s.csv")
    return ["select", str(folder / "good.npy"), "-n", "2", "--keep", list_of, "--exclude", list_of]


for option in ("--group", "--labels"):
    beside(f"{option}: missing file", option, "s.csv", lambda path: None)
    beside(f"{option}: too few", option, "s.csv", lines("name", *"abc"))
    beside(f"{option}: two columns", option, "s.csv", lines("a,b", *["1,2"] * N))
    beside(f"{option}: two axes", option, "s.npy", lambda path: npy(path, np.zeros((N, 2), int)))
    beside(f"{option}: an id is missing", option, "s.csv", lines("id,v", "u0,a", "u1,b"), ids=True)


def needs(name, method, **arrays):
    """A case of a method whose needs are not what they should be."""

    def make(folder):
        npy(folder / "good.npy")
        words = ["select", str(folder / "good.npy"), "-n", "2", "--method", method]
        for need, array in arrays.items():
            npy(folder / f"{need}.npy", array)
            words += ["--set", f"{need}={folder / need}.npy"]
        return words

    case(name)(make)


needs("probabilities of few samples", "margin", probabilities=np.full((3, 2), 0.5))
needs("probabilities of one class", "margin", probabilities=np.ones((N, 1)))
needs("probabilities that do not sum to one", "entropy", probabilities=np.ones((N, 2)))
needs("negative probabilities", "entropy", probabilities=np.tile([2.0, -1.0], (N, 1)))
needs("probabilities with NaN", "entropy", probabilities=np.full((N, 2), np.nan))
needs("labels of few samples", "class_balanced", labels=np.zeros(3, int))
needs("weights of other classes", "deepfool", logits=np.ones((N, 3)), weights=np.ones((2, 4)))
needs("correctness of few samples", "forgetting", correctness=np.ones((4, 3), bool))
needs("labels of more classes", "el2n", labels=np.arange(N),
      early_probabilities=np.full((N, 2), 0.5))  # fmt: skip


# Stores


def sketched(name, write, *more, into="store"):
    """A case of a file that ``write`` makes in a folder, and that ``skmm sketch`` is to sketch."""

    def make(folder):
        path = write(folder)
        return ["sketch", str(path), "--into", str(folder / into), *more]

    case(name)(make)


def saved(folder, array=GOOD, name="good.npy"):
    npy(folder / name, array)
    return folder / name


def stored(folder, share=(1, 1)):
    """A store in three shards, or some of them."""
    saved(folder)
    source = FeatureSource(GOOD, rng=0)
    sketch_share(source, folder / "store", rows_per_shard=5, share=share)
    return folder / "store"


def late_nan(folder):
    """What is found only in the last shard, when others are made."""
    return saved(folder, holed(np.nan))


def spoil(path, content):
    path.write_bytes(content)


sketched("NaN in a later shard", late_nan, "--rows-per-shard", "2", "-q")
sketched("infinity to sketch", lambda folder: saved(folder, holed(np.inf)), "-m", "2")
sketched("too large for half precision", lambda folder: saved(folder, GOOD * 1e6),
         "--dtype", "float16", "-q")  # fmt: skip
sketched("text to sketch", lambda folder: saved(folder, np.full((4, 2), "a")))
sketched("one axis to sketch", lambda folder: saved(folder, GOOD[0]))
sketched("no file to sketch", lambda folder: folder / "none.npy")
sketched("sketch larger than the features", saved, "-m", "4")
sketched("share beyond the last", saved, "--shard", "3/2")
sketched("share from 0", saved, "--shard", "0/2")
sketched("no share", saved, "--shard", "two")
sketched("shards of no rows", saved, "--rows-per-shard", "0")
sketched("whole numbers on disk", saved, "--dtype", "int8")
sketched("unknown map", saved, "--sketch", "magic")
sketched("negative seed of a sketch", saved, "--seed", "-1")
sketched("store in a folder that is missing", saved, into="none/store")
sketched("store in a file", saved, into="good.npy")
sketched("features and --finish", saved, "--finish")
sketched("store of others to sketch", lambda folder: (stored(folder), folder / "good.npy")[1],
         "--seed", "1", "-m", "2")  # fmt: skip
sketched("broken Parquet to sketch", lambda folder: spoilt(
    lambda p: parquet.write_table(table(a=lists(GOOD)), p), folder / "a.parquet"
) or folder / "a.parquet")  # fmt: skip
for name in ("unequal lists", "missing list", "missing entry", "no rows", "ids twice"):
    sketched(f"{name} to sketch", lambda folder, bad=BAD_TABLES[name]: (
        parquet.write_table(bad, folder / "a.parquet") or folder / "a.parquet"))  # fmt: skip


@case("nothing to sketch")
def _(folder):
    return ["sketch", "--into", str(folder / "store")]


@case("nothing to finish")
def _(folder):
    return ["sketch", "--finish", "--into", str(folder / "store")]


@case("shards missing to finish")
def _(folder):
    store = stored(folder, (1, 2))
    return ["sketch", "--finish", "--into", str(store)]


@case("folder of others for a store")
def _(folder):
    (folder / "store").mkdir()
    (folder / "store" / "letter.txt").write_text("dear")
    return ["sketch", str(saved(folder)), "--into", str(folder / "store")]


@case("disk full for a store")
def _(folder):
    return ["sketch", str(saved(folder)), "--into", str(folder / "store")]


TIGHT.add("disk full for a store")


def of_store(name, harm):
    """A case of a store to which ``harm`` has been done, and from which is selected."""

    def make(folder):
        store = stored(folder)
        harm(store)
        return ["select", str(store), "-n", "2", "-o", str(folder / "out.csv")]

    case(name)(make)


of_store("store without a shard", lambda store: (store / "rows-00001.npy").unlink())
of_store("store without ids", lambda store: (store / "ids-00002.npy").unlink())
of_store("short shard", lambda store: os.truncate(store / "rows-00000.npy", 100))
of_store("no manifest", lambda store: (store / "manifest.json").rename(store / "recipe.json"))
of_store("half a manifest", lambda store: os.truncate(store / "manifest.json", 200))
of_store("list for a manifest", lambda store: spoil(store / "manifest.json", b"[1, 2]"))
of_store("empty manifest", lambda store: spoil(store / "manifest.json", b"{}"))
of_store("manifest of the future", lambda store: spoil(store / "manifest.json", b'{"schema": 9}'))
of_store("manifest of one shard", lambda store: spoil(
    store / "manifest.json",
    (store / "manifest.json").read_bytes().replace(b'"N": 12', b'"N": 5')))  # fmt: skip


@case("folder without a store to export")
def _(folder):
    return ["export", str(folder), "-o", str(folder / "a.parquet")]


@case("export to text")
def _(folder):
    return ["export", str(stored(folder)), "-o", str(folder / "a.csv")]


# The law


@contextlib.contextmanager
def as_nobody(folder):
    """Lets permissions count, for a superuser too."""
    if os.geteuid() != 0:
        yield
        return
    for path in [folder, *folder.parents]:
        if path.is_relative_to(folder.parents[2]):
            path.chmod(path.stat().st_mode | 0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def full_disk():
    """Lets no file have more than eight bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def found(folder):
    """All that is in a folder, by name, with its content if it has any."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in sorted(folder.rglob("*"))
        if not path.is_char_device()
    }


def one_sentence(text):
    """Whether a text is one line of this program, of a size that is read."""
    (line,) = text.splitlines()
    return line.startswith("skmm: ") and 20 < len(line) < 500 and "Traceback" not in line


def test_there_are_two_hundred_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", CASES)
def test_malformed_input_is_one_sentence(name, tmp_path, monkeypatch, capsys):
    """And a code that is not 0, no output, no file left, none changed, no code run."""
    monkeypatch.chdir(tmp_path)
    words = CASES[name](tmp_path)
    before = found(tmp_path)
    with contextlib.ExitStack() as conditions:
        if name in NOBODY:
            conditions.enter_context(as_nobody(tmp_path))
        if name in TIGHT:
            conditions.enter_context(full_disk())
        code = main(words)
    told = capsys.readouterr()
    assert code in (1, 2)
    assert told.out == ""
    assert one_sentence(told.err), told.err
    assert found(tmp_path) == before
    assert not (tmp_path / "canary").exists()


def test_canary_would_sing(tmp_path, monkeypatch):
    """The pickles of the cases do run code where they are opened."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Canary())).close()
    assert (tmp_path / "canary").exists()


REAL = ["pickle instead of c.npy", "out.csv exists", "unknown option",
        "pipe named p.npy", "budget '13'"]  # fmt: skip


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.parametrize("name", REAL)
def test_the_program_itself_says_the_same(name, tmp_path):
    """As a process of its own, which ends with the code and says nothing after its sentence."""
    words = CASES[name](tmp_path)
    before = found(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "skmm_cli.main", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(LIB)},
        timeout=60,
    )
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert one_sentence(done.stderr), done.stderr
    assert found(tmp_path) == before


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_standard_output_is_one_sentence(tmp_path):
    npy(tmp_path / "good.npy")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "skmm_cli.main", "select", "good.npy", "-n", "2", "-q"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(LIB)},
        )
    assert done.returncode == 1
    assert one_sentence(done.stderr), done.stderr
