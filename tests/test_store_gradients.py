"""Gradients of a network into a store: the rows of the whole pool, whoever makes which shard."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import skmm
from skmm_scale.sketching import gradients, sketch_share
from skmm_scale.sketching.digests import digest_of
from skmm_scale.sketching.gradients import GradientSource
from skmm_scale.store import Store

N, M, SIZE = 60, 8, 25


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4)).double()


@pytest.fixture
def pool(rng):
    x = torch.from_numpy(rng.standard_normal((N, 7)))
    return TensorDataset(x, torch.from_numpy(rng.integers(0, 4, N)))


def made(folder, model, pool, *, share=(1, 1), **how):
    source = GradientSource(model, pool, m=M, rng=3, batch_size=8, precision="float64", **how)
    return sketch_share(source, folder, rows_per_shard=SIZE, dtype="float64", share=share)


@pytest.mark.parametrize("labels", ["random", "true", "pseudo", "fisher"])
@pytest.mark.parametrize("sketch", ["tensor", "gaussian"])
def test_rows_are_those_of_the_whole_pool(labels, sketch, model, pool, tmp_path, monkeypatch):
    """Map and random labels are one stream of the seed, wherever blocks and shards begin."""
    monkeypatch.setattr(gradients, "BLOCK_SAMPLES", 20)
    how = {"labels": labels, "sketch": sketch, "last": 2}
    made(tmp_path / "s", model, pool, **how)
    batches = [(x, y) for x, y in zip(*(t.split(60) for t in pool.tensors), strict=True)]
    whole = skmm.sketched_gradients(model, batches, m=M, rng=3, dtype="float64", **how)
    np.testing.assert_allclose(Store(tmp_path / "s")[:], whole, rtol=0, atol=1e-13)


def test_store_is_the_same_bytes_for_any_shares_and_threads(model, pool, tmp_path):
    made(tmp_path / "one", model, pool)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for i in (2, 1):
            made(tmp_path / "s", model, pool, share=(i, 2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "s" / path.name).read_bytes()


def test_manifest_names_weights_and_data(model, pool, tmp_path):
    """One weight, or one label, that differs shows."""
    one = made(tmp_path / "a", model, pool)
    with torch.no_grad():
        model[0].weight[2, 3] += 1e-9
    with pytest.raises(ValueError, match="weights"):
        made(tmp_path / "a", model, pool)
    two = made(tmp_path / "b", model, pool)
    assert one.recipe.weights != two.recipe.weights
    assert one.recipe.sketch == two.recipe.sketch
    pool.tensors[1][40] = (pool.tensors[1][40] + 1) % 4
    three = made(tmp_path / "c", model, pool)
    differ = [x.data_sha256 != y.data_sha256 for x, y in zip(two.shards, three.shards, strict=True)]
    assert differ == [False, True, False]


def test_one_row_a_class_is_refused(model, pool):
    with pytest.raises(ValueError, match="fisher-exact"):
        GradientSource(model, pool, m=M, rng=0, labels="fisher-exact")


def test_digest_is_of_names_kinds_shapes_and_bytes():
    """And of nothing else: not of where the numbers lie, nor of what was derived from a map."""
    x = torch.arange(6.0)
    told = [{"a": x}, {"b": x}, {"a": x.reshape(2, 3)}, {"a": x.double()}, {"a": x + 1}, [x]]
    told += [[x, x], {"a": x, "b": x}, {"a": {"b": x}}, {"a:1;b": x}, {"a": x[:0]}, {"a": x[3]}]
    told += [{"a": x.bfloat16()}, {"a": 3}, {"a": 3.0}, {"a": "3"}, {"a": None}]
    assert len(set(map(digest_of, told))) == len(told)
    assert digest_of({"a": x.reshape(3, 2).T}) == digest_of({"a": x.reshape(3, 2).T.contiguous()})
    sketch = skmm.SKETCHES["gaussian"].draw(9, 4, rng=0)
    before = digest_of(sketch)
    sketch(torch.ones(2, 9))
    assert digest_of(sketch) == before
    with pytest.raises(ValueError, match="object"):
        digest_of({"a": object()})
