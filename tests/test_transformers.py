"""Language models: sketched rows against a slow loop, however texts are batched and padded."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch.utils.checkpoint import checkpoint
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.invariance import differences
from skmm.gradients.tokens import TokenBatches

M, CLASSES, WORDS = 24, 3, 40
LENGTHS = [5, 3, 9, 2, 7, 4, 6]

SIZES = dict(vocab_size=WORDS, pad_token_id=0, bos_token_id=1, eos_token_id=2)
BERT = dict(
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=32,
    **SIZES,
)
LLAMA = BERT | dict(num_key_value_heads=1)
GPT2 = dict(n_embd=12, n_layer=2, n_head=2, n_positions=32, **SIZES)


def built(kind, attention="sdpa", **options):
    """A tiny model with random weights in double precision, unlike 0 and 1 in its norms too."""
    classes = {
        "bert": (BertForMaskedLM, BertConfig(**BERT | options)),
        "classifier": (
            BertForSequenceClassification,
            BertConfig(**BERT | options, num_labels=CLASSES),
        ),
        "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA | options)),
        "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT2 | options)),
    }
    make, config = classes[kind]
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = make(config).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


LOSS = {
    "bert": "masked-lm",
    "classifier": "cross-entropy",
    "llama": "causal-lm",
    "gpt2": "causal-lm",
}
TIED = {"gpt2": "transformer.wte.weight", "bert": "bert.embeddings.word_embeddings.weight"}


@pytest.fixture(scope="module")
def texts():
    """Texts of several lengths; every label column a loss may ask for."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(3, WORDS, T).tolist() for T in LENGTHS]
    prompts = [[-100] * (T // 2) + text[T // 2 :] for T, text in zip(LENGTHS, ids, strict=True)]
    masked = [[-100, *text[1:]] for text in ids]
    return {
        "ids": ids,
        "causal-lm": prompts,
        "masked-lm": masked,
        "cross-entropy": [0, 2, 1, 1, 0, 2, 2],
    }


def columns(texts, loss):
    return {"input_ids": texts["ids"], "labels": texts[loss]}


def slow_losses(model, texts, loss):
    """The loss of each text on its own: no batch and no padding, so nothing to mask."""
    for ids, labels in zip(texts["ids"], texts[loss], strict=True):
        logits = model(torch.tensor([ids])).logits[0]
        if loss == "cross-entropy":
            yield F.cross_entropy(logits, torch.tensor(labels))
            continue
        y = torch.tensor(labels)
        if loss == "causal-lm":
            logits, y = logits[:-1], y[1:]
        p = logits.log_softmax(1)
        chosen = [-p[t, y[t]] for t in range(len(y)) if y[t] != -100]
        yield sum(chosen) / len(chosen)


def slow_rows(model, texts, loss, sketch):
    """Plain backpropagation, text by text, then the map: [N, m]."""
    own = dict(model.eval().named_parameters())
    rows, matrix = [], sketch.matrix()
    for value in slow_losses(model, texts, loss):
        grads = torch.autograd.grad(value, [own[k] for k in sketch.shapes], allow_unused=True)
        flat = [
            torch.zeros(shape).double().flatten() if g is None else g.flatten()
            for g, shape in zip(grads, sketch.shapes.values(), strict=True)
        ]
        rows.append(torch.cat(flat).numpy() @ matrix)
    return np.stack(rows)


def rows_of(model, texts, sketch, kind, tokens=20, **options):
    loss = LOSS[kind]
    batches = TokenBatches(columns(texts, loss), tokens, **options)
    labels = "true" if loss == "cross-entropy" else None
    return sketched_gradients(
        model, batches, sketch=sketch, loss=loss, labels=labels, rng=0, dtype="float64"
    )


def relative(rows, truth):
    return np.linalg.norm(rows - truth) / np.linalg.norm(truth)


def everything(model, kind="tensor"):
    names = [name for name, _ in model.named_parameters()]
    return GradientSketch.draw(model, M, sketch=kind, parameters=names, rng=1)


@pytest.mark.parametrize(
    ("kind", "map_kind"), [*((kind, "tensor") for kind in LOSS), ("llama", "gaussian")]
)
def test_rows_are_the_sketch_of_the_gradients(kind, map_kind, texts):
    """All parameters, in padded batches, against texts on their own; no layer needs a loop."""
    model = built(kind)
    sketch = everything(model, map_kind)
    truth = slow_rows(model, texts, LOSS[kind], sketch)
    assert relative(rows_of(model, texts, sketch, kind), truth) < 1e-6


# LLaMA's normalisation works in single precision whatever the model's.
SAME = {"bert": 1e-12, "classifier": 1e-12, "gpt2": 1e-12, "llama": 1e-6}


@pytest.mark.parametrize("kind", LOSS)
def test_rows_do_not_depend_on_how_texts_are_batched(kind, texts):
    """Batch sizes, padding on either side, more of it, the order, the way of attention."""
    model = built(kind)
    cached = getattr(model.config, "use_cache", None)
    sketch = everything(model)
    rows = rows_of(model, texts, sketch, kind)
    assert getattr(model.config, "use_cache", None) == cached
    own = dict(positions=kind != "llama")  # of absolute positions a text's first must be 0
    others = {
        "alone": rows_of(model, texts, sketch, kind, tokens=9),
        "together": rows_of(model, texts, sketch, kind, tokens=200),
        "eager": rows_of(built(kind, "eager"), texts, sketch, kind),
    }
    if kind != "classifier":  # it reads what stands first, be it padding
        others["left"] = rows_of(model, texts, sketch, kind, tokens=200, side="left", **own)
    turned = {name: column[::-1] for name, column in texts.items()}
    others["order"] = rows_of(model, turned, sketch, kind)[::-1]
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    others["checkpointing"] = rows_of(model, texts, sketch, kind)
    for name, other in others.items():
        assert relative(other, rows) < SAME[kind], name


def test_random_labels_go_with_the_text(texts):
    """Sorted by length or not, a text gets the label of its place in the pool."""
    model = built("classifier")
    sketch = GradientSketch.draw(model, M, last=1, rng=1)
    options = dict(sketch=sketch, rng=5, dtype="float64")
    batches = TokenBatches({"input_ids": texts["ids"]}, 20)
    rows = sketched_gradients(model, batches, **options)
    alone = [{"input_ids": torch.tensor([ids])} for ids in texts["ids"]]
    assert relative(sketched_gradients(model, alone, **options), rows) < 1e-12


def test_labels_may_come_beside_the_inputs_or_among_them(texts):
    model = built("classifier")
    y = torch.tensor(texts["cross-entropy"][:2])
    x = {"input_ids": torch.tensor([texts["ids"][2], texts["ids"][2][::-1]])}
    options = dict(m=M, last=1, labels="true", rng=0)
    beside = sketched_gradients(model, [(x, y)], **options)
    np.testing.assert_array_equal(sketched_gradients(model, [x | {"labels": y}], **options), beside)


def test_a_loss_of_ones_own_is_differentiated(texts):
    """The causal loss written by hand, with its sum in place of the mean."""

    def summed(outputs, batch):
        y = F.pad(batch["labels"][:, 1:], (0, 1), value=-100)
        each = F.cross_entropy(outputs.logits.transpose(1, 2), y, reduction="none")
        return each.sum(1)

    model = built("llama")
    sketch = GradientSketch.draw(model, M, last=3, rng=1)
    batches = TokenBatches(columns(texts, "causal-lm"), 20)
    own = sketched_gradients(model, batches, sketch=sketch, loss=summed, rng=0, dtype="float64")
    counts = [sum(y != -100 for y in labels[1:]) for labels in texts["causal-lm"]]
    means = rows_of(model, texts, sketch, "llama")
    assert relative(own, np.array(counts)[:, None] * means) < 1e-6


def test_a_causal_model_predicts_all_tokens_unless_told(texts):
    model = built("gpt2")
    sketch = GradientSketch.draw(model, M, last=2, rng=1)
    options = dict(sketch=sketch, loss="causal-lm", rng=0, dtype="float64")
    told = TokenBatches({"input_ids": texts["ids"], "labels": texts["ids"]}, 20)
    untold = TokenBatches({"input_ids": texts["ids"]}, 20)
    rows = sketched_gradients(model, told, **options)
    np.testing.assert_array_equal(sketched_gradients(model, untold, **options), rows)
    for labels in ({}, {"labels": texts["ids"]}):  # the first from nothing, nor from padding
        left = TokenBatches({"input_ids": texts["ids"]} | labels, 200, side="left", positions=True)
        assert relative(sketched_gradients(model, left, **options), rows) < 1e-12


def test_a_text_without_a_label_is_named(texts):
    labels = [*texts["causal-lm"]]
    labels[3] = [5, -100]  # of the first token nothing comes before
    batches = TokenBatches({"input_ids": texts["ids"], "labels": labels}, 20)
    with pytest.raises(ValueError, match="sample 3 has none: all are -100"):
        sketched_gradients(built("gpt2"), batches, m=M, loss="causal-lm", rng=0)


# The vocabulary


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_frozen_head_is_never_run_over_all_tokens(kind, texts, monkeypatch):
    """Logits are made for some tokens at a time, and the rows are those of all at once."""
    model = built(kind, tie_word_embeddings=False)
    name = {
        "bert": "bert.encoder.layer.1.*",
        "llama": "model.layers.1.*",
        "gpt2": "transformer.h.1.*",
    }
    sketch = GradientSketch.draw(model, M, parameters=[name[kind]], rng=1)
    truth = slow_rows(model, texts, LOSS[kind], sketch)
    monkeypatch.setattr("skmm.gradients.vocabulary._LOGITS", 3 * WORDS)
    largest = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda head, args, logits: largest.append(logits.shape[-1]))
    assert relative(rows_of(model, texts, sketch, kind), truth) < 1e-6
    after_the_plan = largest[2:]
    assert all(width < WORDS for width in after_the_plan)
    assert "forward" not in head.__dict__


def test_a_model_that_bends_its_logits_keeps_its_head(texts):
    """A bound on logits comes after the head: states alone would miss it."""

    class Bounded(LlamaForCausalLM):
        def forward(self, *args, **inputs):
            outputs = super().forward(*args, **inputs)
            outputs.logits = 2 * torch.tanh(outputs.logits / 2)
            return outputs

    torch.manual_seed(0)
    model = Bounded(LlamaConfig(**LLAMA)).double()
    sketch = GradientSketch.draw(model, M, parameters=["model.layers.1.*"], rng=1)
    with torch.no_grad():
        model.lm_head.weight.mul_(30)
    truth = slow_rows(model, texts, "causal-lm", sketch)
    assert relative(rows_of(model, texts, sketch, "llama"), truth) < 1e-6


# Parameters


@pytest.mark.parametrize(
    ("kind", "alias"), [("gpt2", "lm_head.weight"), ("bert", "cls.predictions.decoder.weight")]
)
def test_a_tied_weight_has_one_name(kind, alias):
    with pytest.raises(ValueError, match=f"{alias}.* is tied to '{TIED[kind]}'"):
        GradientSketch.draw(built(kind), M, parameters=[alias], rng=0)


@pytest.fixture
def adapted():
    """A model with adapters at two of its layers, as they are before training."""
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], lora_alpha=4)
    return get_peft_model(built("llama").float(), config).double()


def test_adapters_are_chosen_by_name(adapted, texts):
    sketch = GradientSketch.draw(adapted, M, parameters=["*.lora_?.*"], rng=1)
    assert len(sketch.shapes) == 2 * 2 * 2
    with pytest.warns(UserWarning, match="gradients of 4 adapters A are zero while their B is"):
        idle = rows_of(adapted, texts, sketch, "llama")
    assert relative(idle, slow_rows(adapted, texts, "causal-lm", sketch)) < 1e-6
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_()
    rows = rows_of(adapted, texts, sketch, "llama")
    assert relative(rows, slow_rows(adapted, texts, "causal-lm", sketch)) < 1e-6


def test_adapters_finer_than_their_model_need_no_loop(texts):
    """Adapters in single precision on weights in bfloat16, whose rounding their gradients have."""
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(built("llama").bfloat16(), config)
    assert {p.dtype for name, p in model.named_parameters() if "lora" in name} == {torch.float32}
    sketch = GradientSketch.draw(model, M, parameters=["*.lora_?.*"], rng=1)
    rows = rows_of(model, texts, sketch, "llama")
    truth = slow_rows(model.double(), texts, "causal-lm", sketch)
    assert 0 < relative(rows, truth) < 20 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("kind", LOSS)
def test_a_model_in_half_precision_has_rows_in_single(kind, texts):
    """They cost the bits of bfloat16, not the direction, and no layer falls back to a loop."""
    model = built(kind)
    sketch = everything(model)
    rows = rows_of(model, texts, sketch, kind)
    loss = LOSS[kind]
    half = sketched_gradients(
        model.bfloat16(),
        TokenBatches(columns(texts, loss), 20),
        sketch=sketch,
        loss=loss,
        labels="true",
        rng=0,
    )
    assert half.dtype == np.float32
    assert 0 < relative(half, rows) < 20 * torch.finfo(torch.bfloat16).eps


# Batches by tokens


def test_batches_hold_at_most_so_many_tokens_and_every_text_once(texts):
    batches = TokenBatches(columns(texts, "causal-lm"), 20)
    seen = [batch["input_ids"] for batch in batches]
    assert len(seen) == len(batches)
    assert all(ids.numel() <= 20 for ids in seen)
    widths = [ids.shape[1] for ids in seen]
    assert widths == sorted(widths, reverse=True)
    assert sorted(batches.order) == list(range(len(LENGTHS)))
    masks = [batch["attention_mask"] for batch in batches]
    held = [
        row[mask == 1].tolist()
        for x, y in zip(seen, masks, strict=True)
        for row, mask in zip(x, y, strict=True)
    ]
    assert held == [texts["ids"][i] for i in batches.order]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(tokens=8), "1 to 8 tokens, the most in a batch, got 9 at text 2"),
        (dict(tokens=0), "tokens=0"),
        (dict(side="middle"), "side must be one of"),
        (dict(columns={"ids": [[1]]}), "must hold input_ids, got ids"),
        (dict(columns={"input_ids": []}), "at least one text"),
        (dict(columns={"input_ids": [[1], []]}), "got 0 at text 1"),
        (dict(columns={"input_ids": [[1], [2]], "labels": [0]}), "2 entries each, got 1 labels"),
    ],
)
def test_bad_texts_are_named(changes, message, texts):
    options = dict(columns={"input_ids": texts["ids"]}, tokens=20) | changes
    with pytest.raises(ValueError, match=message):
        TokenBatches(options.pop("columns"), options.pop("tokens"), **options)


# Whether a model can be batched


def verdicts(model, kind):
    ids = [np.random.default_rng(T).integers(3, WORDS, T).tolist() for T in (9, 4, 13, 6)]
    labels = {"labels": ids} if kind == "bert" else {}
    found = differences(model, {"input_ids": ids} | labels, loss=LOSS[kind], rng=0)
    return {one.arrangement: one for one in found}


@pytest.mark.parametrize("kind", LOSS)
def test_a_model_is_told_what_it_depends_on(kind):
    """Positions count from the left but LLaMA's, and a classifier of BERT's kind reads the left."""
    model = built(kind)
    found = verdicts(model, kind)
    differ = {name for name, one in found.items() if not one.same}
    left, told = "batches padded on the left", "left, positions told"
    assert differ == {"llama": set(), "classifier": {left, told}}.get(kind, {left})
    assert all(bool(one.mend) != one.same for one in found.values())
    if differ:
        assert found[left].mend.startswith("pad on the right")
        assert ("positions=True" in found[left].mend) == (told not in differ)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_reads_its_padding_is_found():
    """It takes the mean over all positions: no side is right, more padding changes more."""

    class Mean(BertForSequenceClassification):
        def forward(self, input_ids, attention_mask=None):
            return self.classifier(self.bert(input_ids, attention_mask)[0].mean(1))

    torch.manual_seed(0)
    model = Mean(BertConfig(**BERT, num_labels=CLASSES)).double()
    model.bert.pooler = None
    found = verdicts(model, "classifier")
    assert {name for name, one in found.items() if one.same} == set()
    assert found["padded to twice the length"].mend.startswith("sketch texts of one length")


def test_a_model_without_room_for_padding_says_why():
    """Thirteen tokens fit into sixteen positions, twice as many do not."""
    found = verdicts(built("gpt2", n_positions=16), "gpt2")["padded to twice the length"]
    assert found.relative is None
    assert "one at a time; it says: " in found.mend


def test_a_model_without_a_token_for_padding_is_refused():
    """A classifier of GPT-2's kind takes no two texts then; its own words say so."""
    config = GPT2Config(**GPT2 | dict(pad_token_id=None), num_labels=CLASSES)
    with pytest.raises(ValueError, match="no padding token is defined"):
        verdicts(GPT2ForSequenceClassification(config), "classifier")
