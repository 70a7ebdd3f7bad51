"""Time of the gradient stage against one plain forward and backward pass of the same layers.

The last two layers of a MobileNetV2 (1x1 convolution 320 -> 1280 with batch norm, classifier
1280 -> 196) on feature maps in memory, so that the frozen layers below favour neither side. Both
run over the same batches, in turns; the medians are compared.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from skmm.gradients import GradientSketch, sketched_gradients


def head(classes: int) -> nn.Module:
    """Returns MobileNetV2 from its last convolution on, in eval mode."""
    return nn.Sequential(
        nn.Conv2d(320, 1280, 1, bias=False),
        nn.BatchNorm2d(1280),
        nn.ReLU6(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1280, classes),
    ).eval()


def plain_pass(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Runs the forward and backward pass of a training epoch, without its steps."""
    for x, y in batches:
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()


def clock(work) -> float:
    """Returns the seconds that ``work()`` takes, the device's queue included."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Prints one line a repetition and the ratio of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=1024, help="samples")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=5, help="feature map side: image side / 32")
    parser.add_argument("--classes", type=int, default=196)
    parser.add_argument("--m", type=int, default=512, help="sketch size")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="CSV for the repetitions")
    options = parser.parse_args()

    torch.manual_seed(0)
    model = head(options.classes).to(options.device)
    x = torch.randn(options.pool, 320, options.side, options.side, device=options.device)
    y = torch.randint(0, options.classes, (options.pool,), device=options.device)
    batches = list(zip(x.split(options.batch), y.split(options.batch), strict=True))
    sketch = GradientSketch.draw(model, options.m, last=2, rng=0)
    stages = {
        "plain_s": lambda: plain_pass(model, batches),
        "sketched_s": lambda: sketched_gradients(model, batches, sketch=sketch, rng=0),
    }
    for work in stages.values():
        work()  # warm up
    rows = [{name: clock(work) for name, work in stages.items()} for _ in range(options.repeats)]
    for row in rows:
        print("  ".join(f"{name} {seconds:.3f}" for name, seconds in row.items()))
    plain, sketched = (statistics.median(row[name] for row in rows) for name in stages)
    print(
        f"r={sketch.r} m={options.m} N={options.pool} threads={torch.get_num_threads()}: "
        f"ratio of medians {sketched / plain:.2f} ({options.repeats} repeats)"
    )
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, stages)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
