#!/usr/bin/env python3
"""Builds the tables on digits in README.md and docs/features.md from the logs in this folder.

    python results/summarize.py            writes them
    python results/summarize.py --check    fails if one of them says anything else

Needs nothing but Python. A log is the config.json and metrics.jsonl that a run left behind.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent
README = RESULTS.parent / "README.md"
FEATURES = RESULTS.parent / "docs" / "features.md"

QUICKSTART = [
    ("scratch_gaussian", "from scratch, Gaussian(0, 0.01)"),
    ("scratch_he", "from scratch, He"),
    ("finetune", "pre-trained without labels"),
]


def final_test(run: Path) -> dict[str, Any] | None:
    """Returns the last test record of a finished run, or None where there is no such run."""
    if not (run / "metrics.jsonl").exists():
        return None
    config = json.loads((run / "config.json").read_text())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tests = [record for record in records if record["split"] == "test"]
    epochs = config[f"config.{config['verb']}.epochs"]
    return tests[-1] if tests and tests[-1]["epoch"] == epochs else None


def mean_std(values: list[float], digits: int) -> str:
    """Returns mean ± sample standard deviation; one value as it is; of none that it was not run."""
    if not values:
        return "not run"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def each(values: list[float], digits: int) -> str:
    """Returns the values one by one."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def quickstart_table() -> str:
    """Returns the table of `make quickstart`."""
    lines = [
        "| start | test accuracy (%) | each seed | at a rate of 5e-3 | each seed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for folder, name in QUICKSTART:
        cells = [name]
        for suffix in ("", "_rate_5e-3"):
            runs = sorted((RESULTS / "quickstart").glob(f"seed_*/{folder}{suffix}"))
            accuracies = [100 * test["accuracy"] for run in runs if (test := final_test(run))]
            cells += [mean_std(accuracies, 1), each(accuracies, 1)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def layers_table() -> str:
    """Returns the probes of the digits' network."""
    lines = [
        "| layer | linear (%) | few_shot, 10 a class (%) | knn (%) | rebuilt (dB) | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    probed = json.loads((RESULTS / "looking" / "digits" / "probe.json").read_text())
    kinds = ("classification", "few_shot", "knn", "reconstruction")
    for layer, found in probed["layers"].items():
        linear, few, neighbors, rebuilt = (found[kind] for kind in kinds)
        assert few["k"] == 10
        cells = [
            f"`{layer}`",
            f"{100 * linear['accuracy']:.1f}",
            f"{100 * few['accuracy']:.1f} ± {100 * few['std']:.1f}",
            f"{100 * neighbors['accuracy']:.1f}",
            f"{rebuilt['psnr']:.1f}",
            ", ".join(f"{found[kind]['seconds']:.1f}" for kind in kinds),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str, name: str, table: str) -> str:
    """Returns a text with a table between its two markers."""
    opening, closing = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, rest = text.split(opening)
    _, after = rest.split(closing)
    return before + opening + table + closing + after


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    status = 0
    for path, name, table in (
        (README, "quickstart", quickstart_table()),
        (FEATURES, "digits_layers", layers_table()),
    ):
        old = path.read_text()
        new = with_table(old, name, table)
        if "--check" not in sys.argv[1:]:
            path.write_text(new)
        elif new != old:
            print(f"{path.name} differs from the logs: run python results/summarize.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
