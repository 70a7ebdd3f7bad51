"""Times selections against the published recipe and a matrix product, and sketches against a copy.

All sides of a ratio run one after the other, with the same threads unless their number is what is
compared: in this process, but for the default and its rivals on 10,000 rows, which have a process
each, so that none finds memory that another was given before. Run as
``python benchmarks/bench.py --out figures/bench``; takes four to six minutes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skmm.matching.program import match_moments, moment_shares
from skmm.matching.recipe import adam_clip_renormalise
from skmm.rounding.sampling import round_by_sampling
from skmm.selection.select import select
from skmm.sketching import SKETCHES
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import table1_mixture
from skmm_study.text.compact import load_text_pool
from skmm_study.theory.objective import unscaled_objective
from skmm_study.trials.shortcuts import written_rows
from skmm_study.vision.compact import load_cars_features

N_SELECTED, SKETCH_SIZE = 80, 32
CRITERIA = ("auto", "combined", "full", "fourth", "v-optimal", "diagonal")
SHAPES = [(2000, 2400, 32), (512, 65_536, 256)]
RIVALS = ("max_herding", "k_medoids")
POOLS: dict[str, Callable[[], np.ndarray]] = {
    "uniform numbers": lambda: np.random.default_rng(7).random((10_000, 400)),
    "written groups": lambda: written_rows(10_000, 400, seed=0),
    "BANKING77": lambda: load_text_pool("banking77").pool,
}
FIELDS = ["part", "name", "N", "r", "m", "dtype", "seconds", "repeats", "quantity", "value"]
THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Returns the median wall time of ``repeats`` calls and the last result."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), result


def bench_selection(recipe_repeats: int) -> list[dict[str, Any]]:
    """Times selection and solver alone, both ways, and compares objectives in the same units."""
    G, n, m = table1_mixture(rng=0).features, N_SELECTED, SKETCH_SIZE
    size = {"N": len(G), "r": G.shape[1], "m": m, "dtype": "float64"}
    rows = SKETCHES["gaussian"].draw(G.shape[1], m, rng=0)(G)
    spectrum = Spectrum.of(rows)

    def published_selection():
        sketched = SKETCHES["gaussian"].draw(G.shape[1], m, rng=0)(G)
        relaxed = adam_clip_renormalise(sketched, Spectrum.of(sketched), n, rng=0)
        return relaxed, round_by_sampling(relaxed.s, n, rng=0)

    def select_here():
        return select(G, n, method="skmm", m=m, rng=0)

    def solve_here():
        return match_moments(moment_shares(rows, spectrum), n, rng=0)

    select_here()  # warms the libraries up
    ours, _ = timed(select_here, 15)
    ours_solver, relaxed = timed(solve_here, 15)
    published, (theirs, _) = timed(published_selection, recipe_repeats)
    solver, _ = timed(lambda: adam_clip_renormalise(rows, spectrum, n, rng=0), 1)
    times = [
        ("whole selection", ours, 15, published, recipe_repeats),
        ("solver alone", ours_solver, 15, solver, 1),
    ]
    table = []
    for quantity, here, repeats, there, there_repeats in times:
        table += [
            {"name": "skmm", "seconds": here, "repeats": repeats, "quantity": quantity, "value": 1},
            {"name": "published recipe", "seconds": there, "repeats": there_repeats}
            | {"quantity": f"{quantity}: times slower", "value": there / here},
        ]
    for name, solution in (("skmm", relaxed), ("published recipe", theirs)):
        paper = unscaled_objective(rows, spectrum, solution.s)
        table += [
            {"name": name, "quantity": "objective, paper's units", "value": paper},
            {
                "name": name,
                "quantity": "objective, each direction / λ",
                "value": solution.objective,
            },
        ]
    return [{"part": "selection", **size, **row} for row in table]


def flat_pool(N: int, m: int) -> np.ndarray:
    """Rows with a decaying spectrum and of unequal length."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((N, m)) * np.exp(-np.arange(m) / 60)
    return rows * np.exp(0.4 * rng.standard_normal((N, 1)))


def bench_threads() -> list[dict[str, Any]]:
    """Times every criterion with the caller's default threads, and limited to one and to two."""
    table = []
    for N, m, n in [(2000, 512, 80), (2000, 512, 384), (16_000, 256, 500)]:
        rows = flat_pool(N, m)
        for criterion in CRITERIA:
            call = partial(select, rows, n, criterion=criterion, rng=0)
            seconds = {"default": timed(call, 3)[0]}
            for threads in (1, 2):
                with threadpool_limits(limits=threads):
                    seconds[threads] = timed(call, 3)[0]
            ratio = seconds["default"] / min(seconds[1], seconds[2])
            row = {"part": "threads", "name": criterion, "N": N, "r": m, "m": m, "dtype": "float64"}
            row |= {"seconds": seconds["default"], "repeats": 3, "value": ratio}
            table.append(row | {"quantity": f"n = {n}: over the best of one and two threads"})
    return table


def bench_criteria() -> list[dict[str, Any]]:
    """Times the combined match against the full one, and the fourth against one matrix product."""
    table = []
    for N, m, n in [(2000, 512, 80), (16_000, 256, 2000)]:
        rows = flat_pool(N, m)
        full, _ = timed(partial(select, rows, n, criterion="full", rng=0), 3)
        combined, _ = timed(partial(select, rows, n, criterion="combined", rng=0), 3)
        row = {"part": "criteria", "name": "combined", "N": N, "r": m, "m": m, "dtype": "float64"}
        row |= {"seconds": combined, "repeats": 3, "value": combined / full}
        table.append(row | {"quantity": f"n = {n}: over full"})
    cars = load_cars_features().pool.astype(np.float64)
    N, r = cars.shape
    product, _ = timed(lambda: cars @ cars.T, 3)
    fourth, _ = timed(partial(select, cars, 1000, m=r, criterion="fourth", rng=0), 3)
    row = {"part": "criteria", "name": "fourth", "N": N, "r": r, "m": r, "dtype": "float64"}
    row |= {"seconds": fourth, "repeats": 3, "value": fourth / product}
    return [*table, row | {"quantity": "n = 1000: over one product of the rows with themselves"}]


def seconds_alone(pool: str, method: str) -> tuple[float, float]:
    """Returns wall and processor time of the first large selection of a process."""
    rows = POOLS[pool]()
    select(rows[:300], 20, method=method, rng=0)  # warms the libraries up
    begin, busy = time.perf_counter(), time.process_time()
    select(rows, 1000, method=method, rng=0)
    return time.perf_counter() - begin, time.process_time() - busy


def bench_rivals(repeats: int = 3) -> list[dict[str, Any]]:
    """Times the default against the slower of the two rivals that compare all pairs of rows."""
    asked = list(itertools.product(range(repeats), POOLS, ("skmm", *RIVALS)))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        times = processes.starmap(seconds_alone, [at[1:] for at in asked], chunksize=1)
    found = dict(zip(asked, times, strict=True))
    table = []
    for pool, (kind, clock) in itertools.product(POOLS, enumerate(("wall", "processor"))):
        rows = POOLS[pool]()
        seconds = {
            method: statistics.median(found[k, pool, method][kind] for k in range(repeats))
            for method in ("skmm", *RIVALS)
        }
        slower = max(seconds[method] for method in RIVALS)
        size = {"N": len(rows), "r": rows.shape[1], "m": rows.shape[1], "dtype": str(rows.dtype)}
        quantity = f"{pool}, n = 1000: {clock} time over the slower rival's"
        for method, taken in seconds.items():
            row = {"part": "rivals", "name": method, **size, "seconds": taken, "repeats": repeats}
            table.append(row | {"quantity": quantity, "value": taken / slower})
    return table


def bench_memory() -> list[dict[str, Any]]:
    """Measures the peak of memory of matching the whole second moment of a large pool."""
    N, m, n = 16_000, 256, 2000
    rows = flat_pool(N, m)
    tracemalloc.start()
    select(rows, n, criterion="full", rng=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = {"part": "memory", "name": "full", "N": N, "r": m, "m": m, "dtype": "float64"}
    return [
        {**size, "quantity": "arrays N x m, the rows included", "value": 1 + peak / rows.nbytes}
    ]


def bench_sketches() -> list[dict[str, Any]]:
    """Times each map, and a copy of the same bytes, in GB of input a second."""
    table = []
    for N, r, m in SHAPES:
        for dtype in ("float64", "float32"):
            G = np.random.default_rng(0).standard_normal((N, r), np.float64).astype(dtype)
            copy = np.empty_like(G)
            calls: dict[str, Callable[[], Any]] = {"memory copy": partial(np.copyto, copy, G)}
            for name, sketch in SKETCHES.items():
                calls[name] = partial(sketch.draw(r, m, rng=0), G)
            for name, call in calls.items():
                call()
                seconds, _ = timed(call, 3)
                table.append(
                    {"part": "sketch", "name": name, "N": N, "r": r, "m": m, "dtype": dtype}
                    | {"seconds": seconds, "repeats": 3}
                    | {"quantity": "GB/s", "value": G.nbytes / seconds / 1e9}
                )
    return table


def main() -> None:
    """Prints the table and writes it, with the machine's facts, to ``bench.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("figures/bench"))
    parser.add_argument("--recipe-repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    facts = {"cores": os.cpu_count(), "threads": THREADS, "numpy": np.__version__}
    facts["torch"] = torch.__version__
    print(", ".join(f"{name} {value}" for name, value in facts.items()), "\n")
    table = bench_selection(options.recipe_repeats) + bench_criteria() + bench_threads()
    table += bench_rivals() + bench_memory() + bench_sketches()
    for row in table:
        seconds = f"{row['seconds'] * 1e3:10.1f} ms" if "seconds" in row else " " * 13
        shape = f"{row['N']} x {row['r']} -> {row['m']}"
        print(f"{row['name']:17} {shape:19} {row['dtype']} {seconds}  ", end="")
        print(f"{row['value']:10.3g} {row['quantity']}")
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "bench.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*FIELDS, *facts], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | facts for row in table)


if __name__ == "__main__":
    main()
