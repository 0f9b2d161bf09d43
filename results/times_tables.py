#!/usr/bin/env python3
"""Builds the tables of how long commands and notebooks take, in README.md and docs/notebooks.md.

    python results/times_tables.py            writes them
    python results/times_tables.py --check    fails if a document says anything else

benchmarks/commands.py wrote the JSON.
"""

import json
import sys
from typing import Any

from summarize import README, RESULTS, with_table

NOTEBOOKS = RESULTS.parent / "docs" / "notebooks.md"


def table(log: dict[str, Any], *, notebooks: bool) -> str:
    """Returns what each took, of the notebooks or of the commands."""
    setting = log["setting"]
    heading = f"{setting['cores']} CPU cores ({setting['cpu']}), JAX {setting['versions']['jax']}"
    lines = [f"| {heading} | seconds | of the CPU |", "| --- | --- | --- |"]
    for name, took in log["times"].items():
        if name.endswith(".ipynb") == notebooks:
            lines.append(f"| `{name}` | {took['seconds']:.0f} | {took['cpu_seconds']:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    log = json.loads((RESULTS / "times" / "cpu.json").read_text())
    readme, notebooks = README.read_text(), NOTEBOOKS.read_text()
    new_readme = with_table(readme, "times", table(log, notebooks=False))
    new_readme = with_table(new_readme, "notebook_times", table(log, notebooks=True))
    new_notebooks = with_table(notebooks, "notebook_times", table(log, notebooks=True))
    changed = (new_readme, new_notebooks) != (readme, notebooks)
    if "--check" in sys.argv[1:]:
        if changed:
            print("a document differs from results/times: run python results/times_tables.py")
        return int(changed)
    README.write_text(new_readme)
    NOTEBOOKS.write_text(new_notebooks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
