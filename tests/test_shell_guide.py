"""The guide to the shell shows what its commands print: they are run as they stand there."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from skmm_cli.main import main

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "shell.md"
BLOCKS = re.findall(r"```(sh|text|python)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def without_seconds(text):
    """The words of each line, but for how long something took."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]
    if "seconds" in lines[0]:
        place = lines[0].index("seconds")
        lines = [line[:place] + line[place + 1 :] if len(line) > place else line for line in lines]
    return [[re.sub(r"in \S+ s$", "in ... s", word) for word in line] for line in lines]


def run(command):
    """What one line of shell prints: of ``skmm``, or of ``head``."""
    words = shlex.split(command)
    if words[0] == "head":
        lines = Path(words[3]).read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(lines[: int(words[2])])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(words[1:]) == 0
    return printed.getvalue()


def test_guide_shows_what_is_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = 0
    for (kind, content), (following, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(content, str(GUIDE), "exec"), {})
        if kind == "sh" and not content.startswith("pip"):
            printed = run(content.strip())
            assert following == "text"
            assert without_seconds(printed) == without_seconds(expected), content
            shown += 1
    assert shown >= 5
    assert Path("report.html").exists()


@pytest.fixture(scope="module")
def told():
    """What the commands tell of themselves."""
    commands = ["select", "plan", "certify", "compare", "methods", "sketch", ""]
    return "".join(run(f"skmm {command} -h") for command in commands)


@pytest.mark.parametrize(
    "option", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", GUIDE.read_text())))
)
def test_guide_names_options_that_exist(option, told):
    assert option in told
