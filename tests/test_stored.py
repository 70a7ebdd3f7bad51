"""Rows out of core: the same pool, read block by block."""

import numpy as np
import pytest

import skmm
from skmm.numerics import stored
from skmm.numerics.inputs import check_pool, to_array
from skmm.numerics.range import to_range
from skmm.numerics.stored import StoredRows, is_stored, scan
from skmm.spectrum import Spectrum


class Shards:
    """A store of rows in several arrays, as a folder of files would be, that counts its reads."""

    ndim = 2

    def __init__(self, rows, count):
        self.parts = np.array_split(rows, count)
        self.starts = np.cumsum([0, *map(len, self.parts)])
        self.shape, self.dtype, self.most = rows.shape, rows.dtype, 0

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        assert (np.diff(rows) > 0).all()  # in the order of the disk
        self.most = max(self.most, len(rows))
        shard = np.searchsorted(self.starts, rows, side="right") - 1
        own = zip(shard, rows, strict=True)
        return np.array([self.parts[s][row - self.starts[s]] for s, row in own])

    def __len__(self):
        return self.shape[0]


@pytest.fixture
def rows(rng):
    return (rng.standard_normal((500, 12)) * np.geomspace(2, 0.2, 12)).astype(np.float32)


@pytest.fixture
def mapped(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stored, "_SCANNED", 700)
    monkeypatch.setattr(stored, "_WINDOW", 60 * 12 * 4)
    monkeypatch.setattr("skmm.spectrum._BLOCK", 1000)


def test_what_stays_out_of_core(rows, mapped):
    assert is_stored(mapped)
    assert is_stored(Shards(rows, 2))
    assert not any(map(is_stored, (rows, rows.tolist(), None, 3.0)))
    assert isinstance(check_pool(mapped), StoredRows)


@pytest.mark.parametrize("at", [slice(20, 300), slice(None), np.array([400, 3, 77, 3])])
def test_rows_are_those_of_the_array(rows, mapped, at):
    for pool in (mapped, Shards(rows, 3)):
        if isinstance(at, np.ndarray) and isinstance(pool, Shards):
            at = np.array([400, 3, 77])
        np.testing.assert_array_equal(check_pool(pool)[at], rows[at])


def test_part_is_a_pool_of_its_own(rows, mapped):
    some = np.array([7, 100, 301, 499])
    part = check_pool(mapped).part(some)
    assert part.shape == (4, 12)
    np.testing.assert_array_equal(part.part(np.array([1, 3])).whole(), rows[[100, 499]])


def test_spectrum_is_bit_equal_for_any_number_of_shards(rows):
    """And to that of the same array in single precision, which is summed over the same blocks."""
    whole = Spectrum.of(rows)
    for count in (1, 3, 7):
        found = Spectrum.of(check_pool(Shards(rows, count)))
        np.testing.assert_array_equal(found.eigenvalues, whole.eigenvalues)
        np.testing.assert_array_equal(found.eigenvectors, whole.eigenvectors)


def test_no_more_than_a_block_is_read_at_once(rows):
    pool = Shards(rows, 3)
    skmm.select(pool, 20, rng=0, m=6)
    assert pool.most <= max(stored._SCANNED // 12, stored._WINDOW // 48)


def test_scattered_rows_are_gathered_window_by_window(rows):
    """In the order that they are asked for; of a window, and of none between two, at once."""
    pool = Shards(rows, 3)
    at = np.array([499, 3, 60, 59, 3, 0, 250])
    np.testing.assert_array_equal(StoredRows(pool)[np.unique(at)], rows[np.unique(at)])
    assert pool.most == 3  # 0, 3 and 59 are of the first 60 rows
    np.testing.assert_array_equal(StoredRows(rows)[at], rows[at])
    assert StoredRows(rows)[at[:0]].shape == (0, 12)


@pytest.mark.parametrize("criterion", ["auto", "balanced", "diagonal", "full", "v-optimal"])
@pytest.mark.parametrize("m", [None, 8])
def test_subset_is_that_of_the_array(rows, mapped, criterion, m):
    chosen = [
        skmm.select(pool, 30, rng=1, criterion=criterion, m=m)
        for pool in (rows, mapped, Shards(rows, 4))
    ]
    for other in chosen[1:]:
        np.testing.assert_array_equal(other.indices, chosen[0].indices)
        assert other.certificate.slack == pytest.approx(chosen[0].certificate.slack, rel=1e-9)


@pytest.mark.parametrize("sketch", skmm.SKETCHES)
def test_sketch_is_that_of_the_array_to_the_last_bit(rows, mapped, sketch):
    """In single precision, where the kernel of a product shows in the seventh digit."""
    views = [skmm.PoolView.of(pool, m=8, rng=1, sketch=sketch) for pool in (rows, mapped)]
    np.testing.assert_array_equal(*[view.rows for view in views])


@pytest.mark.parametrize("method", [name for name, one in skmm.SELECTORS.items() if not one.needs])
def test_other_methods_take_all_rows(rows, mapped, method):
    if method == "kernel_thinning":
        pytest.importorskip("goodpoints")
    same = (skmm.select(pool, 9, method=method, rng=0).indices for pool in (rows, mapped))
    np.testing.assert_array_equal(*same)


def test_half_precision_is_read_as_single(rows):
    half = rows.astype(np.float16)
    read = check_pool(Shards(half, 2))
    assert read.dtype == np.float32
    one, other = (skmm.select(pool, 20, rng=0).indices for pool in (Shards(half, 2), half))
    np.testing.assert_array_equal(one, other)


def test_first_bad_entry_is_named(rows):
    rows[431, 5], rows[450, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"got nan at row 431, column 5 \(2 such entries\)"):
        skmm.select(Shards(rows, 3), 5, rng=0)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_an_empty_store_is_refused(shape):
    with pytest.raises(ValueError, match="features is empty"):
        skmm.select(Shards(np.zeros(shape), 1), 1, rng=0)


def test_extreme_rows_come_into_range(rows):
    far = to_range(check_pool(Shards(rows.astype(float) * 2.0**200, 2)))
    same = to_range(rows.astype(float) * 2.0**200)
    np.testing.assert_array_equal(to_array(far), same)


def test_a_sketch_that_does_not_fit_is_refused(rows, mapped, monkeypatch):
    monkeypatch.setattr("skmm.selection.selectors.base._SKETCH", 500 * 4 * 4)
    assert skmm.select(mapped, 5, rng=0, m=4).m == 4
    with pytest.raises(ValueError, match=r"m must be at most 4 for 500 rows.*got m=6.*skmm sketch"):
        skmm.select(mapped, 5, rng=0, m=6)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_pages_are_given_back_unless_changes_would_be_lost(rows, tmp_path, mode):
    np.save(tmp_path / "rows.npy", rows)
    pool = np.load(tmp_path / "rows.npy", mmap_mode=mode)
    if mode != "r":
        pool[5] = 1.0
    before = np.array(pool)
    for _ in scan(check_pool(pool)):
        pass
    np.testing.assert_array_equal(pool, before)
