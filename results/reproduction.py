#!/usr/bin/env python3
"""Builds the tables of docs/reproduction.md, of README.md and beside the logs, from the logs.

    python results/reproduction.py            writes them
    python results/reproduction.py --check    fails if one of them says anything else

Needs this package installed.
"""

import sys
from pathlib import Path

from summarize import with_table

from symskip_jax.reproduction.command import write_tables
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.document import all_sections
from symskip_jax.reproduction.grid import Scale
from symskip_jax.reproduction.summary import measure
from symskip_jax.reproduction.tables import files, markdown

RESULTS = Path(__file__).resolve().parent
ROOT = RESULTS.parent
SCALES: tuple[Scale, ...] = ("paper", "small")


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    checking = "--check" in sys.argv[1:]
    differing: list[Path] = []
    for experiment in (define(name, scale) for name in DEFINITIONS for scale in SCALES):
        if not checking:
            write_tables(experiment, RESULTS)
            continue
        folder = RESULTS / experiment.name / experiment.scale
        measured = measure(experiment, RESULTS)
        for name, text in files(experiment, measured, RESULTS).items():
            if not (folder / name).exists() or (folder / name).read_text() != text:
                differing.append(folder / name)
    of_readme = {
        f"table2_{scale}": markdown(measure(define("table2", scale), RESULTS)) for scale in SCALES
    }
    for path, name, table in (
        (ROOT / "docs" / "reproduction.md", "experiments", all_sections(RESULTS)),
        *((ROOT / "README.md", name, table) for name, table in of_readme.items()),
    ):
        old = path.read_text()
        new = with_table(old, name, table)
        if not checking:
            path.write_text(new)
        elif new != old:
            differing.append(path)
    for path in differing:
        print(f"{path.relative_to(ROOT)} differs from the logs: run python results/reproduction.py")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
