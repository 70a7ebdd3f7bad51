"""The commands by name, and what all of them have in common: help, errors of usage, warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import cyclopts

import skmm
from skmm_cli.commands.certify import certify
from skmm_cli.commands.check_model import check_model
from skmm_cli.commands.compare import compare
from skmm_cli.commands.cost import cost
from skmm_cli.commands.export import export
from skmm_cli.commands.methods import methods
from skmm_cli.commands.plan import plan
from skmm_cli.commands.select import select
from skmm_cli.commands.sketch import sketch
from skmm_cli.errors import UsageError, one_sentence

EXAMPLES = {
    select: "skmm select features.npy -n 1000 -o subset.csv --report report.html",
    certify: "skmm certify features.npy subset.csv",
    plan: "skmm plan features.npy --budgets 100,200,400",
    compare: "skmm compare features.npy -n 200 --methods skmm,k_means,uniform",
    methods: "skmm methods k_means",
    sketch: "skmm sketch features.npy --into rows",
    export: "skmm export store -o store.parquet",
    cost: "skmm cost 7B -n 10000 --pools 1e6,1e9",
    check_model: "skmm check-model encoder",
}
"""One line for each command, as its help shows it; tests run them."""


def build() -> cyclopts.App:
    """Returns the application with all commands."""
    app = cyclopts.App(
        name="skmm",
        help="Which n samples should you label? Chooses them from a file of features.",
        version=skmm.__version__,
        help_format="markdown",
        suppress_keyboard_interrupt=False,
        help_epilogue=f"Example: {EXAMPLES[select]}",
    )
    for command, example in EXAMPLES.items():
        app.command(command, help_epilogue=f"Example: {example}")
    app.register_install_completion_command(add_to_startup=False)
    return app


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; returns 0.

    Raises:
        UsageError: the command line has no meaning.
        CommandError: it cannot be done.
        ValueError: the library refuses an argument, and says why.
    """
    quiet = "--quiet" in arguments or "-q" in arguments

    def tell(message, category, *_, **__):
        if not quiet and issubclass(category, UserWarning):
            print(f"skmm: note: {one_sentence(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = tell
        try:
            build()(
                list(arguments),
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        except cyclopts.CycloptsError as error:
            raise UsageError(f"{one_sentence(error)}; see -h") from error
    return 0
