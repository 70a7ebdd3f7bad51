"""The array cache: one key one array, whole files only, resumable, shared between processes."""

import json
import multiprocessing
import time

import numpy as np
import pytest

from skmm_study.storage.arrays import ArrayCache, read_array, write_array
from skmm_study.storage.folder import cache_folder

N, SHARD = 23, 5


def rows(start, stop):
    return np.arange(start, stop, dtype=np.float64)[:, None] ** [1, 2, 3]


def counting(calls):
    def compute(start, stop):
        calls.append((start, stop))
        return rows(start, stop)

    return compute


def ask(cache, compute, *, key=None, **knobs):
    return cache.rows(compute, N, name="cubes", key=key or {"power": 3}, shard=SHARD, **knobs)


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(tmp_path / "cache")


def shards(cache):
    return sorted(cache.folder.rglob("*.npy"))


def test_the_second_call_computes_nothing(cache):
    calls = []
    first = ask(cache, counting(calls))
    assert calls == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
    second = ask(cache, counting(calls))
    assert len(calls) == 5
    np.testing.assert_array_equal(first, rows(0, N))
    np.testing.assert_array_equal(second, first)


@pytest.mark.parametrize("shard", [1, 4, N, 100])
def test_shards_do_not_change_the_array(cache, shard):
    array = cache.rows(rows, N, name="cubes", key={}, shard=shard)
    np.testing.assert_array_equal(array, rows(0, N))


KEY = {"data": "a", "weights": "b", "transform": [224], "sketch": "srtt", "seed": 0, "code": "c"}


@pytest.mark.parametrize("field", KEY)
def test_every_field_of_the_key_matters(cache, field):
    calls = []
    ask(cache, counting(calls), key=KEY)
    ask(cache, counting(calls), key=KEY | {field: "other"})
    assert len(calls) == 10


def test_the_order_of_the_key_does_not_matter(cache):
    for key in (KEY, dict(reversed(KEY.items()))):
        ask(cache, rows, key=key)
    assert len(shards(cache)) == 5


def test_the_key_lies_beside_the_array(cache):
    ask(cache, rows, key=KEY)
    (path,) = cache.folder.rglob("key.json")
    assert json.loads(path.read_text()) == KEY | {"N": N, "shard": SHARD}


def test_an_interrupted_run_goes_on_with_the_first_missing_shard(cache):
    calls = []

    def interrupted(start, stop):
        if start == 10:
            raise KeyboardInterrupt
        return counting(calls)(start, stop)

    with pytest.raises(KeyboardInterrupt):
        ask(cache, interrupted)
    assert len(shards(cache)) == 2
    array = ask(cache, counting(calls))
    assert calls == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
    np.testing.assert_array_equal(array, rows(0, N))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_named_and_made_again(cache, share):
    ask(cache, rows)
    victim = shards(cache)[2]
    content = victim.read_bytes()
    victim.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"{victim.name} is damaged or cut short"):
        read_array(victim)
    calls = []
    with pytest.warns(RuntimeWarning, match=victim.name):
        array = ask(cache, counting(calls))
    assert calls == [(10, 15)]
    assert victim.read_bytes() == content
    np.testing.assert_array_equal(array, rows(0, N))


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_flipped_bit_is_seen(tmp_path, position):
    path = tmp_path / "a.npy"
    write_array(path, rows(0, N))
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy is damaged"):
        read_array(path)


def test_objects_are_never_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_array(tmp_path / "a.npy", np.array([{}], dtype=object))
    assert not list(tmp_path.iterdir())


def test_nothing_but_shards_and_key_is_left(cache):
    ask(cache, rows)
    assert {path.suffix for path in cache.folder.rglob("*") if path.is_file()} == {".npy", ".json"}


def test_progress_adds_up(cache):
    for _ in range(2):
        seen = []
        ask(cache, rows, report=seen.append)
        assert sum(seen) == N


@pytest.mark.parametrize("wrong", [np.zeros(()), np.zeros((3, 2))])
def test_a_wrong_number_of_rows_is_refused(cache, wrong):
    with pytest.raises(ValueError, match=r"compute\(0, 5\) must return 5 rows, got shape"):
        ask(cache, lambda start, stop: wrong)
    assert not shards(cache)


def worker(folder, log):
    def compute(start, stop):
        with open(log, "a") as file:
            file.write(f"{start}\n")
        time.sleep(0.02)
        return rows(start, stop)

    np.testing.assert_array_equal(ask(ArrayCache(folder), compute), rows(0, N))


def test_processes_share_the_work(tmp_path):
    """Three processes return the whole array, and no shard is made twice."""
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    team = [context.Process(target=worker, args=(tmp_path / "c", log)) for _ in range(3)]
    for process in team:
        process.start()
    for process in team:
        process.join(60)
    assert [process.exitcode for process in team] == [0, 0, 0]
    assert sorted(map(int, log.read_text().split())) == [0, 5, 10, 15, 20]


def stuck(folder, started):
    def compute(start, stop):
        started.set()
        time.sleep(60)

    ask(ArrayCache(folder), compute)


def test_a_killed_process_holds_nobody_up(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=stuck, args=(tmp_path / "c", started))
    process.start()
    assert started.wait(30)
    process.kill()
    process.join()
    np.testing.assert_array_equal(ask(ArrayCache(tmp_path / "c"), rows), rows(0, N))


def test_caches_go_where_they_are_told_and_else_to_the_users(monkeypatch, tmp_path):
    """Never into the installation: neither beside the package nor below the interpreter."""
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    monkeypatch.setenv("SKMM_CACHE", str(tmp_path / "setting"))
    assert cache_folder() == tmp_path / "setting"
    monkeypatch.delenv("SKMM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder().is_relative_to(tmp_path)
    assert cache_folder().name == "skmm"
