"""Profiles: the sizes in which the study runs, one YAML file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Profile:
    """What one size of the study changes in the notebooks' parameters, and where results land.

    Attributes:
        name: the name of the YAML file.
        figures: folder in which each notebook has a folder of its own.
        overrides: notebook name -> parameter -> value; all else keeps the notebook's literals.
    """

    name: str
    figures: Path
    overrides: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, name: str, notebooks: Path) -> Profile:
        """Reads ``profiles/<name>.yaml`` in the folder ``notebooks``.

        Raises:
            ValueError: there is no such profile, it lacks ``figures`` or holds another key, or
                it names a notebook that does not exist.
        """
        path = notebooks / "profiles" / f"{name}.yaml"
        if not path.exists():
            known = sorted(other.stem for other in path.parent.glob("*.yaml"))
            raise ValueError(f"profile must be one of {', '.join(known)}, got {name!r}")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.keys() != {"figures", "notebooks"}:
            raise ValueError(
                f"{path.name} must hold the keys 'figures' and 'notebooks' and nothing else; "
                f"got {sorted(content) if isinstance(content, dict) else content!r}"
            )
        overrides = content["notebooks"] or {}
        for notebook in overrides:
            if not (notebooks / f"{notebook}.ipynb").exists():
                raise ValueError(
                    f"{path.name} overrides parameters of {notebook!r}, but {notebooks.name} has "
                    f"no {notebook}.ipynb; rename or remove the entry"
                )
        return cls(name, notebooks.parent / content["figures"], overrides)

    def parameters(self, notebook: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what this profile overrides in ``notebook``, which declares ``declared``.

        Raises:
            ValueError: an override is not declared; papermill would inject it unnoticed.
        """
        overrides = dict(self.overrides.get(notebook) or {})
        if unknown := sorted(overrides.keys() - declared.keys()):
            raise ValueError(
                f"profile {self.name} sets {', '.join(unknown)} in {notebook}, whose parameters "
                f"cell declares only {', '.join(sorted(declared))}; declare it there or remove it"
            )
        return overrides
