"""The same subset on every machine: BLAS kernels and threads round differently, and it shows not.

Pools are those in which rounding could decide: equal rows, equal distances, directions that are
missing, sums that cancel. Each is selected from by every method in processes with other kernels of
OpenBLAS and another number of threads.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from skmm_study import gaussian_mixture
from test_selectors import VARIANTS, signals

KERNELS = ("Haswell", "SkylakeX", "Nehalem")
"""With registers of 256 and of 512 bits and fused multiplication, and with neither of them."""

PROGRAM = """
import pickle, sys, warnings
from threadpoolctl import threadpool_info
from skmm import select
warnings.simplefilter("ignore")
jobs = pickle.load(open(sys.argv[1], "rb"))
subsets = [select(G, n, rng=5, **knobs).indices.tolist() for G, n, knobs in jobs]
kernels = {found.get("architecture") for found in threadpool_info()}
pickle.dump((kernels, subsets), open(sys.argv[2], "wb"))
"""


def pools():
    """Pools by name, of at most 300 rows."""
    rng = np.random.default_rng(3)
    some = rng.standard_normal((60, 7)) * np.geomspace(3, 0.1, 7) + 0.5
    angles = 2 * np.pi * np.arange(48) / 48
    axis = 0.1 * np.arange(-2, 3)
    basis = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    outlier = some.copy()
    outlier[17] *= 1e6
    return {
        "generic": some,
        "wide": rng.standard_normal((30, 80)),
        "mixture": gaussian_mixture(300, 40, 8, rng=0).features,
        "single precision": gaussian_mixture(120, 40, 8, rng=1).features.astype(np.float32),
        "duplicates": np.repeat(some[:15], 4, axis=0),
        "near duplicates": np.repeat(some[:15], 4, axis=0) + 1e-9 * rng.standard_normal((60, 7)),
        "constant": np.full((40, 5), 0.1),
        "low rank": some[:, :3] @ rng.standard_normal((3, 20)),
        "low rank, wide": some[:30, :3] @ rng.standard_normal((3, 50)),
        "zero rows": np.where(np.arange(60)[:, None] % 3, 0.0, some),
        "zero rows, wide": np.where(np.arange(30)[:, None] % 3, 0.0, rng.standard_normal((30, 50))),
        "grid": np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3),
        "circle": np.column_stack([np.cos(angles), np.sin(angles)]),
        "axes": np.eye(40),
        "rotated axes": basis,
        "rotated pairs": np.concatenate([basis, -basis]) / 3,
        "signs": rng.choice([-0.3, 0.3], (64, 12)),
        "shifted": some + 1e4,
        "decaying": (basis * np.geomspace(1, 1e-12, 40)) @ rng.standard_normal((40, 40)),
        "one outlier": outlier,
    }


POOLS = pools()

SINGLE = np.repeat(np.random.default_rng(4).standard_normal((2_900, 12)), 2, axis=0)
"""Pairs of equal rows, so many that similarities are held in single precision."""


def jobs():
    """Method and pool -> rows, budget and knobs of `skmm.select`."""
    small = {
        (method, *knobs.values(), pool, n): (
            G,
            n,
            {"method": method, **signals(method, len(G)), **knobs},
        )
        for method, knobs in VARIANTS
        for pool, G in POOLS.items()
        for n in (5, len(G) // 3)
    }
    return small | {("skmm", "single", n): (SINGLE, n, {}) for n in (30, 600)}


def subsets(folder, kernel, threads, jobs):
    """The subsets of some jobs, and the kernels that they were computed by."""
    (folder / "jobs").write_bytes(pickle.dumps(list(jobs.values())))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    changed = dict.fromkeys(names, str(threads)) | {"OPENBLAS_CORETYPE": kernel}
    changed["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", PROGRAM, folder / "jobs", folder / "subsets"]
    subprocess.run(command, check=True, env=os.environ | changed)
    kernels, chosen = pickle.loads((folder / "subsets").read_bytes())
    return kernels, dict(zip(jobs, chosen, strict=True))


@pytest.mark.usefixtures("_unmeasured")
def test_kernels_and_threads_do_not_matter(tmp_path):
    """Not even the order of a subset, in any pool, by any method."""
    here = [kernel for kernel in KERNELS if kernel in subsets(tmp_path, kernel, 1, {})[0]]
    if len(here) < 2:
        pytest.skip("NumPy's BLAS has one kind of kernel on this processor")
    asked = jobs()
    settings = zip(here, (1, 2, 1), strict=False)
    first, *others = (subsets(tmp_path, *setting, asked)[1] for setting in settings)
    differ = [at for at in first if any(other[at] != first[at] for other in others)]
    assert not differ
