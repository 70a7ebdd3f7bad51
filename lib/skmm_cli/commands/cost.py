"""``skmm cost``: what sketching the gradients of a pool and selecting from it would take."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from skmm_cli.commands.options import Budget
from skmm_cli.errors import UsageError
from skmm_cli.printing import as_json, show, table
from skmm_scale.costs import Architecture, Costs, Target, stored_bytes
from skmm_scale.costs import cost as compute

_PRECISIONS = {"bfloat16": 2, "float32": 4}


def cost(
    model: Annotated[
        str, Parameter(help="1B, 7B, 70B, a config.json of transformers, or a folder with one")
    ],
    /,
    n: Budget,
    *,
    pools: Annotated[str, Parameter(help="Pool sizes N, separated by commas")] = "1e6,1e7,1e8,1e9",
    tokens: Annotated[int, Parameter(name=["-T", "--tokens"], help="Of a sample")] = 512,
    sketch_size: Annotated[
        int, Parameter(name=["-m", "--sketch-size"], help="Dimensions to sketch to")
    ] = 512,
    batch: Annotated[int, Parameter(help="Samples of a batch")] = 8,
    blocks: Annotated[int, Parameter(help="The last so many blocks are differentiated")] = 1,
    lora: Annotated[
        int | None, Parameter(help="Of these, adapters of this rank at q and v, and no more")
    ] = None,
    precision: Annotated[str, Parameter(help="Of the model: bfloat16 or float32")] = "bfloat16",
    peak: Annotated[
        float, Parameter(help="Operations a second that the device is sold for")
    ] = 9.89e14,
    utilisation: Annotated[float, Parameter(help="Share of them that is attained")] = 0.4,
    bandwidth: Annotated[float, Parameter(help="Bytes a second that it moves")] = 3e12,
    json: Annotated[bool, Parameter(negative="", help="Print JSON for programs")] = False,
) -> None:
    """Tells operations, bytes, memory and hours of each stage before any of it is run.

    For the first pool by stage, then for all pools in sum. Hours are those of arithmetic or of
    memory, whichever takes a stage longer; nothing is measured. By default those of an H100 SXM.
    """
    if precision not in _PRECISIONS:
        raise UsageError(f"--precision must be bfloat16 or float32, got {precision!r}")
    sizes = _sizes(pools)
    told = [
        compute(
            Architecture.named(model),
            N=N,
            n=n,
            m=sketch_size,
            T=tokens,
            B=batch,
            target=Target(blocks, lora),
            itemsize=_PRECISIONS[precision],
        )
        for N in sizes
    ]
    hours = [one.hours(peak=peak, utilisation=utilisation, bandwidth=bandwidth) for one in told]
    if json:
        held = [_plain(one, taken) for one, taken in zip(told, hours, strict=True)]
        print(as_json({"model": told[0].gradients.model, "r": told[0].gradients.r, "pools": held}))
        return
    one = told[0].gradients
    print(
        f"{one.model.name}: {show(float(one.model.parameters))} parameters, "
        f"{show(float(one.r))} of them differentiated; {show(one.flops)} operations a sample, "
        f"the sketch adds {show(100 * hours[0]['sketch'] / hours[0]['gradients'])} % of time\n"
    )
    print(f"N = {sizes[0]:,}, by stage")
    print(table(_plain(told[0], hours[0])["stages"]))
    print(f"\nall stages, in device hours at {show(peak)} a second used to {utilisation:.0%}")
    print(table([_line(each, taken) for each, taken in zip(told, hours, strict=True)]))


def _plain(costs: Costs, hours: dict[str, float]) -> dict:
    """Returns what is known of one pool."""
    stages = [
        {
            "stage": stage.name,
            "operations": stage.flops,
            "bytes moved": stage.bytes,
            "bytes held": stage.memory,
            "hours": hours[stage.name],
        }
        for stage in costs.stages
    ]
    return {"N": costs.N, "n": costs.n, "stages": stages}


def _line(costs: Costs, hours: dict[str, float]) -> dict[str, float | int]:
    """Returns a pool as a line of a table."""
    sketching = hours["gradients"] + hours["sketch"]
    return {
        "N": float(costs.N),
        "operations": costs.flops,
        "store GB": stored_bytes(costs.N, costs.gradients.m) / 1e9,
        "hours of gradients": sketching,
        "of selection": sum(hours.values()) - sketching,
    }


def _sizes(text: str) -> list[int]:
    try:
        numbers = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        numbers = []
    if not numbers or not all(x >= 1 and x.is_integer() for x in numbers):
        raise UsageError(f"--pools must be whole numbers above 0, as 1e6,1e9, got {text!r}")
    return [int(x) for x in numbers]
