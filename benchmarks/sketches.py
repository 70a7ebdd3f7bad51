"""What drawing a map and sketching four rows cost, up to a million parameters.

Run as ``python benchmarks/sketches.py --out figures/bench``; takes half a minute and half a
gigabyte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from skmm.sketching import SKETCHES, SparseSignSketch
from skmm_study.trials.sketches import sketch_costs

SKETCH_SIZE = 64
DIMENSIONS = [1000, 10_000, 100_000, 1_000_000]
COLUMNS = ["draw_seconds", "sketch_seconds", "megabytes"]


def count_sketch(r: int, m: int, *, rng: int) -> SparseSignSketch:
    """Draws the sparse map with a single nonzero for each input coordinate."""
    return SparseSignSketch.draw(r, m, nonzeros=1, rng=rng)


def main() -> None:
    """Prints medians over the repeats and writes every repeat to ``sketches.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("figures/bench"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    draws = {name: kind.draw for name, kind in SKETCHES.items()} | {"count": count_sketch}
    costs = sketch_costs(draws, DIMENSIONS, SKETCH_SIZE, repeats=options.repeats)
    print(costs.groupby(["map", "r"], sort=False)[COLUMNS].median().to_string(float_format="%.3g"))
    options.out.mkdir(parents=True, exist_ok=True)
    costs.to_csv(options.out / "sketches.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
