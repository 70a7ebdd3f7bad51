"""Follows each guide in a clean environment, with a stopwatch: `make guides`. Takes the network.

The environment holds the wheel with what the guide's own `pip install` lines name, nothing else.
Installations have a column of their own: how long they take is up to the network.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("shell", "scikit-learn", "pytorch", "language-models", "large-pools", "rounds")
LIMIT = 300.0
"""Seconds that a user may need for a guide, installation aside."""


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Runs a program that does not see the checkout."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, env=outside, cwd=cwd, check=True)


def pip(*arguments: str | Path) -> None:
    """Runs pip, which tells nothing but errors."""
    run(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments)


def follow(page: Path, wheel: Path, folder: Path) -> tuple[float, float]:
    """Returns the seconds that installing took, and those of the guide itself."""
    lines = re.findall(r"^pip install (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert lines, f"{page.name} must say what to install"
    wanted = " ".join(lines).replace('"', "").replace("skmm", str(wheel)).split()
    begin = time.perf_counter()
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--constraint", ROOT / "requirements.lock", *wanted)
    installed = time.perf_counter()
    work = folder / "work"
    work.mkdir()
    run(python, ROOT / ".ci" / "follow.py", page, cwd=work)
    return installed - begin, time.perf_counter() - installed


def main() -> int:
    """Follows all guides; writes the table; returns 1 if one took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the table, Markdown")
    parser.add_argument("guides", nargs="*", default=GUIDES, help="all unless named")
    given = parser.parse_args()
    table = ["| guide | installing, s | following it, s |", "| --- | --- | --- |"]
    slow = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        for guide in given.guides:
            page = ROOT / "docs" / "how-to" / f"{guide}.md"
            installing, following = follow(page, wheel, folder / guide)
            table.append(
                f"| [{guide}](../../docs/how-to/{guide}.md) | {installing:.0f} | {following:.0f} |"
            )
            print(table[-1], flush=True)
            slow |= following > LIMIT
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("\n".join(table) + "\n", encoding="utf-8")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
