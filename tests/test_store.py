"""The working store: its bytes do not tell who made it, when, or what happened meanwhile."""

import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import skmm
import skmm_scale
from skmm.selection.selectors import stratified
from skmm_cli.main import main
from skmm_scale.sketching import FeatureSource, sketch_shard, sketch_shards, sketch_share
from skmm_scale.store import Layout, Manifest, Store
from skmm_scale.store.building import Building
from skmm_scale.store.manifest import save_recipe
from skmm_scale.store.parquet import ParquetRows, write_parquet

LIB = Path(skmm_scale.__file__).parent.parent
N, R, M, SIZE = 230, 12, 5, 40
"""Six shards, the last of which is shorter."""


@pytest.fixture
def features(rng):
    return rng.standard_normal((N, R)).astype(np.float32)


@pytest.fixture
def names(rng):
    return np.array([f"img-{i}" for i in rng.permutation(N)])


def made(folder, features, *, ids=None, m=M, **how):
    """The store of some features, made by one process in one go."""
    sketch_share(FeatureSource(features, m=m, rng=3, ids=ids), folder, rows_per_shard=SIZE, **how)
    return folder


def content(folder):
    """All files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Which samples are where


@pytest.mark.parametrize(("pool", "size"), [(1, 1), (10, 3), (12, 4), (5, 100)])
def test_shards_part_the_pool_in_order(pool, size):
    layout = Layout(pool, size)
    cut = [i for number in range(len(layout)) for i in layout.samples(number)]
    assert cut == list(range(pool))
    assert all(len(layout.samples(number)) == size for number in range(len(layout) - 1))


@pytest.mark.parametrize("K", [1, 2, 4, 7])
def test_shares_part_the_shards(K):
    layout = Layout(N, SIZE)
    shares = [list(layout.share(i, K)) for i in range(1, K + 1)]
    assert sorted(itertools.chain(*shares)) == list(range(len(layout)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


# One array


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_store_is_indexed_as_the_array_of_all_shards(dtype, features, names, tmp_path, rng):
    """Slices within and across shards, steps, rows in any order and again, masks, nothing."""
    store = Store(made(tmp_path / "s", features, ids=names, dtype=dtype))
    parts = [np.load(path) for path in sorted((tmp_path / "s").glob("rows-*.npy"))]
    whole = np.concatenate(parts)
    assert len(parts) == 6
    assert (store.shape, store.ndim, store.dtype, len(store)) == ((N, M), 2, whole.dtype, N)
    cuts = [slice(None), slice(3, 9), slice(35, 170), slice(79, 81), slice(-9, None), slice(80, 80)]
    cuts += [slice(N, N + 5), slice(9, 3), slice(5, 200, 13), slice(None, None, -7), slice(0, N, N)]
    cuts += [rng.integers(-N, N, 90), np.array([], dtype=int), np.arange(N) % 3 == 0, [N - 1, 0]]
    for cut in cuts:
        assert np.array_equal(store[cut], whole[cut]), cut
        assert np.array_equal(store.ids(cut), names[cut]), cut
        assert type(store[cut]) is np.ndarray
    assert np.array_equal(store[:], whole)
    assert np.array_equal(pickle.loads(pickle.dumps(store))[:], whole)
    assert len(pickle.dumps(store)) < 500


@pytest.mark.parametrize("key", [[N], [-N - 1], 3, (0, 1), [[1]], [0.5], np.ones(3, bool), "a"])
def test_what_is_no_row_is_refused(key, features, tmp_path):
    store = Store(made(tmp_path / "s", features))
    with pytest.raises(IndexError):
        store[key]


def test_slice_of_one_shard_is_no_copy_and_cannot_be_written(features, tmp_path):
    store = Store(made(tmp_path / "s", features))
    assert np.shares_memory(store[2:30], store[0:40])
    with pytest.raises(ValueError, match="read-only"):
        store[2:30][0, 0] = 1.0


@pytest.mark.parametrize("criterion", ["auto", "full"])
def test_subset_does_not_depend_on_shards(criterion, rng, tmp_path, monkeypatch):
    """To the last bit of the objective: of a pool in cells, or matched as a whole."""
    for name, value in {"MOST": 200, "_LEAST": 60, "_MOST": 120, "_PAIRS": 90_000}.items():
        monkeypatch.setattr(stratified, name, value)
    rows = rng.standard_normal((900, 8), dtype=np.float32)
    expected = skmm.select(rows, 50, rng=0, criterion=criterion)
    for size in (900, 450, 225, 37):
        sketch_share(FeatureSource(rows, rng=0), tmp_path / f"{size}", rows_per_shard=size)
        chosen = skmm.select(Store(tmp_path / f"{size}"), 50, rng=0, criterion=criterion)
        assert np.array_equal(chosen.indices, expected.indices)
        assert chosen.objective == expected.objective


# What rows are


@pytest.mark.parametrize("sketch", skmm.SKETCHES)
def test_rows_are_those_that_select_looks_at(sketch, features, tmp_path):
    """The map is that of the same seed: the certificate of a subset is the same in both."""
    source = FeatureSource(features, m=M, sketch=sketch, rng=3)
    sketch_share(source, tmp_path / "s", rows_per_shard=SIZE)
    view = skmm.PoolView.of(features, m=M, sketch=sketch, rng=3)
    np.testing.assert_allclose(Store(tmp_path / "s")[:], view.rows, rtol=0, atol=2e-6)


def test_stores_of_one_map_have_one_key(features, tmp_path):
    """Whatever the precision on disk, and the shards; another seed, size or kind is another."""

    def key(name, dtype="float32", **how):
        source = FeatureSource(features, **{"m": M, "rng": 3, **how})
        return sketch_share(source, tmp_path / name, dtype=dtype).recipe.sketch["key"]

    one = key("a")
    assert key("b", dtype="float16") == one
    assert len({one, key("c", rng=4), key("d", m=M + 1), key("e", sketch="srht")}) == 4


def test_digest_of_the_data_is_of_their_bytes(features, tmp_path):
    """One bit of one row shows, in the shard that it is in and in no other."""
    other = features.copy()
    other[100, 3] = np.nextafter(other[100, 3], 9.0)
    one, two = (
        Manifest.load(made(tmp_path / name, rows)) for name, rows in (("a", features), ("b", other))
    )
    differ = [a.data_sha256 != b.data_sha256 for a, b in zip(one.shards, two.shards, strict=True)]
    assert differ == [number == 100 // SIZE for number in range(6)]
    assert one.data_sha256 != two.data_sha256


# The same bytes


@pytest.mark.parametrize("K", [1, 2, 4])
def test_store_is_the_same_bytes_for_any_number_of_shares(K, features, names, tmp_path):
    expected = content(made(tmp_path / "one", features, ids=names))
    source = FeatureSource(features, m=M, rng=3, ids=names)
    for i in [2, 4, 1, 3][-K:] if K == 4 else range(K, 0, -1):
        manifest = sketch_share(source, tmp_path / "s", rows_per_shard=SIZE, share=(i, K))
        last = len(list((tmp_path / "s").glob("rows-*.npy"))) == 6
        assert (manifest is not None) == last
    assert content(tmp_path / "s") == expected
    assert sorted(expected)[0] == "ids-00000.npy"
    assert len(expected) == 13


def halting(line):
    """Lets this process wait for leave before whatever makes something durable or removes it."""

    def halting_before(real):
        def call(*words):
            line.send_bytes(b".")
            line.recv_bytes()
            return real(*words)

        return call

    os.fsync, os.replace, os.unlink = map(halting_before, (os.fsync, os.replace, os.unlink))


def work(line, source, folder):
    halting(line)
    sketch_share(source, folder, rows_per_shard=10)


def test_store_is_the_same_bytes_after_twenty_kills(features, tmp_path, rng):
    """At random steps, or a moment after them, and never at the end; the next one goes on."""
    source, folder = FeatureSource(features, m=M, rng=3), tmp_path / "s"
    sketch_share(source, tmp_path / "one", rows_per_shard=10)
    processes, kills, finishing = multiprocessing.get_context("fork"), 0, 0
    while True:
        finished = (folder / "manifest.json").exists()
        finishing += finished
        line, other = processes.Pipe()
        process = processes.Process(target=work, args=(other, source, folder))
        process.start()
        other.close()
        try:
            for _ in range(rng.integers(30 if finished else 25)):
                line.recv_bytes()
                line.send_bytes(b".")
            line.recv_bytes()  # it is under way, and waits
            if rng.random() < 0.5:
                line.send_bytes(b".")
                time.sleep(rng.uniform(0, 1e-3))
        except EOFError:
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    process.join()
    assert process.exitcode == 0
    assert kills >= 20
    assert finishing >= 2  # of them while what stood for the manifest was removed
    assert content(folder) == content(tmp_path / "one")


def test_no_file_is_ever_seen_half_written(features, tmp_path, monkeypatch):
    """Whenever a name appears, the file under it is what it will be."""
    expected = content(made(tmp_path / "one", features))
    seen = []
    real = os.replace

    def replace(draft, path):
        seen.append(path.name)
        assert path.name not in expected or Path(draft).read_bytes() == expected[path.name]
        real(draft, path)

    monkeypatch.setattr(os, "replace", replace)
    made(tmp_path / "s", features)
    assert set(expected) <= set(seen)


# Mending


def lose(path):
    path.unlink()


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    """Changes one bit, and not the size."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["rows-00002.npy", "ids-00005.npy"])
@pytest.mark.parametrize("harm", [lose, shorten, flip])
@pytest.mark.parametrize("finished", [True, False])
def test_broken_shard_is_found_and_made_again(harm, name, finished, features, tmp_path):
    expected = content(made(tmp_path / "one", features))
    folder = tmp_path / "s"
    if finished:
        made(folder, features)
    else:
        assert sketch_share(
            FeatureSource(features, m=M, rng=3), folder, rows_per_shard=SIZE, share=(1, 1)
        )
        for number, shard in enumerate(Manifest.load(folder).shards):
            shard.save(folder / f"shard-{number:05d}.json")
        source = FeatureSource(features, m=M, rng=3)
        (folder / "manifest.json").unlink()
        save_recipe(source.recipe(dtype="float32", rows_per_shard=SIZE), folder)
    harm(folder / name)
    if finished:
        with pytest.raises(ValueError, match=r"1 of 6 shards .*rows-0000[25].*again"):
            Store(folder).verify()
        if harm is flip:
            Store(folder)  # sizes alone do not tell
    made(folder, features, digests=harm is flip)
    assert content(folder) == expected
    Store(folder).verify()


def test_other_data_are_noticed(features, tmp_path):
    """Where the fingerprint looks at once; elsewhere when a shard is made again."""
    made(tmp_path / "s", features)
    before = content(tmp_path / "s")
    with pytest.raises(ValueError, match="fingerprint"):
        made(tmp_path / "s", features + 1)
    for what, match in {"m": "holds a store with", "dtype": "dtype 'float32', not"}.items():
        with pytest.raises(ValueError, match=match):
            made(tmp_path / "s", features, **{what: {"m": 4, "dtype": "float64"}[what]})
    source = FeatureSource(features, m=M, rng=3)
    building = Building(tmp_path / "s", source.recipe(dtype="float32", rows_per_shard=SIZE))
    other = FeatureSource(features * 2, m=M, rng=3)
    lose(tmp_path / "s" / "rows-00001.npy")
    with pytest.raises(ValueError, match="comes out otherwise"):
        sketch_shard(other, building, 1)
    made(tmp_path / "s", features)
    assert content(tmp_path / "s") == before


def test_refused_rows_leave_nothing_and_take_nothing_away(features, tmp_path):
    """Not the shards that were made before the bad one, but those of an earlier run stay."""
    bad = features.copy()
    bad[150, 2] = np.nan
    source = FeatureSource(bad, m=M, rng=3)
    with pytest.raises(ValueError, match="got nan at row 150, column 2"):
        made(tmp_path / "s", bad)
    assert not (tmp_path / "s").exists()
    assert sketch_share(source, tmp_path / "s", rows_per_shard=SIZE, share=(1, 6)) is None
    kept = content(tmp_path / "s")
    with pytest.raises(ValueError, match="row 150"):
        made(tmp_path / "s", bad)
    assert content(tmp_path / "s") == kept


def test_full_disk_keeps_what_is_whole(features, tmp_path, monkeypatch):
    real, left = os.fsync, [12]

    def fsync(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        made(tmp_path / "s", features)
    assert (tmp_path / "s" / "shard-00000.json").exists()
    assert not list((tmp_path / "s").glob(".*"))
    monkeypatch.undo()
    made(tmp_path / "s", features)
    assert content(tmp_path / "s") == content(made(tmp_path / "one", features))


# Exchange


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("named", [True, False])
def test_parquet_there_and_back_is_the_same_bits(dtype, named, features, names, tmp_path):
    store = Store(made(tmp_path / "s", features, ids=names if named else None, dtype=dtype))
    write_parquet(store, tmp_path / "a.parquet")
    rows = ParquetRows(tmp_path / "a.parquet")
    ids = parquet.read_table(tmp_path / "a.parquet")["id"].to_numpy()
    source = FeatureSource(rows, rng=3, ids=ids, note=rows.note)
    manifest = sketch_share(source, tmp_path / "t", rows_per_shard=SIZE, dtype=dtype)
    back = content(tmp_path / "t")
    before = content(tmp_path / "s")
    assert {n: b for n, b in back.items() if n.startswith("rows")} == {
        n: b for n, b in before.items() if n.startswith("rows")
    }
    assert np.array_equal(Store(tmp_path / "t").ids(), store.ids())
    assert manifest.recipe.sketch["from"]["sketch"] == store.manifest.recipe.sketch


def test_parquet_holds_plain_uncompressed_columns(features, tmp_path):
    """Which other readers know: no type of an extension, no dictionary."""
    write_parquet(Store(made(tmp_path / "s", features)), tmp_path / "a.parquet")
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    assert str(file.schema_arrow.field("rows").type) == f"fixed_size_list<element: float>[{M}]"
    assert str(file.schema_arrow.field("id").type) == "int64"
    chunks = [file.metadata.row_group(0).column(j) for j in range(2)]
    assert {chunk.compression for chunk in chunks} == {"UNCOMPRESSED"}
    assert not any(chunk.has_dictionary_page for chunk in chunks)


@pytest.mark.parametrize("group", [7, 50, 1000])
@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_is_read_by_slices_in_any_order(group, fixed, features, tmp_path, monkeypatch, rng):
    """Those that follow one another, those that leave rows out, and those that go back."""
    kind = pa.list_(pa.float32(), R) if fixed else pa.list_(pa.float32())
    table = pa.table({"x": pa.array(list(features), kind)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=group)
    monkeypatch.setattr("skmm_scale.store.parquet._BATCH_BYTES", 4 * R * 9)
    rows = ParquetRows(tmp_path / "a.parquet", "x")
    assert rows.shape == (N, R)
    ends = [(0, 10), (10, 60), (60, 60), (70, 90), (3, 200), (229, 230), (0, N)]
    for start, stop in [*ends, *np.sort(rng.integers(0, N, (9, 2)), axis=1).tolist()]:
        assert np.array_equal(rows[start:stop], features[start:stop])


# From a shell


@pytest.fixture
def pool(features, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = pa.list_(pa.float32(), R)
    table = pa.table({"id": names, "x": pa.array(list(features), kind), "y": np.arange(N)})
    parquet.write_table(table, "pool.parquet", row_group_size=50)
    np.savez("pool.npz", x=features, id=names)
    np.save("pool.npy", features)
    return features


def done(*words):
    assert main([str(word) for word in words]) == 0


@pytest.mark.parametrize("name", ["pool.npy", "pool.npz", "pool.parquet"])
def test_shell_makes_the_store_of_the_functions(name, pool, names, capsys):
    """In one go or by shares, from any format, with the names if there are any."""
    ids = None if name == "pool.npy" else names
    made(Path("expected"), pool, ids=ids)
    options = ["-m", M, "--seed", 3, "--rows-per-shard", SIZE]
    done("sketch", name, "--into", "s", *options)
    assert content(Path("s")) == content(Path("expected"))
    assert "6 of 6 shards" in capsys.readouterr().err
    for i in (2, 1):
        done("sketch", name, "--into", "t", *options, "--shard", f"{i}/2")
    assert "still missing" in capsys.readouterr().out
    assert content(Path("t")) == content(Path("expected"))
    done("sketch", name, "--into", "s", *options, "-q")  # there is nothing left to do
    assert capsys.readouterr().err == ""


def test_shell_finishes_what_jobs_made(pool):
    """The last job may have been killed when all shards were there."""
    made(Path("s"), pool)
    expected = content(Path("s"))
    source = FeatureSource(pool, m=M, rng=3)
    building = Building(Path("t"), source.recipe(dtype="float32", rows_per_shard=SIZE))
    with building.begun() as made_there:
        sketch_shards(source, building, range(6), made_there)
    with pytest.raises(ValueError, match="not finished"):
        Store("t")
    done("sketch", "--finish", "--into", "t")
    assert content(Path("t")) == expected


def test_shell_selects_from_a_store_as_from_its_features(pool, names):
    done("sketch", "pool.npz", "--into", "s", "-m", M, "--rows-per-shard", SIZE)
    done("select", "s", "-n", 9, "-o", "one.csv")
    done("select", "pool.npz", "-n", 9, "-m", M, "-o", "two.csv")
    assert Path("one.csv").read_text() == Path("two.csv").read_text()
    assert Path("one.csv").read_text().startswith("index,id\n")


def choose(line, words):
    """Selects, and waits for leave before the subset gets its name."""

    def halt(*_):
        line.recv_bytes()

    line.send_bytes(b".")
    os.replace = halt
    main(words)


def test_selection_is_the_same_after_twenty_kills(pool, rng):
    """At random moments, none after its end: no output appears, and the store is untouched."""
    made(Path("s"), pool)
    before = content(Path("s"))
    words = ["select", "s", "-n", "12", "-o", "out.csv", "-q"]
    begin = time.perf_counter()
    done(*words[:5], "expected.csv", "-q")
    elapsed = time.perf_counter() - begin
    processes = multiprocessing.get_context("fork")
    for _ in range(20):
        line, other = processes.Pipe()
        process = processes.Process(target=choose, args=(other, words))
        process.start()
        line.recv_bytes()
        time.sleep(rng.uniform(0, elapsed))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not Path("out.csv").exists()
    done(*words)
    assert content(Path("s")) == before
    assert Path("out.csv").read_text() == Path("expected.csv").read_text()


def test_shell_exports_and_sketches_a_store_further(pool, capsys):
    done("sketch", "pool.parquet", "--into", "s", "--dtype", "float16")
    done("export", "s", "-o", "s.parquet")
    assert "takes about" in capsys.readouterr().err
    done("sketch", "s.parquet", "--into", "t", "--dtype", "float16")
    assert np.array_equal(Store("s")[:], Store("t")[:])
    assert np.array_equal(Store("s").ids(), Store("t").ids())
    done("sketch", "s", "--into", "u", "-m", M)
    assert Store("u").shape == (N, M)
    assert Store("u").manifest.recipe.sketch["from"]["sketch"]["kind"] == "none"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_pages_that_were_read_do_not_stay_in_memory(tmp_path):
    """Neither of the features while they are sketched, nor of a store that is scanned."""

    def mapped():
        return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGESIZE")

    rows = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (60_000, 100))
    del rows
    rows = np.load(tmp_path / "a.npy", mmap_mode="r")
    before = mapped()
    sketch_share(FeatureSource(rows, rng=0), tmp_path / "s", rows_per_shard=15_000)
    store = Store(tmp_path / "s")
    for start in range(0, len(store), 1000):
        assert not store[start : start + 1000].any()
        assert not store[np.arange(start, start + 1000, 7)].any()
    assert store.nbytes == rows.nbytes == 24_000_000
    assert mapped() - before < 9e6  # a shard is 6 MB


def test_forecast_holds(tmp_path, rng):
    """Memory that was announced after the first block is what the last one has; space is exact."""
    program = """if True:
    import json, resource, sys
    import numpy as np
    from pathlib import Path
    from skmm_scale.sketching import FeatureSource, sketch_share
    from skmm_scale.sketching.forecast import foresee
    from skmm_scale.store.building import Building
    rows = np.load(sys.argv[1], mmap_mode="r")
    source = FeatureSource(rows, m=64, rng=0)
    recipe = source.recipe(dtype="float32", rows_per_shard=4096)
    building = Building(Path(sys.argv[2]), recipe)
    with building.begun() as made:
        told = foresee(source, building, range(len(recipe.layout)))
    sketch_share(source, building.path, rows_per_shard=4096)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([told.memory, peak * (1 if sys.platform == "darwin" else 1024), told.space]))
    """
    np.save(tmp_path / "a.npy", rng.standard_normal((30_000, 400), dtype=np.float32))
    words = [sys.executable, "-c", program, str(tmp_path / "a.npy"), str(tmp_path / "s")]
    env = os.environ | {"PYTHONPATH": str(LIB)}
    run = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    memory, peak, space = json.loads(run.stdout)
    assert abs(peak - memory) < 0.2 * memory
    assert peak - memory < 24e6  # the features are 48 MB: they were never held together
    assert space == Store(tmp_path / "s").nbytes
