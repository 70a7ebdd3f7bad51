"""Seeds: every object that is drawn from one has a stream of its own, so no two share numbers."""

import ast
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

import skmm
import skmm_study
from skmm import SKETCHES, as_generator, select
from skmm.gradients.tensorsketch import TensorSketch
from skmm_study import gaussian_mixture, gram_error, load_digits_pool

FOLDERS = [Path(package.__file__).parent for package in (skmm, skmm_study)]


def calls(name):
    """Every call of ``name`` in library and study, with the module it is in."""
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    function = node.func
                    seen = getattr(function, "attr", getattr(function, "id", None))
                    if seen == name:
                        yield path.relative_to(folder.parent).as_posix(), node


NAMED = list(calls("as_generator"))
STREAMS = [node.args[1].value for _, node in NAMED]


def test_no_two_functions_share_a_stream():
    """Every call names its stream by a literal, and no name occurs twice."""
    for module, node in NAMED:
        assert isinstance(node.args[1], ast.Constant), f"{module}:{node.lineno}"
    assert len(set(STREAMS)) == len(STREAMS) >= 18


def test_seeds_become_generators_in_one_place():
    """But for two data sets whose definition is a plain generator: the paper's, a file's split."""
    direct = {module for module, _ in calls("default_rng")}
    data = {"skmm_study/pools/synthetic.py", "skmm_study/vision/faces.py"}
    assert direct == {"skmm/numerics/streams.py"} | data


def test_streams_of_a_seed_are_uncorrelated():
    """Of each pair, also with the plain generator of that seed and its children."""
    T = 4096
    plain = np.random.default_rng(3)
    generators = [as_generator(3, stream) for stream in STREAMS] + [plain, *plain.spawn(5)]
    draws = np.stack([rng.standard_normal(T) for rng in generators])
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 5.5 / np.sqrt(T)


DRAWN = {
    "gaussian": lambda seed: SKETCHES["gaussian"].draw(90, 20, rng=seed).matrix,
    "rademacher": lambda seed: SKETCHES["rademacher"].draw(90, 20, rng=seed).signs,
    "sparse-sign": lambda seed: SKETCHES["sparse-sign"].draw(1800, 20, rng=seed).signs,
    "srht": lambda seed: SKETCHES["srht"].draw(1800, 20, rng=seed).signs,
    "tensor": lambda seed: TensorSketch.draw((1800, 3), 20, rng=seed).row_signs,
    "centres": lambda seed: gaussian_mixture(20, 300, 6, rng=seed).centres,
    "mixture": lambda seed: gaussian_mixture(40, 60, 1, rng=seed).features[:30],
    "digits": lambda seed: load_digits_pool(rng=seed, test_share=0.01).labels[:1700],
    "select": lambda seed: select(np.ones((1800, 1)), 1800, method="uniform", rng=seed).indices,
    "sample": lambda seed: skmm.round_by_sampling(np.ones(1800), 1800, rng=seed),
}


@pytest.mark.parametrize(("one", "two"), [*itertools.combinations(DRAWN, 2)])
def test_objects_of_a_seed_are_uncorrelated(one, two):
    """The numbers of two objects, in the order they are drawn in, over five seeds."""
    for seed in range(5):
        a, b = (np.asarray(DRAWN[name](seed), float).ravel() for name in (one, two))
        size = min(len(a), len(b))
        assert size >= 1600
        assert abs(np.corrcoef(a[:size], b[:size])[0, 1]) < 5.5 / np.sqrt(size)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_a_map_keeps_the_mixture_of_its_seed(sketch):
    """The Gram error of a pool and a map of one seed is that of two seeds, within 5 deviations.

    The mean over T seeds of the squared error; its deviation is measured on pairs of two seeds. The
    map has as many columns as the pool has clusters: from the same numbers, it would span them.
    """
    T, m = 40, 8
    pools = [gaussian_mixture(60, 80, m, rng=seed).features for seed in range(T)]

    def errors(shift):
        maps = [SKETCHES[sketch].draw(80, m, rng=seed + shift) for seed in range(T)]
        pairs = zip(pools, maps, strict=True)
        return np.array([gram_error(G @ G.T, draw(G)) ** 2 for G, draw in pairs])

    same, other = errors(0), errors(1000)
    assert abs(same.mean() - other.mean()) < 5 * other.std() * np.sqrt(2 / T)


def test_generators_come_from_seeds_or_pass_through():
    """A seed names one generator a stream, whatever integer type it has."""
    generator = np.random.default_rng(3)
    assert as_generator(generator, "a") is generator
    draws = {float(as_generator(seed, "a").random()) for seed in (7, np.int64(7), np.uint8(7))}
    assert len(draws) == 1
    others = {float(as_generator(7, stream).random()) for stream in ("b", "aa", "")}
    assert len(others | draws) == 4


def test_streams_are_children_whose_key_is_a_hash_of_their_name():
    """The same on every machine, whatever its byte order and Python's own hash."""
    digits = int(hashlib.blake2b(b"select", digest_size=16).hexdigest(), 16)
    words = [int.from_bytes(digits.to_bytes(16)[i : i + 4], "little") for i in range(0, 16, 4)]
    expected = np.random.default_rng(np.random.SeedSequence(5, spawn_key=words))
    np.testing.assert_array_equal(as_generator(5, "select").random(4), expected.random(4))


@pytest.mark.parametrize("rng", [None, -1, 1.0, True, "7", np.random.RandomState(0)])
def test_other_sources_of_randomness_are_refused(rng):
    with pytest.raises(ValueError, match=r"non-negative int or a numpy\.random\.Generator"):
        as_generator(rng, "a")
