"""Does the study reproduce here? ``python -m skmm_study.execution.verify --profile NAME``.

Runs the notebooks of a profile afresh, beside their committed results, and compares table by table.
It prints one line a table and fails only where a claim does: a notebook that does not run to its
end, or a table that it no longer writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skmm_study.execution.comparison import IDENTICAL, OTHER, ROUNDED, compare_tables
from skmm_study.execution.notebook_source import code_digest, declared_parameters, read_source
from skmm_study.execution.profiles import Profile
from skmm_study.execution.provenance import is_current
from skmm_study.storage.keys import kernels

MISSING, NEW = "missing", "not committed"

Tables = Mapping[str, bytes]


def verify(profile: str, notebooks: Path, *, jobs: int = 1, say: Callable[[str], None]) -> int:
    """Compares the committed tables of a profile with those of a run on this machine.

    What an earlier run left in ``build/verify`` is taken if its sources, parameters, packages and
    kernels are those of now. Nothing is taken from caches outside that folder. Measured times, in
    ``times_*``, are not compared. Committed is what git has in its last commit; without git, what
    lies there.

    Args:
        profile: name of the profile.
        notebooks: folder of the notebooks; its parent is the root of the project.
        jobs: notebooks that run side by side.
        say: takes each line of the report.

    Returns:
        The exit status: 0 if every notebook ran to its end and wrote all of its tables, else 1.

    Raises:
        ValueError: no such profile, or nothing is committed for it.
    """
    notebooks = notebooks.resolve()
    loaded, root = Profile.load(profile, notebooks), notebooks.parent
    into = root / "build" / "verify" / profile
    paths = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    committed = {path.stem: committed_tables(loaded.figures / path.stem, root) for path in paths}
    if not any(committed.values()):
        raise ValueError(f"profile must have committed tables in {loaded.figures}, got none")
    say(f"profile {profile} on {', '.join(kernels())}, results in {os.path.relpath(into)}")
    with ThreadPoolExecutor(jobs) as team:
        claims = [*team.map(lambda path: _run(path, loaded, into, say), paths)]
    found: Counter[str] = Counter()
    for path, held in zip(paths, claims, strict=True):
        fresh = _tables(into / "figures" / path.stem)
        for name, verdict, detail in verdicts(committed[path.stem], fresh, held=held):
            found[verdict] += 1
            say(f"{path.stem}/{name}: {verdict}" + f" ({detail})" * bool(detail))
    failed = [path.stem for path, held in zip(paths, claims, strict=True) if not held]
    counts = [f"{found[kind]} {kind}" for kind in (IDENTICAL, ROUNDED, OTHER, MISSING, NEW)]
    say(f"{found.total()} tables: {', '.join(counts)}")
    say(f"claims fail in {', '.join(failed)}" if failed else "every claim holds")
    return int(bool(failed or found[MISSING]))


def verdicts(committed: Tables, fresh: Tables, *, held: bool) -> Iterator[tuple[str, str, str]]:
    """Yields name, verdict and detail of each table that is committed, fresh or both.

    Args:
        committed: name -> content of the tables that were found before.
        fresh: those that were found now.
        held: whether the notebook ran to its end, which its claims decide.
    """
    claims = "every claim of the notebook holds" if held else "the notebook failed"
    for name in sorted(committed.keys() | fresh.keys()):
        if name not in fresh:
            yield name, MISSING, "" if held else claims
        elif name not in committed:
            yield name, NEW, ""
        else:
            found = compare_tables(committed[name], fresh[name])
            detail = f"{found.detail}; {claims}" if found.verdict == OTHER else found.detail
            yield name, found.verdict, detail


def committed_tables(folder: Path, root: Path) -> dict[str, bytes]:
    """Returns the tables of ``folder`` in the last commit of ``root``; without git, as they lie."""
    place = os.path.relpath(folder, root)
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", f"{place}/")
    if listed is None:
        return _tables(folder)
    names = [Path(name) for name in listed.decode().split("\0") if name]
    chosen = [name for name in names if name.parent == Path(place) and _is_compared(name)]
    return {name.name: _git(root, "show", f"HEAD:./{name.as_posix()}") for name in chosen}


def _git(root: Path, *arguments: str) -> bytes | None:
    """Returns what git answers, ``None`` where it has no commit to look into."""
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout


def _tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv") if _is_compared(path)}


def _is_compared(path: Path) -> bool:
    return path.suffix == ".csv" and not path.name.startswith("times_")


def _run(notebook: Path, profile: Profile, into: Path, say: Callable[[str], None]) -> bool:
    """Runs a notebook unless its results are those of now; returns whether it came to its end."""
    results, name = into / "figures" / notebook.stem, notebook.stem
    # The executed copy exists only if every cell passed.
    if (into / f"{name}.ipynb").exists() and _is_current(notebook, profile, results):
        say(f"[{name}] is up to date")
        return True
    for file in (into / f"{name}.ipynb", *results.glob("*")):
        file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "skmm_study.execution.runner", notebook]
    command += ["--profile", profile.name, "--into", into]
    # With a cache of its own: what other runs have kept, maybe of other code, proves nothing.
    environment = os.environ | {"SKMM_CACHE": str(into / "cache")}
    return subprocess.run(command, env=environment, check=False).returncode == 0


def _is_current(notebook: Path, profile: Profile, results: Path) -> bool:
    try:
        record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    source = read_source(notebook)
    declared = declared_parameters(source, notebook.stem)
    wanted = declared | profile.parameters(notebook.stem, declared) | {"profile": profile.name}
    del wanted["out_dir"]
    places = {"results": results, "root": notebook.parent.parent}
    return is_current(record, code=code_digest(source), parameters=wanted, **places)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verifies a profile from the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m skmm_study.execution.verify", description=__doc__
    )
    parser.add_argument("--profile", default="default", help="a file of notebooks/profiles")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="their folder")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks that run side by side")
    options = parser.parse_args(arguments)
    try:
        return verify(
            options.profile,
            options.notebooks,
            jobs=options.jobs,
            say=lambda line: print(line, flush=True),
        )
    except ValueError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
