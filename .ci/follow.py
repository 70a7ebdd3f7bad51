"""Follows one guide where it is installed: all its blocks, as they stand, in the present folder.

Blocks of Python share one session; what a block prints must be what the page shows below it, but
for numbers, some of which are seconds: the tests hold the others. Installations are left to whoever
runs this.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

FENCE = re.compile(r"```(sh|python|text)\n(.*?)```", re.DOTALL)


def words(text: str) -> list[str]:
    """The words of a text, any number like any other."""
    return re.sub(r"\d+(\.\d+)?(e[-+]\d+)?", "_", text).split()


def printed_by(kind: str, code: str, names: dict[str, object]) -> str:
    """Runs a block; returns what it prints."""
    if kind == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "guide", "exec"), names)
        return printed.getvalue()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", code], env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, f"exit code {done.returncode} of {code}"
    return done.stdout


def main(page: Path) -> None:
    """Runs the blocks of ``page`` from top to bottom."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    for (kind, code), (after, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "text" or code.startswith("pip "):
            continue
        expected = shown if after == "text" else ""
        printed = printed_by(kind, code, names)
        assert words(printed) == words(expected), f"{code}\nprinted\n{printed}\nfor\n{expected}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
