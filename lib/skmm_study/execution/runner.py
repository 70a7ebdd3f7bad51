"""One notebook through papermill: ``python -m skmm_study.execution.runner FILE --profile NAME``.

Beside the executed copy ``build/<profile>/<name>.ipynb``, which exists only if every cell passed,
lie the log, the dependency file for make and, after a failure, a report and the copy as far as it
came.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import skmm
from skmm_study.execution.executed_copy import finish
from skmm_study.execution.notebook_source import declared_parameters, read_notebook, read_source
from skmm_study.execution.profiles import Profile
from skmm_study.storage.files import write_whole


class NotebookError(Exception):
    """A notebook did not run to its end; the message is a report for the reader."""


def execute(notebook: Path, profile: Profile, *, build: Path) -> Path:
    """Executes ``notebook`` with the parameters of ``profile`` in the notebook's own folder.

    Args:
        notebook: the source, ``NN_name.ipynb``; its folder's parent is the root of the project.
        profile: overrides and the folder for figures.
        build: folder for the executed copy, the log and the dependency file.

    Returns:
        The executed copy.

    Raises:
        ValueError: the profile sets a parameter that the notebook does not declare.
        NotebookError: a cell failed, or the notebook did not write its provenance.
    """
    notebook, build = notebook.resolve(), build.resolve()
    name, folder = notebook.stem, notebook.parent
    out_dir = profile.figures.resolve() / name
    declared = declared_parameters(read_source(notebook), name)
    parameters = profile.parameters(name, declared)
    parameters |= {"profile": profile.name, "out_dir": os.path.relpath(out_dir, folder)}
    if missing := sorted(parameters.keys() - declared.keys()):
        raise ValueError(
            f"the parameters cell of {name} must declare {', '.join(missing)}; "
            f"it declares {', '.join(sorted(declared))}"
        )

    build.mkdir(parents=True, exist_ok=True)
    executed, partial, failed = (
        build / f"{name}{suffix}.ipynb" for suffix in ("", ".partial", ".failed")
    )
    failed.unlink(missing_ok=True)
    provenance = out_dir / "provenance.json"
    before = _identity(provenance)
    try:
        with _log_to(build / f"{name}.log"):
            _run_cells(notebook, partial, parameters, failed)
        if _identity(provenance) == before:
            raise NotebookError(
                f"{name} ran to its end but wrote no provenance.json; "
                "its last code cell must call output.close()"
            )
        record = json.loads(provenance.read_text(encoding="utf-8"))
        rule = dependency_rule(executed, used_files(record, folder.parent), root=folder.parent)
        write_whole(build / f"{name}.d", rule)
        finish(partial, folder, home=build)
        os.replace(partial, executed)
    finally:
        partial.unlink(missing_ok=True)
    return executed


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what changes whenever the file at ``path`` is replaced, None if there is none."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Sends papermill's messages and the cells' printed output to ``path``."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("papermill")
    logger.addHandler(handler)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


def _run_cells(notebook: Path, partial: Path, parameters: dict, failed: Path) -> None:
    """Runs papermill; a failure keeps the copy as far as it came and becomes a report."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    from skmm_study.execution.kernel import AskingKernelManager

    try:
        papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters,
            cwd=str(notebook.parent),
            progress_bar=False,
            log_output=True,
            kernel_manager_class=AskingKernelManager,
            config=Config(KernelManager={"transport_encryption": "auto"}),
        )
    except (PapermillExecutionError, DeadKernelError) as error:
        trace = "\n".join(getattr(error, "traceback", [])) or str(error)
        logging.getLogger("papermill").error(re.sub(r"\x1b\[[0-9;]*m", "", trace))
        os.replace(partial, failed)
        raise NotebookError(_failure_report(notebook.stem, failed, error)) from error


def _failure_report(name: str, failed: Path, error: Exception) -> str:
    """Names the failing cell by its number in the source, with its first lines and the error."""
    added = ("injected-parameters", "papermill-error-cell-tag")
    cells = [
        cell
        for cell in read_notebook(failed).cells
        if not set(cell.metadata.get("tags", [])).intersection(added)
    ]
    started = (k for k, cell in enumerate(cells) if cell.metadata.papermill.get("start_time"))
    number = max(started) + 1
    lines = cells[number - 1].source.splitlines()
    shown = [*lines[:6], "..."] if len(lines) > 6 else lines
    kind = getattr(error, "ename", type(error).__name__)
    return "\n".join(
        [
            f"{name} failed in cell {number} of {len(cells)}:",
            *(f"    {line}" for line in shown),
            f"  {kind}: {getattr(error, 'evalue', error)}",
            f"  The copy as far as it came: {_readable(failed)}",
        ]
    )


def _readable(path: Path) -> str:
    """Returns ``path`` as seen from the working folder, if it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def used_files(record: dict, root: Path) -> list[Path]:
    """Returns the modules and data files of ``root`` that a provenance record names."""
    library = Path(skmm.__file__).parent.parent
    modules = [library / module for module in record["modules"]]
    return modules + [root / entry["path"] for entry in record["data"].values() if "path" in entry]


def dependency_rule(target: Path, files: Iterable[Path], *, root: Path) -> str:
    """Returns a make rule: ``target`` depends on ``files``; a file that is gone reruns it too."""
    goal, *needs = (os.path.relpath(path, root).replace(" ", r"\ ") for path in (target, *files))
    return f"{goal}: {' '.join(needs)}\n" + "".join(f"{need}:\n" for need in needs)


def main(arguments: list[str] | None = None) -> int:
    """Runs one notebook from the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m skmm_study.execution.runner", description=__doc__
    )
    parser.add_argument("notebook", type=Path, help="notebooks/NN_name.ipynb")
    parser.add_argument("--profile", default="default", help="a file of notebooks/profiles")
    parser.add_argument(
        "--into",
        type=Path,
        help="folder for copies and figures, in place of build/PROFILE and the profile's own",
    )
    options = parser.parse_args(arguments)
    folder, name = options.notebook.resolve().parent, options.notebook.stem
    build = options.into or folder.parent / "build" / options.profile
    # A terminated run, like an interrupted one, stops its kernel and removes its partial copy; a
    # shell's background job would start with interrupts ignored.
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.default_int_handler)

    start = time.perf_counter()
    print(f"[{name}] running, log in {_readable(build / name)}.log", flush=True)
    try:
        profile = Profile.load(options.profile, folder)
        if options.into is not None:
            profile = replace(profile, figures=options.into / "figures")
        execute(options.notebook, profile, build=build)
    except (ValueError, NotebookError) as error:
        build.mkdir(parents=True, exist_ok=True)
        write_whole(build / f"{name}.failed", f"{error}\n")
        print(f"[{name}] FAILED after {time.perf_counter() - start:.0f} s: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"[{name}] interrupted after {time.perf_counter() - start:.0f} s", flush=True)
        return 130
    done = f"[{name}] done in {time.perf_counter() - start:.0f} s"
    print(f"{done}, results in {_readable(profile.figures / name)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
