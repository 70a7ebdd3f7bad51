"""Sentences as rows: the pooling by hand, batches that agree, files that are whole or refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import skmm
from skmm_study.pools.compact import restore
from skmm_study.pools.folder import shipped_folder
from skmm_study.storage.files import sha256
from skmm_study.text import compact
from skmm_study.text.compact import load_text_pool, write_text_pool
from skmm_study.text.encoder import block_inputs, embed, load_encoder
from skmm_study.text.queries import load_queries
from skmm_study.training.blocks import LAYERS, BlockTail
from skmm_study.training.finetuning import Recipe, pooled_inputs
from skmm_study.training.token_states import (
    FILE,
    KEPT,
    block_weights,
    load_banking77_states,
    write_banking77_states,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "where", "is", "my", "card", "lost"]
WORDS += ["help", "top", "up", "again", "##s", "?"]
SENTENCES = [
    "Where is my card?",
    "help",
    "is my card lost again and again and again, where is it?",
    "top up",
    "cards lost",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random BERT as it would lie in a folder: configuration, weights, vocabulary."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    shape = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        initializer_range=0.5,  # states of different tokens differ clearly
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(shape).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder, max_tokens=12)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """BANKING77 and CLINC150 in small, in the layout of their official files."""
    data = tmp_path_factory.mktemp("data")
    intents = ["top_up", "card_lost", "ask, politely"]
    write_banking(data, intents, {"train": 12, "test": 6})
    (data / "clinc150").mkdir()
    rows = {
        split: [[f"{'help ' * (1 + row // 3)}my card", intents[row % 3]] for row in range(size)]
        for split, size in {"train": 9, "test": 3, "val": 3}.items()
    }
    rows |= {"oos_train": [["where is up?", "oos"]], "oos_test": [["is up?", "oos"]]}
    (data / "clinc150" / "data_imbalanced.json").write_text(json.dumps(rows))
    return data


def write_banking(data, intents, sizes):
    (data / "banking77").mkdir()
    (data / "banking77" / "categories.json").write_text(json.dumps(intents))
    for split, size in sizes.items():
        with (data / "banking77" / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "category"])
            for row in range(size):
                text = f'my "card"{" is" * row}, top up\n{"lost" if row % 2 else "?"}'
                table.writerow([text, intents[row % len(intents)]])


@pytest.fixture
def copy_of(tmp_path):
    """Copies a folder or the files of a pool to where they may be damaged."""

    def copy(path):
        if path.is_dir():
            return Path(shutil.copytree(path, tmp_path / path.name))
        for suffix in (".npz", ".json"):
            shutil.copy(path.with_suffix(suffix), tmp_path)
        return tmp_path / path.name

    return copy


@pytest.fixture(scope="module")
def written(data, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "small.npz"
    return write_text_pool("banking77", data, out=out, encoder=encoder, step=0.02)


# The encoder


def test_rows_are_means_over_tokens_of_norm_one(encoder):
    """One sentence at a time has no padding: the plain mean of its states, over its norm."""
    rows = embed(SENTENCES, encoder, batch=len(SENTENCES))
    assert rows.dtype == np.float32
    assert rows.shape == (5, 16)
    for row, sentence in zip(rows, SENTENCES, strict=True):
        tokens = encoder.tokenizer.tokenize(sentence)[:10]  # and two special ones make twelve
        ids = encoder.tokenizer.convert_tokens_to_ids(["[CLS]", *tokens, "[SEP]"])
        with torch.no_grad():
            states = encoder.network(torch.tensor([ids])).last_hidden_state[0].double().numpy()
        mean = states.mean(0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_rows_are_distinct(encoder):
    """So that the laws below could fail: the random network tells sentences apart."""
    rows = embed(SENTENCES, encoder)
    assert np.abs(rows @ rows.T - np.eye(5)).max() < 0.999


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_rows_do_not_depend_on_the_batch(encoder, batch):
    """Padding carries no weight and rows come back in the order of the sentences."""
    order = [2, 0, 3, 1, 4]
    whole = embed(SENTENCES, encoder)
    permuted = embed([SENTENCES[row] for row in order], encoder, batch=batch)
    np.testing.assert_allclose(permuted, whole[order], atol=1e-6)


def test_a_sentence_is_cut_after_the_stated_number_of_tokens(encoder, folder):
    start = " ".join(["card"] * 10)  # with the two special tokens, twelve
    rows = embed([start, start + " lost", start + " lost help"], encoder)
    np.testing.assert_allclose(rows[1:], rows[[0, 0]], atol=1e-6)
    longer = embed([start, start + " lost"], load_encoder(folder, max_tokens=13))
    assert np.abs(longer[1] - longer[0]).max() > 1e-3


def test_no_sentence_gives_no_row(encoder):
    assert embed([], encoder).shape == (0, 16)


@pytest.mark.parametrize("bad", ["", " \n", None, 3])
def test_what_is_no_sentence_is_named(encoder, bad):
    with pytest.raises(ValueError, match=r"sentences\[1\] must be a string that is not blank"):
        embed(["help", bad], encoder)


@pytest.mark.parametrize("batch", [0, 2.5])
def test_a_bad_batch_is_refused(encoder, batch):
    with pytest.raises(ValueError, match="batch must be a whole number at least 1"):
        embed(SENTENCES, encoder, batch=batch)


@pytest.mark.parametrize("tokens", [2, 33])
def test_a_length_without_positions_is_refused(folder, tokens):
    with pytest.raises(ValueError, match=r"max_tokens must be a whole number in \[3, 32\]"):
        load_encoder(folder, max_tokens=tokens)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_missing_file_of_the_encoder_is_named(copy_of, folder, name):
    copy = copy_of(folder)
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match="pass the folder that holds an encoder's"):
        load_encoder(copy, max_tokens=12)


def test_weights_cut_short_are_refused(copy_of, folder):
    path = copy_of(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="does not load as an encoder"):
        load_encoder(path.parent, max_tokens=12)


def test_weights_that_lack_a_layer_are_refused(copy_of, folder):
    """The reader would draw them at random, with a warning."""
    from safetensors.torch import load_file, save_file

    path = copy_of(folder) / "model.safetensors"
    state = load_file(path)
    part = {key: value for key, value in state.items() if "layer.1." not in key}
    assert 0 < len(part) < len(state)
    save_file(part, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 16 weights of its network.*layer\.1\."):
        load_encoder(path.parent, max_tokens=12)


def test_the_encoder_knows_its_files(encoder, folder):
    assert encoder.weights_sha256 == sha256(folder / "model.safetensors")
    assert encoder.vocabulary_sha256 == sha256(folder / "vocab.txt")
    assert not any(weight.requires_grad for weight in encoder.network.parameters())


# The queries


def test_banking77_is_read_row_by_row(data):
    queries = load_queries("banking77", data)
    assert queries.class_names == ("top_up", "card_lost", "ask, politely")
    assert queries.pool[1] == 'my "card" is, top up\nlost'
    np.testing.assert_array_equal(queries.pool_labels, np.arange(12) % 3)
    np.testing.assert_array_equal(queries.test_labels, np.arange(6) % 3)
    assert queries.files["banking77/train.csv"] == sha256(data / "banking77" / "train.csv")


def test_clinc150_leaves_validation_and_unknown_intents_out(data):
    queries = load_queries("clinc150", data)
    assert queries.class_names == ("ask, politely", "card_lost", "top_up")
    assert (len(queries.pool), len(queries.test)) == (9, 3)
    names = [queries.class_names[label] for label in queries.pool_labels[:3]]
    assert names == ["top_up", "card_lost", "ask, politely"]


def test_the_setting_names_the_folder_of_the_queries(data, monkeypatch):
    monkeypatch.setenv("SKMM_DATA", str(data))
    assert len(load_queries("clinc150").pool) == 9


def test_unknown_queries_are_refused(data):
    with pytest.raises(ValueError, match="name must be one of banking77, clinc150, got 'trec'"):
        load_queries("trec", data)


@pytest.mark.parametrize("name", ["train.csv", "test.csv", "categories.json"])
def test_a_missing_file_is_named(copy_of, data, name):
    copy = copy_of(data)
    (copy / "banking77" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}; put a copy of the official one there"):
        load_queries("banking77", copy)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", "text,category\nhelp,top_up\n", "train.csv has no row of 2 of 3 intents"),
        ("train.csv", "text,category\nhelp,lunch\n", "row 0 must be a text and one of 3 intents"),
        ("train.csv", "text,category\n ,top_up\n", "row 0 must be a text and one of 3 intents"),
        ("train.csv", "query,intent\nhelp,top_up\n", "does not read as the official file"),
        ("categories.json", '["top_up", ', "does not read as the official file"),
    ],
)
def test_a_damaged_file_is_named(copy_of, data, name, content, message):
    copy = copy_of(data)
    (copy / "banking77" / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_queries("banking77", copy)


@pytest.mark.parametrize("content", ['{"train": []', '{"train": []}', '{"train": [["help"]]}'])
def test_damaged_queries_of_clinc150_are_named(copy_of, data, content):
    copy = copy_of(data)
    (copy / "clinc150" / "data_imbalanced.json").write_text(content)
    with pytest.raises(ValueError, match=r"data_imbalanced\.json does not read as the official"):
        load_queries("clinc150", copy)


# The compact pools


def test_what_is_read_is_what_was_embedded(written, data, encoder):
    """Rounding moves an entry by half a step, so a row by d; scaling to norm one by d again."""
    with np.load(written) as arrays:
        d = np.linalg.norm(arrays["steps"] / 2)
    pool = load_text_pool("banking77", written)
    queries = load_queries("banking77", data)
    assert pool.class_names == queries.class_names
    for part in ("pool", "test"):
        exact = embed(getattr(queries, part), encoder)
        np.testing.assert_array_equal(
            getattr(pool, f"{part}_labels"), getattr(queries, f"{part}_labels")
        )
        assert np.linalg.norm(getattr(pool, part) - exact, axis=1).max() <= 2 * d


def test_rounding_moves_rows_off_the_sphere_and_reading_puts_them_back(written):
    with np.load(written) as arrays:
        rounded = np.linalg.norm(restore(arrays["pool"], arrays["steps"]), axis=1)
    assert np.abs(rounded - 1).max() > 1e-4
    norms = np.linalg.norm(load_text_pool("banking77", written).pool.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1, atol=3e-7)


def test_an_encoder_of_other_weights_is_not_called_minilm(written):
    encoder = load_text_pool("banking77", written).provenance["encoder"]
    assert encoder["name"] == "unknown encoder"
    assert encoder["weights_sha256"] not in compact.KNOWN_ENCODERS


def test_the_stated_error_of_inner_products_is_that_of_the_gram_matrix(written, data, encoder):
    pool = load_text_pool("banking77", written)
    exact = embed(load_queries("banking77", data).pool, encoder).astype(np.float64)
    rows = pool.pool.astype(np.float64)
    error = np.linalg.norm(exact @ exact.T - rows @ rows.T) / np.linalg.norm(exact @ exact.T)
    (stated,) = pool.provenance["fidelity"]["compact"]
    assert stated["relative_error_gram"] == pytest.approx(error, abs=6e-5)
    assert error > 1e-3


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_pool_without_its_files_says_how_to_make_them(copy_of, written, suffix):
    path = copy_of(written)
    path.with_suffix(suffix).unlink()
    with pytest.raises(FileNotFoundError, match=r"python -m skmm_study\.text\.compact banking77"):
        load_text_pool("banking77", path)


def test_an_unknown_pool_is_refused():
    with pytest.raises(ValueError, match="name must be one of banking77, clinc150"):
        load_text_pool("trec")


@pytest.mark.parametrize(
    ("name", "sizes", "classes", "a_class", "accuracy", "terms"),
    [
        ("banking77", (10003, 3080), 77, (35, 187), 0.93, "CC BY 4.0"),
        ("clinc150", (10525, 4500), 150, (25, 100), 0.93, "CC BY 3.0"),
    ],
)
def test_the_shipped_pools(name, sizes, classes, a_class, accuracy, terms):
    pool = load_text_pool(name)
    path = shipped_folder() / compact.FILE.format(name)
    for part, labels, size in zip(
        (pool.pool, pool.test), (pool.pool_labels, pool.test_labels), sizes, strict=True
    ):
        assert part.shape == (size, 384)
        np.testing.assert_array_equal(np.unique(labels), np.arange(classes))
        np.testing.assert_allclose(np.linalg.norm(part.astype(np.float64), axis=1), 1, atol=3e-7)
    counts = np.bincount(pool.pool_labels)
    assert (counts.min(), counts.max()) == a_class
    assert len(pool.class_names) == classes
    assert pool.provenance["sha256"] == sha256(path)
    assert terms in pool.provenance["licence"]
    assert "all-MiniLM-L6-v2" in pool.title
    assert pool.provenance["encoder"]["weights_sha256"] in compact.KNOWN_ENCODERS
    fidelity = pool.provenance["fidelity"]
    (stated,) = fidelity["compact"]
    assert stated["relative_error_gram"] < 0.01
    assert fidelity["exact"]["accuracy"] > accuracy
    assert abs(stated["accuracy"] - fidelity["exact"]["accuracy"]) < 0.003
    assert path.stat().st_size < 6e6
    table = (shipped_folder() / "README.md").read_text()
    (line,) = [line for line in table.splitlines() if line.startswith(f"| `{path.name}`")]
    assert terms in line


# The last block as a tail


@pytest.fixture(scope="module")
def block(encoder):
    """What enters the last block for the sentences, padded by zeros, and the block as a tail."""
    ragged = block_inputs(SENTENCES, encoder, batch=2)
    states = np.zeros((len(ragged), 12, encoder.width), np.float32)
    for row, tokens in zip(states, ragged, strict=True):
        row[: len(tokens)] = tokens
    return states, BlockTail(block_weights(encoder), heads=2, classes=3, rng=0)


def test_block_on_its_inputs_is_the_encoder(block, encoder):
    """The library's own network, all its layers, against the tail on what enters the last."""
    means = pooled_inputs(block[1], block[0])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(means, embed(SENTENCES, encoder), atol=1e-6)


def test_training_leaves_the_arithmetic_of_padding_out_and_nothing_else(block):
    states, tail = torch.from_numpy(block[0]), block[1]
    assert (states == 0).all(2).any()  # there is padding
    torch.testing.assert_close(tail.folded(states), tail(states), rtol=1e-5, atol=1e-5)
    grads = [
        torch.autograd.grad(f(states).square().sum(), tail.query.weight)[0]
        for f in (tail.requires_grad_(True).folded, tail)
    ]
    tail.requires_grad_(False)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


def test_more_padding_changes_no_row(block):
    states, tail = torch.from_numpy(block[0]), block[1]
    wider = torch.nn.functional.pad(states, (0, 0, 0, 5))
    torch.testing.assert_close(tail(wider), tail(states), rtol=1e-5, atol=1e-5)


def test_last_layers_of_the_tail_are_the_block_s_in_the_order_of_the_data(block):
    tail = block[1]
    every = {name for name, _ in tail.named_parameters()}
    assert set(skmm.last_parameters(tail, len(LAYERS) + 1)) == every
    outer = {"outer.weight", "outer.bias", "second_norm.weight", "second_norm.bias"}
    assert set(skmm.last_parameters(tail, 2)) == outer | {"fc.weight", "fc.bias"}


def test_block_without_a_weight_or_with_odd_heads_is_refused(encoder):
    weights = block_weights(encoder)
    with pytest.raises(ValueError, match="heads must divide the width 16, got heads=3"):
        BlockTail(weights, heads=3, classes=3)
    del weights["outer.bias"]
    with pytest.raises(ValueError, match=r"weights must hold 'outer\.bias'"):
        BlockTail(weights, heads=2, classes=3)


@pytest.fixture(scope="module")
def states_file(data, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("states") / "small.npz"
    knobs = {"step": 0.05, "classes": 3, "recipe": Recipe(epochs=1)}
    return write_banking77_states(data, out=out, encoder=encoder, **knobs)


def test_states_that_are_read_are_those_that_enter_the_block(states_file, data, encoder):
    """Of each second query of the pool: off by rounding, zero beyond their tokens."""
    read, queries = load_banking77_states(states_file), load_queries("banking77", data)
    assert read.class_names == queries.class_names
    np.testing.assert_array_equal(read.pool_labels, queries.pool_labels[::2])
    exact = block_inputs(queries.pool[::2], encoder)
    assert len(read.pool) == len(exact)
    for row, tokens in zip(read.pool, exact, strict=True):
        assert not row[len(tokens) :].any()
        assert np.abs(row[: len(tokens)] - tokens).max() < 0.1  # half a step in 16 coordinates
    flat = np.concatenate(exact)
    real = np.concatenate([row[: len(one)] for row, one in zip(read.pool, exact, strict=True)])
    error = np.linalg.norm(real - flat) / np.linalg.norm(flat - flat.mean(0))
    stated = read.provenance["fidelity"]["relative_error_of_states"]
    assert stated == pytest.approx(error, abs=1e-4)


def test_weights_of_the_block_are_kept_to_a_level(states_file, encoder):
    exact, read = block_weights(encoder), load_banking77_states(states_file).weights
    assert exact.keys() == read.keys()
    for name, weight in exact.items():
        off = np.abs(weight - read[name]).max(-1)
        assert (off <= np.abs(weight).max(-1) / 254 * 1.001).all() if weight.ndim > 1 else not off


def test_the_shipped_states():
    """Small, of a rule that was fixed beforehand, and what rounding loses is stated."""
    read, path = load_banking77_states(), shipped_folder() / FILE
    assert (read.pool.shape, read.test.shape) == ((978, 24, 384), (600, 24, 384))
    names = load_text_pool("banking77").class_names
    assert read.class_names == tuple(names[77 * k // KEPT] for k in range(KEPT))
    for labels in (read.pool_labels, read.test_labels):
        np.testing.assert_array_equal(np.unique(labels), np.arange(KEPT))
    assert path.stat().st_size < 6e6
    assert read.provenance["encoder"]["weights_sha256"] in compact.KNOWN_ENCODERS
    assert "CC BY 4.0" in read.provenance["licence"]
    fidelity = read.provenance["fidelity"]
    assert fidelity["relative_error_of_inner_products"] < 0.02
    for way in ("probe", "finetuned"):
        exact, rounded = (fidelity[name][way]["accuracy"] for name in ("exact", "compact"))
        assert exact > 0.9
        assert abs(exact - rounded) < 0.01
    table = (shipped_folder() / "README.md").read_text()
    (line,) = [line for line in table.splitlines() if line.startswith(f"| `{path.name}`")]
    assert "CC BY 4.0" in line


def test_shipped_block_gives_the_shipped_embeddings():
    """Two files made apart, for the queries that no cut at 24 tokens shortens."""
    states, pool = load_banking77_states(), load_text_pool("banking77")
    kept = 77 * np.arange(KEPT) // KEPT
    rows = np.flatnonzero(np.isin(pool.pool_labels, kept))[::2][:64]
    whole = states.pool[:64, -1].any(1)
    means = pooled_inputs(states.tail(), states.pool[:64])
    cosines = (means * pool.pool[rows]).sum(1) / np.linalg.norm(means, axis=1)
    assert (~whole).sum() > 32
    assert cosines[~whole].min() > 0.98
