"""``skmm methods``: all methods, what each needs and what it costs."""

from __future__ import annotations

import inspect
from typing import Annotated

from cyclopts import Parameter

from skmm import SELECTORS
from skmm_cli.knobs import check_method
from skmm_cli.printing import as_json, table


def methods(
    name: Annotated[str | None, Parameter(help="One of them, to read all about it")] = None,
    /,
    *,
    json: Annotated[bool, Parameter(negative="", help="Print JSON for programs")] = False,
) -> None:
    """Lists the methods: what each needs beyond features, what it costs, and its knobs.

    Cost is the order of the running time: N samples, budget n, r features, sketch size m,
    C classes, T checkpoints.
    """
    if name is not None:
        check_method(name)
    chosen = [SELECTORS[name]] if name else sorted(SELECTORS.values(), key=_order)
    if json:
        print(
            as_json(
                [
                    {
                        "method": one.name,
                        "what": one.summary,
                        "needs": one.needs,
                        "knobs": one.knobs,
                        "cost": one.cost,
                        "reference": one.reference,
                        "nested": one.nested,
                    }
                    for one in chosen
                ]
            )
        )
    elif name:
        one = SELECTORS[name]
        print(f"{one.name} ({one.label}; {one.reference})\ncost {one.cost}\n")
        print(inspect.getdoc(one.choose))
    else:
        print(
            table(
                [
                    {
                        "method": one.name,
                        "needs": ", ".join(one.needs) or "features",
                        "cost": one.cost,
                        "knobs": ", ".join(k for k in one.knobs if k not in one.needs) or "-",
                    }
                    for one in chosen
                ]
            )
        )


def _order(one) -> tuple[bool, str]:
    """Sorts those that need nothing but features first."""
    return bool(one.needs), one.name
