"""Work placed by Ray: what one process would have made, also when a worker is killed meanwhile."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray
from ray._private.worker import global_worker

import skmm
from skmm.selection.selectors import stratified
from skmm_scale.on_ray import cluster, select_on_ray, sketch_on_ray, workers
from skmm_scale.on_ray.workers import Workers
from skmm_scale.sketching import FeatureSource, sketch_share
from skmm_scale.store import Store

N, R, M, SIZE = 90, 12, 5, 15


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """One for all tests, and one pool of workers: each takes seconds to start."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))  # where Ray would leave a token
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # Ray's own processes, untraced
        with cluster(num_cpus=4), workers(4) as started:
            yield started


@pytest.fixture
def features(rng, tmp_path):
    np.save(tmp_path / "rows.npy", rng.standard_normal((N, R), dtype=np.float32))
    return tmp_path / "rows.npy"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def maker(path, *, kill=None):
    """What makes the source on a worker; ``kill``: a file that tells whether one was killed."""

    def make():
        class Deadly:
            def __init__(self, rows):
                self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

            def __getitem__(self, key):
                assert os.environ["OMP_NUM_THREADS"] == "1"
                if kill is not None and key.start == 45 and key.stop == 60 and not kill.exists():
                    kill.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return self.rows[key]

        return FeatureSource(Deadly(np.load(path, mmap_mode="r")), m=M, rng=3)

    return make


@pytest.mark.parametrize("count", [1, 2, 4])
def test_store_is_the_bytes_of_one_process_though_a_worker_is_killed(
    count, pool, features, tmp_path
):
    """In the middle of a shard; among the most workers, for each death costs a start."""
    sketch_share(maker(features)(), tmp_path / "one", rows_per_shard=SIZE)
    killed = tmp_path / "killed" if count == 4 else None
    some = Workers(pool.actors[:count])
    sketch_on_ray(maker(features, kill=killed), tmp_path / "s", workers=some, rows_per_shard=SIZE)
    assert killed is None or killed.exists()
    assert content(tmp_path / "s") == content(tmp_path / "one")


def test_refused_rows_leave_nothing(pool, rng, tmp_path):
    rows = rng.standard_normal((N, R))
    rows[70, 3] = np.inf
    np.save(tmp_path / "rows.npy", rows)
    make = maker(tmp_path / "rows.npy")
    with pytest.raises(ValueError, match="row 70, column 3"):
        sketch_on_ray(make, tmp_path / "s", workers=pool, rows_per_shard=SIZE)
    assert not (tmp_path / "s").exists()


def test_data_do_not_travel_with_what_makes_them(pool, rng, tmp_path):
    rows = rng.standard_normal((20_000, 20))
    with pytest.raises(ValueError, match="open files by their paths"):
        sketch_on_ray(lambda: FeatureSource(rows, rng=0), tmp_path / "s", workers=pool)
    assert not (tmp_path / "s").exists()


def test_cluster_leaves_no_trace(pool):
    """No statistics, no dashboard, no token in the home folder, one thread a worker."""
    (node,) = ray.nodes()
    assert node["Alive"]
    assert not global_worker.node.webui_url
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert len(global_worker.node.get_session_dir_path()) < 60
    ((_, seen),) = pool.each(lambda: None, lambda _: dict(os.environ), [()])
    assert seen["OMP_NUM_THREADS"] == "1"
    assert not (Path.home() / ".ray" / "auth_token").exists()


@pytest.fixture
def large(rng, tmp_path, monkeypatch):
    """A store that is chosen from in cells, in three shards, some of whose rows are zeros."""
    for name, value in {"MOST": 200, "_LEAST": 60, "_MOST": 120, "_PAIRS": 90_000}.items():
        monkeypatch.setattr(stratified, name, value)
    rows = rng.standard_normal((900, 8), dtype=np.float32)
    rows[::50] = 0.0
    sketch_share(FeatureSource(rows, rng=0), tmp_path / "s", rows_per_shard=400)
    return tmp_path / "s"


def opener(folder, *, kill=None):
    """What opens the store on a worker; ``kill``: a file that tells whether one was killed."""
    here = os.getpid()

    def open_rows():
        class Deadly(Store):
            def __getitem__(self, key):
                if kill is not None and os.getpid() != here and not kill.exists():
                    kill.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__getitem__(key)

        return Deadly(folder)

    return open_rows


@pytest.mark.parametrize("count", [1, 2, 4])
def test_subset_is_that_of_one_process_though_a_worker_is_killed(count, pool, large, tmp_path):
    """With samples kept, and rows of zeros left out."""
    how = {"rng": 3, "keep": np.arange(5, 300, 31)}
    expected = skmm.select(Store(large), 60, **how)
    assert "cells" in expected.settings
    killed = tmp_path / "killed" if count == 4 else None
    some = Workers(pool.actors[:count])
    chosen = select_on_ray(opener(large, kill=killed), 60, workers=some, **how)
    assert killed is None or killed.exists()
    assert np.array_equal(chosen.indices, expected.indices)
    assert chosen.objective == expected.objective
    assert chosen.settings == expected.settings


def test_rows_that_would_be_sketched_in_memory_are_refused(pool, large):
    with pytest.raises(ValueError, match="sketch them to a store once"):
        select_on_ray(opener(large), 60, workers=pool, rng=0, m=4, criterion="fourth")
