"""The examples of the documentation, and what came of running them: the README's, every name's.

Needs nothing but `skmm` and the standard library. Run as a script, it prints what an installation
without a checkout makes of them, as JSON.
"""

import contextlib
import doctest
import inspect
import io
import json
import re
from importlib import import_module
from importlib.metadata import metadata

import skmm

NAMES = skmm.__all__


def docstring(name):
    """The documentation of a public name; of a constant, that of the module it is defined in."""
    value = getattr(skmm, name)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        value = import_module(f"skmm.{skmm._MODULE_OF[name]}")
    return inspect.getdoc(value)


def example(name):
    """The lines of the section "Example:" of a public name's docstring; empty if there is none."""
    _, _, rest = docstring(name).partition("\nExample:\n")
    return re.split(r"\n\S", rest)[0]


def run_example(name):
    """Runs the example of a public name.

    Raises:
        doctest.DocTestFailure: it prints something else.
        doctest.UnexpectedException: it raises.
    """
    parsed = doctest.DocTestParser().get_doctest(example(name), {}, name, None, None)
    doctest.DebugRunner().run(parsed)


def run_readme(text):
    """Runs the first Python block of the README; returns its names and what it prints."""
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), names)
    return names, printed.getvalue()


def outcome(name):
    """``"ran"``, or what it is that the example of a public name lacks here."""
    try:
        run_example(name)
    except ImportError as error:
        return str(error)
    except doctest.UnexpectedException as error:
        if isinstance(error.exc_info[1], ImportError):
            return str(error.exc_info[1])
        raise
    return "ran"


if __name__ == "__main__":
    readme = metadata("skmm").get_payload()
    report = {"readme": run_readme(readme)[1], "names": {name: outcome(name) for name in NAMES}}
    print(json.dumps(report | {"file": skmm.__file__}))
