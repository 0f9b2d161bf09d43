#!/usr/bin/env python3
"""Builds the tables of docs/reproduction.md, of README.md and beside the logs, from the logs.

    python results/reproduction.py            writes them
    python results/reproduction.py --check    fails if one of the two says anything else

Needs this package installed.
"""

import sys
from pathlib import Path

from summarize import with_table

from symskip_jax.reproduction.command import write_tables
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.document import all_sections
from symskip_jax.reproduction.summary import measure
from symskip_jax.reproduction.tables import markdown

RESULTS = Path(__file__).resolve().parent
ROOT = RESULTS.parent


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    checking = "--check" in sys.argv[1:]
    if not checking:
        for name in DEFINITIONS:
            for scale in ("paper", "small"):
                experiment = define(name, scale)
                if any(it.values for it in measure(experiment, RESULTS)):
                    write_tables(experiment, RESULTS)
    table2 = markdown(measure(define("table2", "small"), RESULTS))
    differing = 0
    for path, name, table in (
        (ROOT / "docs" / "reproduction.md", "experiments", all_sections(RESULTS)),
        (ROOT / "README.md", "table2_small", table2),
    ):
        old = path.read_text()
        new = with_table(old, name, table)
        if checking and new != old:
            print(f"{path.name} differs from the logs: run python results/reproduction.py")
            differing = 1
        if not checking:
            path.write_text(new)
    return differing


if __name__ == "__main__":
    sys.exit(main())
