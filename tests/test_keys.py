"""Keys: whatever a result depends on changes them, and nothing else does."""

import copy
import functools
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from skmm.selection.selectors import SELECTORS
from skmm_study.storage.code import code_behind, is_foreign
from skmm_study.storage.keys import array_digest, digest, fingerprint


def test_order_of_a_key_does_not_matter():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})


@pytest.mark.parametrize("other", [np.arange(6.0).reshape(2, 3), np.arange(6, dtype=np.float32)])
def test_array_digest_sees_type_shape_and_entries(other):
    array = np.arange(6.0)
    assert array_digest(array) == array_digest(array.copy())
    assert array_digest(array) != array_digest(other)
    assert array_digest(array) != array_digest(array + np.eye(6)[5])
    assert array_digest(array[::2]) == array_digest(array[::2].copy())


# Code.


@pytest.fixture
def behind(tmp_path, monkeypatch):
    """Writes a package ``toylib`` and returns what is behind its module ``a``."""
    texts = {
        "__init__": "'''A package.'''",
        "a": "from typing import TYPE_CHECKING\nfrom toylib.b import f\n"
        "if TYPE_CHECKING:\n    from toylib import typed",
        "b": "import json\nfrom .c import x\ndef f():\n    from toylib import d\n    return d.y",
        "c": "x = 1",
        "d": "y = 1",
        "e": "z = 1",
        "typed": "t = 1",
    }
    (tmp_path / "toylib").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**changed):
        for name, text in (texts | changed).items():
            (tmp_path / "toylib" / f"{name}.py").write_text(text)
        return code_behind("toylib.a")

    yield write
    assert [name for name in sys.modules if name.startswith("toylib")] == ["toylib"]
    del sys.modules["toylib"]


@pytest.mark.parametrize("module", ["a", "b", "c", "d"])
def test_code_behind_follows_imports(behind, module):
    """To any depth, relative ones and those inside functions; what is not reached is not in it."""
    before = behind()
    assert behind(e="z = 2", typed="t = 2") == before
    changed = "from toylib.b import f\nw = 1" if module == "a" else "from .c import x\nx = y = 2"
    assert behind(**{module: changed}) != before


def test_code_behind_leaves_out_what_it_is_told_to(behind):
    before = behind()
    without = {"without": ["toylib.c"]}
    assert code_behind("toylib.a", **without) != before
    kept = code_behind("toylib.a", **without)
    behind(c="x = 2")
    assert code_behind("toylib.a", **without) == kept


def test_code_behind_follows_code_not_words(behind):
    plain = behind(c="A = 1\ndef f(x):\n    return x + A\n")
    words = '"""Module."""\nA = 1\n"""One."""\n'
    words += 'def f(x):\n    """Adds."""\n    # why\n    return x + A\n'
    assert behind(c=words) == plain
    assert behind(c="A = 1\ndef f(x):\n    return x - A\n") != plain
    assert behind(c="A = '1'\ndef f(x):\n    return x + A\n") != plain


def test_code_behind_a_selector_is_its_own():
    """What is behind uniform sampling is not behind matching, and the other way round."""
    modules = {name: SELECTORS[name].choose.__module__ for name in ("uniform", "skmm", "margin")}
    assert len({code_behind(module) for module in modules.values()}) == 3


def test_a_module_without_source_has_no_key():
    with pytest.raises(ValueError, match="module sys must be a file of Python"):
        code_behind("sys")


@pytest.mark.parametrize(
    ("module", "foreign"),
    [("skmm.spectrum", False), ("skmm_study", False), (__name__, False), ("__main__", False)]
    + [(name, True) for name in ("json", "torch.nn", "numpy", "pytest", "sys")],
)
def test_other_packages_stand_for_themselves(module, foreign):
    assert is_foreign(module) == foreign


@pytest.mark.usefixtures("_unmeasured")
def test_kernels_are_those_in_use():
    """Results of one kernel are not taken for those of another."""
    script = (
        "import numpy; from skmm_study.storage import keys; print(keys.arithmetic()['kernels'])"
    )
    known = {
        core: subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OPENBLAS_CORETYPE": core},
        ).stdout
        for core in ("Haswell", "Nehalem")
    }
    if "openblas" not in known["Haswell"]:
        pytest.skip("NumPy has no OpenBLAS here, whose kernels can be chosen")
    assert known == {core: f"['openblas {core}']\n" for core in known}


# Objects.


class Net(nn.Module):
    """A network whose function is not in its weights alone."""

    def __init__(self, act, scale=1.0, *, buffer=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.act, self.fc = nn.Linear(4, 4), act, nn.Linear(4, 3)
        self.scale = scale
        self.register_buffer("shift", torch.tensor(buffer), persistent=False)

    def forward(self, x):
        """Scaled logits."""
        return self.fc(self.act(self.scale * self.layer(x) + self.shift))


def times(factor):
    return lambda x: factor * x


def tied(module):
    module.fc = nn.Linear(4, 4)
    module.fc.load_state_dict(module.layer.state_dict())
    return module


def one_object(module):
    module.fc = module.layer
    return module


def in_order(*names):
    parts = {"a": nn.ReLU(), "b": nn.LayerNorm(4)}
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names))


NETS = {
    "relu": lambda: Net(nn.ReLU()),
    "tanh": lambda: Net(nn.Tanh()),
    "slope": lambda: Net(nn.LeakyReLU(0.1)),
    "other slope": lambda: Net(nn.LeakyReLU(0.2)),
    "function": lambda: Net(torch.tanh),
    "other function": lambda: Net(torch.relu),
    "python function": lambda: Net(nn.functional.relu),
    "partial": lambda: Net(functools.partial(nn.functional.leaky_relu, negative_slope=0.1)),
    "other partial": lambda: Net(functools.partial(nn.functional.leaky_relu, negative_slope=0.2)),
    "lambda": lambda: Net(lambda x: x + 1),
    "other lambda": lambda: Net(lambda x: x + 2),
    "closure": lambda: Net(times(2)),
    "other closure": lambda: Net(times(3)),
    "attribute": lambda: Net(nn.ReLU(), 2.0),
    "buffer that is not saved": lambda: Net(nn.ReLU(), buffer=2.0),
    "training": lambda: Net(nn.ReLU()).train(False),
    "equal layers": lambda: tied(Net(nn.ReLU())),
    "one layer twice": lambda: one_object(Net(nn.ReLU())),
    "order": lambda: in_order("a", "b"),
    "other order": lambda: in_order("b", "a"),
}


def test_equal_weights_are_not_equal_networks():
    """Each differs from all others, and from itself neither built again nor copied."""
    prints = {name: fingerprint(build()) for name, build in NETS.items()}
    assert len(set(prints.values())) == len(NETS)
    for name, build in NETS.items():
        assert fingerprint(build()) == prints[name]
        assert fingerprint(copy.deepcopy(build())) == prints[name]
    assert fingerprint(pickle.loads(pickle.dumps(NETS["relu"]()))) == prints["relu"]


@dataclass(frozen=True)
class Settings:
    """An object of plain values."""

    rate: float
    layers: tuple = (1, 2)


VALUES = [
    *(None, True, 1, 1.0, "1", b"1", [1], (1,), {1}, {"1": 1}, {"1": 2}, 1j),
    *(np.float32(1), np.float32, np.exp, np.dtype("f4"), np.arange(2), np.random.default_rng(0)),
    *(torch.float32, torch.device("cpu"), torch.ones(2), torch.ones(2, dtype=torch.bfloat16)),
    *(Settings(1.0), Settings(2.0), Settings(1.0, (2, 1)), Settings, os.fspath, [[1], [2]]),
]


def test_values_of_all_kinds_have_keys_of_their_own():
    assert len({fingerprint(value) for value in VALUES}) == len(VALUES)
    assert [fingerprint(copy.deepcopy(value)) for value in VALUES] == [*map(fingerprint, VALUES)]


def test_layout_in_memory_does_not_matter():
    array = np.arange(24.0).reshape(2, 3, 4)
    assert fingerprint(np.asfortranarray(array)) == fingerprint(array)
    images = torch.arange(48.0).reshape(1, 3, 4, 4)
    lasting = images.to(memory_format=torch.channels_last)
    assert fingerprint(lasting) == fingerprint(images)


def test_modules_have_keys():
    assert fingerprint(np) != fingerprint(os) == fingerprint(os)


def test_an_object_within_itself_has_a_key():
    value = [1]
    value.append(value)
    assert fingerprint(value) != fingerprint([1, [1]])


def test_what_has_no_content_is_refused(tmp_path):
    with (tmp_path / "file").open("w") as file, pytest.raises(ValueError, match="TextIOWrapper"):
        fingerprint({"log": file})


def test_a_class_of_another_package_stands_with_its_version(monkeypatch):
    before = fingerprint(nn.ReLU())
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert fingerprint(nn.ReLU()) != before


SCRIPT = """
from skmm_study.storage.keys import fingerprint
power = {power}
def helper(x):
    return x ** power
class Net:
    names = frozenset(["a", "b", "c"])
    def __call__(self, x):
        return helper(x) if x.name in {{"a", "b", "c"}} else [helper(y) for y in x]
print(fingerprint(Net()))
"""


@pytest.mark.usefixtures("_unmeasured")
def test_classes_of_a_notebook_are_known_by_what_they_do():
    """There is no file to read; hashes of strings, which differ by process, stay out of it."""

    def printed(power, seed):
        command = [sys.executable, "-c", SCRIPT.format(power=power)]
        env = os.environ | {"PYTHONHASHSEED": str(seed)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout

    assert printed(2, 0) == printed(2, 1) != printed(3, 0)


@pytest.mark.usefixtures("_unmeasured")
def test_kernels_are_those_of_numpy_and_scipy():
    """A package that brings a BLAS of its own, loaded or not yet, changes no key."""
    program = "from skmm_study.storage.keys import kernels; before = kernels(); import scs"
    program += "; print(before == kernels() != [])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
