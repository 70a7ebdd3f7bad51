"""The reference: every public name of the library, in the order in which data flows."""

from __future__ import annotations

import inspect
import textwrap
from importlib import import_module

import skmm
from skmm_study.site.layout import Layout

ORDER = (
    "selection",
    "gradients",
    "sketching",
    "spectrum",
    "matching",
    "criteria",
    "rounding",
    "training",
    "numerics",
)
"""Parts of the library: what most users need, then the rest as data flows."""


def write_reference(layout: Layout) -> None:
    """Writes ``api/index.md`` and a page for each part of the library."""
    parts = names_by_part()
    rows = [
        f"| [{part}]({part}.md) | {', '.join(f'`{name}`' for name in names)} |"
        for part, names in parts.items()
    ]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *parts, "```"])
    table = "\n".join(["| part | names |", "| --- | --- |", *rows])
    layout.write("api/index.md", f"{_HEAD}\n\n{table}\n\n{tree}\n")
    for part, names in parts.items():
        about = inspect.getdoc(import_module(f"skmm.{part}")).partition("\n\n")[0]
        entries = "\n\n".join(_directive(name) for name in names)
        text = f"# {part}\n\n```{{eval-rst}}\n{about}\n\n{entries}\n```\n"
        layout.write(f"api/{part}.md", text)


def names_by_part() -> dict[str, list[str]]:
    """Returns the public names of each part of the library, in `ORDER`.

    Raises:
        ValueError: a name is of a part that `ORDER` lacks.
    """
    parts = {part: [] for part in ORDER}
    for name in skmm.__all__:
        part = skmm._MODULE_OF[name].partition(".")[0]
        if part not in parts:
            raise ValueError(f"ORDER must hold the part of skmm.{name}, got none called {part!r}")
        parts[part].append(name)
    return parts


def _directive(name: str) -> str:
    thing = getattr(skmm, name)
    if inspect.isclass(thing):
        return f".. autoclass:: skmm.{name}\n   :members: {', '.join(_members(thing))}"
    if callable(thing):
        return f".. autofunction:: skmm.{name}"
    # A constant's text is its module's: its own would be that of its type.
    about = inspect.getdoc(import_module(f"skmm.{skmm._MODULE_OF[name]}"))
    text = about.replace("Example:\n", "**Example**\n\n")
    return f".. py:data:: skmm.{name}\n\n{textwrap.indent(textwrap.dedent(text), '   ')}"


def _members(cls: type) -> list[str]:
    """Returns what the library's own classes add to ``cls``: not what scikit-learn or torch do."""
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "skmm"]
    names = dict.fromkeys(name for base in own for name in vars(base) if not name.startswith("_"))
    return [name for name in names if _is_ours(inspect.getattr_static(cls, name))]


def _is_ours(member: object) -> bool:
    """Whether a member has code of the library: fields are told by the text of their class."""
    code = getattr(member, "__func__", None) or getattr(member, "fget", None)
    code = code or getattr(member, "func", None) or member
    return inspect.isfunction(code) and code.__module__.partition(".")[0] == "skmm"


_HEAD = """# Reference

Every public name: `import skmm` is the whole surface. First what selecting takes, then the parts
as data flows: gradients → sketch → spectrum → matched moments → rounding → training."""
