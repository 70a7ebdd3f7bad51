"""``skmm export``: a store as one Parquet file, to be read elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from skmm_cli.commands.options import TELLING, Force, Telling
from skmm_cli.printing import size
from skmm_cli.progress import clock
from skmm_cli.writing import check_suffix, outputs
from skmm_scale.store import Store
from skmm_scale.store.parquet import foresee_parquet, write_parquet


def export(
    store: Annotated[Path, Parameter(help="Folder of a store")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["-o", "--output"], help="Where to write, .parquet")],
    force: Force = False,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Writes the rows and ids of a store to one Parquet file.

    Two columns: id, and rows, a fixed-size list, uncompressed. skmm sketch reads such a file back
    to the same rows, bit for bit.
    """
    check_suffix(output, (".parquet",))
    progress = telling.progress()
    with outputs(output, force=force) as out:
        opened = Store(store)
        seconds, space = foresee_parquet(opened)
        progress.say(f"{len(opened)} rows, {size(space)}; takes about {clock(seconds)}")
        with progress.step("writing Parquet", seconds):
            out.write(output, lambda file: write_parquet(opened, file))
    print(f"{output}: {len(opened)} rows of {opened.shape[1]} {opened.dtype.name}")
