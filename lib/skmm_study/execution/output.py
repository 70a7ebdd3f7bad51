"""A notebook's folder of results: tables, figures, measured times and where they come from."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skmm_study.execution.notebook_source import code_digest, declared_parameters, read_source
from skmm_study.execution.provenance import provenance
from skmm_study.report.tables import markdown
from skmm_study.storage.files import sha256, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown
    from matplotlib.figure import Figure

PNG_LIMIT = 200_000
"""Largest size of a PNG in bytes: the repository keeps every figure of its history."""

_OURS = {".csv", ".md", ".png", ".pdf", ".json"}


class OutputFolder:
    """Writes what a notebook finds to its own folder, so that the folder never mixes two runs.

    The tidy CSV is the truth, the figure and the Markdown table are drawn from it. The same run
    gives the same bytes, except for measured times, which have files of their own, and the
    provenance, which records the wall time. Every file is replaced as a whole or left alone.

    .. code-block:: python

        output = skmm_study.OutputFolder(out_dir, parameters=globals())
        risk = output.save_table("risk", trials)
        output.save_figure("risk", fig)
        output.close()

    Args:
        out_dir: the folder, named like the notebook: ``../figures/NN_name``. Created if missing.
        parameters: a mapping that holds the values of the notebook's declared parameters, more
            names do not matter: ``globals()`` will do.

    Raises:
        ValueError: no notebook of that name lies in the working folder, or the mapping lacks one
            of its parameters.
    """

    def __init__(self, out_dir: str | Path, *, parameters: Mapping[str, Any]):
        self._start = time.perf_counter()
        self._folder = Path(out_dir).resolve()
        self._notebook = self._folder.name
        path = Path(f"{self._notebook}.ipynb")
        if not path.exists():
            raise ValueError(
                f"out_dir must be named like a notebook in the working folder, got {out_dir!r} "
                f"but there is no {path} in {Path.cwd().name}; run the notebook where it lies"
            )
        notebook = read_source(path)
        declared = declared_parameters(notebook, self._notebook).keys() - {"out_dir"}
        if missing := sorted(declared - parameters.keys()):
            raise ValueError(
                f"parameters must hold what {path} declares, got none for {', '.join(missing)}; "
                "pass parameters=globals()"
            )
        self._code = code_digest(notebook)
        self._parameters = {name: parameters[name] for name in sorted(declared)}
        self._files: dict[str, str] = {}

    def save_table(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Writes the tidy table ``frame``, one row a trial, to ``<name>.csv``.

        Numbers are written with the fewest digits that read back as the same number.

        Returns:
            The table as read back from the file, to draw from.

        Raises:
            ValueError: ``frame`` is not tidy, or holds measured times, which differ between runs.
        """
        if timed := [column for column in frame if str(column).endswith("seconds")]:
            raise ValueError(
                f"frame must not hold measured times, got column {timed[0]!r}; "
                "write times with save_times, so that this table is the same in every run"
            )
        return self._save_csv(name, frame)

    def save_times(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Writes measured times, in columns that end with ``seconds``, to ``times_<name>.csv``."""
        if not any(str(column).endswith("seconds") for column in frame):
            raise ValueError(
                f"frame must have a column that ends with 'seconds', got {list(frame)}; "
                "write results with save_table"
            )
        return self._save_csv(f"times_{name}", frame)

    def save_markdown(self, name: str, table: pd.DataFrame | str, *, title: str = "") -> Markdown:
        """Writes a rendered table, or a frame as it stands, to ``<name>.md`` and displays it.

        A ``title`` becomes a line above the table.
        """
        from IPython.display import Markdown

        text = table if isinstance(table, str) else markdown(table)
        if title:
            text = f"{title}\n\n{text}"
        self._write(f"{name}.md", text.rstrip("\n") + "\n")
        return Markdown(text)

    def save_figure(self, name: str, figure: Figure, *, dpi: int = 180) -> None:
        """Writes ``figure`` to ``<name>.png`` and ``<name>.pdf``, without dates or versions.

        A PNG of more than 200 kB is reduced to 256 colours.

        Raises:
            ValueError: ``dpi`` lies outside 150..200, or the PNG exceeds 200 kB even so.
        """
        if not 150 <= dpi <= 200:
            raise ValueError(f"dpi must be in [150, 200], readable and small, got dpi={dpi}")
        png, pdf = io.BytesIO(), io.BytesIO()
        figure.savefig(
            png, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"optimize": True}
        )
        if png.tell() > PNG_LIMIT:
            png = _with_few_colors(png)
        if (size := png.tell()) > PNG_LIMIT:
            raise ValueError(
                f"figure {name!r} must be a PNG of at most {PNG_LIMIT // 1000} kB, "
                f"got {size / 1000:.0f} kB at dpi={dpi}; draw fewer points or panels, "
                "or pass dpi=150"
            )
        undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
        figure.savefig(pdf, format="pdf", dpi=dpi, metadata=undated)
        self._write(f"{name}.png", png.getvalue())
        self._write(f"{name}.pdf", pdf.getvalue())

    def close(
        self, *, data: Mapping[str, str | Path] | None = None, keep: Iterable[str] = ()
    ) -> None:
        """Writes ``provenance.json`` and removes the tables and figures of earlier runs.

        Args:
            data: name -> file that the notebook read; the results depend on its content.
            keep: names of files in the folder that something else writes.
        """
        record = provenance(
            notebook=self._notebook,
            code=self._code,
            parameters=self._parameters,
            data=data or {},
            files=self._files,
            seconds=time.perf_counter() - self._start,
            root=Path.cwd().parent,
        )
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / "provenance.json", text + "\n")
        current = {"provenance.json", *self._files, *keep}
        for path in self._folder.iterdir():
            if path.is_file() and path.suffix in _OURS and path.name not in current:
                path.unlink()

    def _save_csv(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        _check_tidy(frame)
        text = frame.to_csv(index=False, lineterminator="\n")
        self._write(f"{name}.csv", text)
        # Up to 3.0 pandas is off by a last digit unless told; from 3.1 on it is exact, and the
        # argument is deprecated.
        rounds = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
        exact: Any = {"float_precision": "round_trip"} if rounds else {}
        return pd.read_csv(io.StringIO(text), **exact)

    def _write(self, file: str, content: bytes | str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]*\.[a-z]+", file):
            raise ValueError(
                f"name must be lower-case letters, digits and underscores, got {Path(file).stem!r}"
            )
        content = content.encode() if isinstance(content, str) else content
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / file, content)
        self._files[file] = sha256(content)


def _with_few_colors(png: io.BytesIO) -> io.BytesIO:
    from PIL import Image

    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small


def _check_tidy(frame: pd.DataFrame) -> None:
    """Refuses what a CSV would lose: an index, nested columns, cells that are not scalars."""
    if frame.empty or frame.columns.nlevels > 1 or frame.columns.has_duplicates:
        raise ValueError(
            f"frame must have rows, and one plain name a column, got shape {list(frame.shape)} "
            f"with columns {list(frame)}; melt it to one row a trial"
        )
    if frame.index.nlevels > 1 or frame.index.name is not None:
        raise ValueError(
            f"frame must not keep values in its index, got index {list(frame.index.names)}; "
            "call reset_index() first"
        )
    for column in frame.columns[[kind.kind == "O" for kind in frame.dtypes]]:
        for value in frame[column]:
            if hasattr(value, "__len__") and not isinstance(value, str):
                raise ValueError(
                    f"frame must hold one value a cell, got {type(value).__name__} in column "
                    f"{column!r}; explode it to one row a value"
                )
