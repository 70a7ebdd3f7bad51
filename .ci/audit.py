"""Lists the licence and the known vulnerabilities of every package that requirements.lock installs.

Run as ``python .ci/audit.py --python VENV/bin/python --out FILE`` by an interpreter that has
pip-licenses and pip-audit. Nothing is installed: licences are read from the environment that is
audited, vulnerabilities are asked for by name and version.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

UNKNOWN = "not looked up"
HEAD = """# Packages: licences and known vulnerabilities

What `requirements.lock` installs on {platform}, by `make audit`. A licence is what the package says
of itself. {vulnerabilities}

"""
ASKED = "Vulnerabilities are those of the public advisory database."
NOT_ASKED = (
    "Vulnerabilities: {unknown} of {all} packages could not be asked for, the advisory database\n"
    "being out of reach where this was made; with the network, `make audit` fills them in."
)


def run(*command: str) -> Any:
    """Returns what a program prints as JSON; it may exit with 1 to say that it found something."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    if not done.stdout.strip():
        sys.exit(f"audit: {command[0]} told nothing: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def short(licence: str) -> str:
    """Returns a licence in a few words: some packages put its whole text in its place."""
    first = licence.strip().splitlines()[0] if licence.strip() else "UNKNOWN"
    return (first if len(first) <= 70 else first[:67] + "...").replace("|", "/")


def licences(python: str) -> dict[str, tuple[str, str]]:
    """Returns version and licence of each package of an environment, by its name in lower case."""
    told = run("piplicenses", "--python", python, "--from=mixed", "--format=json", "--with-system")
    return {
        entry["Name"].lower().replace("_", "-").replace(".", "-"): (
            entry["Version"],
            short(entry["License"]),
        )
        for entry in told
    }


def vulnerabilities(lock: str) -> dict[str, str]:
    """Returns the advisories of each locked package: none, their names, or that nobody could say.

    A package that the database does not answer for is not one without vulnerabilities.
    """
    told = run("pip_audit", "--requirement", lock, "--disable-pip", "--no-deps", "--format=json")
    return {
        entry["name"]: UNKNOWN
        if "skip_reason" in entry
        else ", ".join(found["id"] for found in entry["vulns"]) or "none"
        for entry in told["dependencies"]
    }


def table(rows: Iterable[tuple[str, ...]], *head: str) -> str:
    """Returns rows as a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Writes the table; fails if a vulnerability is known, or none could be asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="interpreter of the audited environment")
    parser.add_argument("--lock", default="requirements.lock")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    held, advisories = licences(options.python), vulnerabilities(options.lock)
    if absent := sorted(advisories.keys() - held.keys()):
        sys.exit(f"audit: {options.python} lacks {', '.join(absent)}: install {options.lock} there")
    rows = [(name, *held[name], advisories[name]) for name in sorted(advisories)]
    unknown = [name for name, *_, found in rows if found == UNKNOWN]
    found = [(name, what) for name, *_, what in rows if what not in ("none", UNKNOWN)]
    said = NOT_ASKED.format(unknown=len(unknown), all=len(rows)) if unknown else ASKED
    counts = Counter(licence for _, _, licence, _ in rows).most_common()
    text = HEAD.format(platform=sys.platform, vulnerabilities=said)
    text += table(((licence, str(count)) for licence, count in counts), "licence", "packages")
    text += "\n" + table(rows, "package", "version", "licence", "known vulnerabilities")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(f"Licences of {len(rows)} packages are in {options.out}")
    if found:
        sys.exit("audit: known vulnerabilities: " + "; ".join(": ".join(pair) for pair in found))
    if unknown:
        sys.exit(
            f"audit: the advisory database did not answer for {len(unknown)} of {len(rows)} "
            "packages: their vulnerabilities are not looked up; run this with the network"
        )


if __name__ == "__main__":
    main()
