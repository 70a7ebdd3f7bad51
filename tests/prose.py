"""The numbers of a notebook's prose, and where each comes from.

A number in a markdown cell is accounted for if it is

- *checked*: a comment in the same cell computes it from the notebook's tables, a line a number,

      The default gains 4.4 points.
      <!-- check
      4.4: 100 * differences.query("method == 'skmm' and n == 1000")["mean"].iloc[0]
      -->

  and the value prints as the prose does; a line `table: ...` computes all numbers of the cell's
  table below its head, row by row. Tables go by the names of their CSV files; `paper` has those of
  the full study, and `published` what is transcribed in `data/`;
- *asserted*: a literal in an `assert` of the code cell that follows, as it stands or in percent;
- a *parameter*: a literal of the parameters cell, or what the full study puts in its place;
- *constant*: on the list of `test_prose.py`, with its reason.

That some cell of a table prints alike is no account: in tables of hundreds of rows nearly every
number has one. Not seen are numbers in words ("two fifths"), in code, in displayed formulas and in
inline ones other than after a relation sign; order ("first", "more than"); what merely happens to
equal a parameter; and whether the words beside a number say what its comment computes.

Run as a script on notebooks, it lists the numbers that are not accounted for.
"""

import argparse
import ast
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from skmm_study.execution.notebook_source import declared_parameters, read_notebook
from skmm_study.execution.profiles import Profile

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(
    # Neither part of a name, such as MobileNetV2 or ResNet-18, nor of a longer number.
    r"(?<![\w.,/^])(?<![A-Za-z]-)[+\-−±]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+\-−]?\d+)?(?![\w^]|[.,]\d)"
)
CHECK = re.compile(r"<!-- check\n(.*?)-->", re.DOTALL)
NO_PROSE = [
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"```.*?```", re.DOTALL),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"`[^`]*`"),
    re.compile(r"!\[[^\]]*\]\([^)]*\)"),  # a figure and its description
    re.compile(r"(?<=\])\([^)]*\)"),  # where a link leads
    # Places: "Section 4.1", "notebooks 05 and 07", "[03](...)".
    re.compile(r"(?:Section|Table|Theorem|Figure|Algorithm|Corollary|[Nn]otebook) [\d.]*\d"),
    re.compile(
        r"(?:Section|Table|Figure|[Nn]otebook)s [\d.]*\d(?:(?:,| and| to| or) \d[\d.]*\d?)*"
    ),
    re.compile(r"\[\d\d[,\]]"),
]
FORMULA = re.compile(r"(?<!\$)\$([^$]+)\$(?!\$)")
RELATION = re.compile(
    r"(?:=|\\approx|\\leq?|\\geq?|<|>|\\pm|\\in|^)\s*"
    r"([+\-−]?\d+(?:(?:,|\{,\})\d{3})*(?:\.\d+)?(?:e-?\d+)?)\s*(?=$|[,;)\\]|\s)"
)


def numbers(text):
    """The numbers of a text, as they are printed there, in their order."""
    for pattern in NO_PROSE:
        text = pattern.sub(" ", text)

    def plain(formula):
        found = RELATION.findall(formula[1])
        return " " + " ; ".join(number.replace("{,}", ",") for number in found) + " "

    return NUMBER.findall(FORMULA.sub(plain, text))


def value(number):
    """The number that a text shows."""
    return float(number.replace(",", "").replace("−", "-").lstrip("±+"))


def prints_alike(number, exact):
    """Whether a value rounds to what is printed; where no sign is, words may say it."""
    mantissa, _, exponent = number.replace("−", "-").partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    shown = value(number)
    gap = abs(shown - exact) if number[0] in "+-−" else abs(abs(shown) - abs(exact))
    return gap <= 0.5 * 10.0**-digits * (1 + 1e-6)


def tables(folder):
    """The CSV files of a folder, by name."""
    return {path.stem: pd.read_csv(path, comment="#") for path in sorted(folder.glob("*.csv"))}


def namespace(stem, root=ROOT):
    """What the expressions of a notebook's comments may use."""
    return {
        **tables(root / "figures" / stem),
        "paper": SimpleNamespace(**tables(root / "figures" / "paper" / stem)),
        "published": SimpleNamespace(**tables(root / "data")),
        "np": np,
    }


def numbers_of_table(text):
    """The numbers of a text's table below its head, row by row."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [number for row in rows[2:] for number in numbers(row)]


def checks(text):
    """Number, or "table", and expression of each line of a text's comments."""
    lines = [line for block in CHECK.findall(text) for line in block.strip().splitlines()]
    return [tuple(part.strip() for part in line.split(":", 1)) for line in lines]


def literals(values):
    """All numbers in nested literals."""
    if isinstance(values, dict):
        values = [*values, *values.values()]
    if isinstance(values, list | tuple):
        return {number for one in values for number in literals(one)}
    return {float(values)} if isinstance(values, int | float) else set()


def parameters(path):
    """All numbers that the notebook's parameters have, in the profiles that are committed."""
    declared = declared_parameters(read_notebook(path), path.stem)
    full = Profile.load("paper", path.parent).parameters(path.stem, declared)
    return literals(declared) | literals(full)


def asserted(code):
    """Numbers that a cell's assertions hold results to: 0.05 and 1.05 also as 5, for percent."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assert):
            for part in ast.walk(node.test):
                if isinstance(part, ast.Constant) and isinstance(part.value, int | float):
                    size = float(part.value)
                    found |= {size, round(100 * size, 9), round(100 * abs(size - 1), 9)}
    return found


def passages(path):
    """Each markdown cell of a notebook with the numbers that the code cell after it asserts."""
    cells = read_notebook(path).cells
    following = [*cells[1:], None]
    for cell, after in zip(cells, following, strict=True):
        if cell.cell_type == "markdown":
            runs = after is not None and after.cell_type == "code"
            yield cell.source, asserted(after.source) if runs else set()


def complaints(texts, *, names, known, constants):
    """What is wrong with the numbers of some texts.

    Args:
        texts: each with numbers that need no reason in it; comments account for those of their own.
        names: for the comments' expressions.
        known: numbers that need no reason anywhere.
        constants: printed number -> reason.
    """
    found, used = [], set()
    for text, held in texts:
        printed, checked = numbers(text), checks(text)
        accounted = set()
        for what, expression in checked:
            shown = numbers_of_table(text) if what == "table" else [what]
            exact = np.ravel(eval(expression, dict(names))).astype(float)
            if not set(shown) <= set(printed):
                found.append(f"{what}: checked, but the prose beside it has no such number")
            elif len(shown) != len(exact):
                found.append(f"{what}: {len(shown)} numbers, but {expression} has {len(exact)}")
            for number, one in zip(shown, exact, strict=False):
                if not prints_alike(number, one):
                    found.append(f"{number}: {expression} is {one:.6g}")
            accounted |= set(shown)
        for number in printed:
            if number in constants:
                used.add(number)
            elif number not in accounted and abs(value(number)) not in known | held:
                found.append(f"{number}: from no table, no parameter and not on the list")
    idle = sorted(constants.keys() - used)
    return found + [f"{number}: on the list, but in no text" for number in idle]


def main():
    """Prints what is left to account for in the notebooks that are named."""
    from test_prose import CONSTANTS, EVERYWHERE

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        constants = EVERYWHERE | CONSTANTS.get(path.stem, {})
        knobs = {"names": namespace(path.stem), "known": parameters(path), "constants": constants}
        for text, held in passages(path):
            left = [one for one in complaints([(text, held)], **knobs) if "in no text" not in one]
            if left:
                print(f"{path.stem}, {text.strip().splitlines()[0][:70]}")
                print(*left, sep="\n    ")


if __name__ == "__main__":
    main()
