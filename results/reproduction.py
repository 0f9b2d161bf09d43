#!/usr/bin/env python3
"""Builds the tables of docs/reproduction.md, and those beside the logs, from the logs.

    python results/reproduction.py            writes them
    python results/reproduction.py --check    fails if docs/reproduction.md says anything else

Needs this package installed.
"""

import sys
from pathlib import Path

from summarize import with_table

from symskip_jax.reproduction.command import write_tables
from symskip_jax.reproduction.definitions import DEFINITIONS, define
from symskip_jax.reproduction.document import all_sections
from symskip_jax.reproduction.summary import measure

RESULTS = Path(__file__).resolve().parent
PAGE = RESULTS.parent / "docs" / "reproduction.md"


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    checking = "--check" in sys.argv[1:]
    if not checking:
        for name in DEFINITIONS:
            for scale in ("paper", "small"):
                experiment = define(name, scale)
                if any(it.values for it in measure(experiment, RESULTS)):
                    write_tables(experiment, RESULTS)
    old = PAGE.read_text()
    new = with_table(old, "experiments", all_sections(RESULTS))
    if checking:
        if new != old:
            print("docs/reproduction.md differs from the logs: run python results/reproduction.py")
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
