"""The cost model counts what is counted when the model runs, and reads what configurations say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from skmm import GradientSketch, sketched_gradients
from skmm_cli.main import main
from skmm_scale.costs import (
    PRESETS,
    Architecture,
    GradientCost,
    Rates,
    Stage,
    Target,
    cost,
    selection_stages,
    stored_bytes,
)

# What peft asks of the newest transformers goes by a name of before.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

T, m = 12, 16
DEVICE = {"peak": 1e15, "utilisation": 0.4, "bandwidth": 3e12}
NAMES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}
NAMES |= {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def llama(layers=2, groups=2, width=32):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=groups,
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config), config


def adapted(model, names, rank):
    torch.manual_seed(1)
    targets = [NAMES[name] for name in names]
    model = get_peft_model(model, LoraConfig(r=rank, target_modules=targets))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    return model


def counted(model, sketch, samples):
    """Operations of products of matrices while so many samples are sketched, one a batch."""
    ids = torch.randint(0, 50, (samples, T), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        sketched_gradients(
            model, [{"input_ids": x} for x in ids.split(1)], sketch=sketch, loss="causal-lm", rng=0
        )
    return counter.get_total_flops()


def of_a_sample(model, sketch):
    """The plan is made once: what another batch adds is what a sample costs."""
    return counted(model, sketch, 2) - counted(model, sketch, 1)


@pytest.mark.parametrize(("blocks", "groups"), [(1, 2), (2, 1)])
def test_last_blocks_cost_what_a_counter_counts(blocks, groups):
    model, config = llama(groups=groups)
    one = GradientCost(Architecture.of(config.to_dict()), T, m, target=Target(blocks))
    names = [f"model.layers.{i}.*" for i in range(2 - blocks, 2)]
    sketch = GradientSketch.draw(model, m, parameters=names, rng=0)
    assert sketch.r == one.r
    assert of_a_sample(model, sketch) == one.flops + one.products


@pytest.mark.parametrize("names", [("q", "v"), ("k", "o"), ("up", "down")])
def test_adapters_cost_what_a_counter_counts(names):
    """Of the lowest block only those residuals are made that an adapter above it needs."""
    model, config = llama()
    model = adapted(model, names, rank=2)
    target = Target(2, rank=2, adapted=names)
    one = GradientCost(Architecture.of(config.to_dict()), T, m, target=target)
    sketch = GradientSketch.draw(model, m, parameters=["*lora_?.*"], rng=0)
    assert sketch.r == one.r
    assert of_a_sample(model, sketch) == one.flops + one.products


def test_all_blocks_cost_four_TP_and_twelve_LTTd():
    """But for the sample's last token, which has no label, and so no logits."""
    for model in PRESETS.values():
        one = GradientCost(model, 512, m, target=Target(model.layers))
        attended = model.heads * model.head_width
        known = 4 * 512 * model.multiplied + 12 * model.layers * 512**2 * attended
        assert one.flops == known - 4 * model.width * model.vocabulary
        share = replace(one, target=Target(1)).flops / one.flops
        assert 0.50 < share < 0.63
        assert replace(one, m=512).sketch_flops < 0.02 * one.flops


def test_parameters_are_those_of_the_model():
    for groups, tied in ((2, False), (4, True)):
        with torch.device("meta"):
            config = llama(groups=groups)[1]
            config.tie_word_embeddings = tied
            model = transformers.LlamaForCausalLM(config)
            model.tie_weights()
        held = sum(p.numel() for p in model.parameters())
        assert Architecture.of(config.to_dict()).parameters == held


@pytest.mark.parametrize(("name", "billions"), [("1B", 1.24), ("7B", 6.74), ("70B", 70.6)])
def test_presets_have_as_many_parameters_as_they_say(name, billions):
    assert PRESETS[name].parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_plain_models_are_read(tmp_path):
    config = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, vocab_size=60, n_positions=16)
    config.save_pretrained(tmp_path)
    read = Architecture.named(str(tmp_path))
    assert (read.width, read.layers, read.hidden, read.gated, read.tied) == (
        48,
        2,
        192,
        False,
        True,
    )
    model = transformers.GPT2LMHeadModel(config)
    held = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2)
    assert read.multiplied == held - 16 * 48  # the head is the words' embedding, places have none


def test_a_store_holds_what_is_said(tmp_path):
    rows, ids = np.zeros((70, 9), np.float32), np.arange(70)
    assert stored_bytes(70, 9) == rows.nbytes + ids.nbytes
    assert stored_bytes(10**6, 512) / 10**6 == pytest.approx(2048, rel=0.01)


def test_costs_are_in_proportion_to_the_pool():
    """A thousandfold pool takes a thousandfold gradient stage, in the same memory."""
    small, large = (cost(PRESETS["7B"], N=N, n=1000) for N in (10**6, 10**9))
    for one, other in zip(small.stages[:3], large.stages[:3], strict=True):
        assert other.flops == pytest.approx(1000 * one.flops)
        assert other.memory == one.memory
    hours = small.hours(peak=1e15, utilisation=0.5, bandwidth=1e30)
    assert sum(hours.values()) == pytest.approx(small.flops / 0.5e15 / 3600)


def test_the_sketch_of_the_last_block_adds_at_most_three_percent_of_time():
    """2.8, 1.0 and 0.2 % as models grow; of operations far less: it waits for memory."""
    for model in PRESETS.values():
        costs = cost(model, N=10**6, n=1000)
        hours = costs.hours(**DEVICE)
        assert 0.001 < hours["sketch"] / hours["gradients"] < 0.03
        assert costs.stages[1].flops < 0.001 * costs.stages[0].flops


def test_command_prints_what_the_function_returns(tmp_path, capsys):
    config = llama()[1]
    config.save_pretrained(tmp_path)
    words = ["cost", str(tmp_path), "-n", "10", "--pools", "1e3,1e4", "-T", "12", "-m", "16"]
    assert main([*words, "--lora", "2", "--blocks", "2", "--precision", "float32", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = Architecture.named(str(tmp_path))
    target = Target(2, rank=2)
    for pool, N in zip(told["pools"], (1000, 10_000), strict=True):
        one = cost(model, N=N, n=10, T=12, m=16, target=target, itemsize=4)
        assert pool["N"] == N
        assert [stage["operations"] for stage in pool["stages"]] == [s.flops for s in one.stages]
        assert [stage["bytes held"] for stage in pool["stages"]] == [s.memory for s in one.stages]
    assert main(words) == 0
    assert "1e+04" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pools", "1.5"], "got '1.5'"),
        (["--precision", "int8"], "got 'int8'"),
        (["-T", "0"], "T=0"),
    ],
)
def test_command_names_what_has_no_meaning(words, told, capsys):
    assert main(["cost", "7B", "-n", "10", *words]) != 0
    assert told in capsys.readouterr().err


def test_large_pools_are_compared_within_cells():
    """In proportion to the rows that are looked at, not to their square, and in the same memory."""
    by_name = [{s.name: s for s in selection_stages(N, 3000, 64)} for N in (10**5, 10**6)]
    (one, other), ten = by_name, pytest.approx(10, rel=0.1)
    assert other["spectrum"].flops / one["spectrum"].flops == ten
    assert 9 * 0.5 <= other["coverage"].flops / one["coverage"].flops <= 10
    assert other["coverage"].memory == one["coverage"].memory
    small = [{s.name: s for s in selection_stages(N, 30, 64)} for N in (1000, 10_000)]
    assert small[1]["coverage"].flops == 100 * small[0]["coverage"].flops


def test_rates_of_a_machine_are_found():
    """Times that follow the model give its rates back, and no error."""
    truth = Rates(flops=2e10, bytes=3e9, start=0.01)
    stages = [stage for N in (10**3, 10**4, 10**6) for stage in selection_stages(N, 100, 64)]
    fitted = Rates.fitted(stages, [truth.seconds(stage) for stage in stages])
    assert fitted.flops == pytest.approx(2e10)
    assert fitted.bytes == pytest.approx(3e9)
    assert fitted.start == pytest.approx(0.01)
    assert fitted.error < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Architecture.named("nowhere"), "1B, 7B, 70B, a config.json.*got 'nowhere'"),
        (lambda: Architecture.of({"model_type": "mamba"}), "model_type must be .*'mamba'"),
        (lambda: Architecture.of({"model_type": "llama"}), "num_hidden_layers.*None"),
        (lambda: Architecture.of([]), "mapping, got list"),
        (lambda: cost(PRESETS["1B"], N=10, n=11), "n=11"),
        (lambda: cost(PRESETS["1B"], N=10, n=1, T=0), "T=0"),
        (lambda: cost(PRESETS["1B"], N=10, n=1, target=Target(17)), "blocks=17"),
        (lambda: cost(PRESETS["1B"], N=10, n=1).hours(**DEVICE | {"peak": 0}), "peak=0"),
        (
            lambda: cost(PRESETS["1B"], N=10, n=1).hours(**DEVICE | {"utilisation": 2}),
            "at most 1, got 2",
        ),
        (lambda: Rates.fitted([Stage("a", 1, 1, 1)], [1.0]), "got 1 for 1"),
    ],
)
def test_bad_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
