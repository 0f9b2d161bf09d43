#!/usr/bin/env python3
"""Builds the tables on speed in README.md and docs/performance.md from the JSON in results/speed.

    python results/speed_tables.py            writes them
    python results/speed_tables.py --check    fails if a document says anything else

benchmarks/cpu.sh wrote the JSON; each file holds its command.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from summarize import README, RESULTS, with_table

from symskip_jax.bench.tables import stage_lines, step_lines, train_lines

DOCUMENT = RESULTS.parent / "docs" / "performance.md"
SIZES = ("n32_batch32", "n128_batch16")
# The environment that benchmarks/cpu.sh gives to every contender of the last of its steps.
TUNED = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution",
}


def log(name: str) -> dict[str, Any]:
    """Returns the results of a measurement."""
    return json.loads((RESULTS / "speed" / f"{name}.json").read_text())


def with_command(results: dict[str, Any], lines: list[str]) -> str:
    """Returns lines below the command that made them."""
    return "\n".join([f"    {results['setting']['command']}", "", *lines])


def tried_table() -> str:
    """Returns what each trick earns on a CPU."""
    results = log("cpu_tried_n32_batch32")
    lines = [
        "| variant | what it is | ms a step | times the step as it is | page faults a step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, it in results["variants"].items():
        cells = [
            name,
            it["what"],
            f"{1000 * it['step_s']:.0f}",
            f"{it['times_the_kept_step']:.2f}",
            f"{it['page_faults']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return with_command(results, lines)


def tuned_table() -> str:
    """Returns the step where all contenders have what ours sets for itself on a CPU."""
    results = log("cpu_step_n32_batch32_tuned")
    tuned = [f"    {name}={value} \\" for name, value in TUNED.items()]
    return "\n".join([*tuned, with_command(results, step_lines(results))])


def convolutions_table() -> str:
    """Returns XLA's convolutions beside products of matrices."""
    results = log("cpu_convolutions")
    ways = list(results["records"][0]["ms"])
    lines = [
        f"| batch, side, channels in and out | {' | '.join(f'{way}, ms' for way in ways)} |",
        f"| --- |{' --- |' * len(ways)}",
    ]
    for record in results["records"]:
        cells = [", ".join(map(str, record["shape"]))]
        cells += [f"{record['ms'][way]:.1f}" for way in ways]
        lines.append(f"| {' | '.join(cells)} |")
    return with_command(results, lines)


def start_table() -> str:
    """Returns how long a start takes."""
    results = log("cpu_start")
    rows = {
        "first step, cache empty": [results["cold_s"]],
        "first step, cache warm": results["warm_s"],
        "`symskip --help`": results["help_s"],
    }
    lines = ["| from the command to | seconds (median) | each |", "| --- | --- | --- |"]
    for name, seconds in rows.items():
        each = ", ".join(f"{it:.2f}" for it in seconds)
        lines.append(f"| {name} | {statistics.median(seconds):.2f} | {each} |")
    return with_command(results, lines)


def ratios_table() -> str:
    """Returns how many times as fast as its peers the step is."""
    steps = {size: log(f"cpu_step_{size}")["summary"] for size in SIZES}
    peers = {"torch": "torch, eager, channels_last"}
    peers |= {"torch_compile": "torch.compile", "flax": "plain Flax with nn.ConvTranspose"}
    lines = [
        "| Network-1, two CPU cores, float32 | n=32, batch 32 | n=128, batch 16 |",
        "| --- | --- | --- |",
    ]
    speeds = [f"{it['contenders']['ours']['images_per_s']:.1f}" for it in steps.values()]
    lines.append(f"| images/s of this package | {' | '.join(speeds)} |")
    for peer, text in peers.items():
        cells = []
        for summary in steps.values():
            it = summary["times_as_fast_as"].get(peer)
            cells.append(
                "not run"
                if it is None
                else f"{it['median']:.2f} ({it['min']:.2f} to {it['max']:.2f})"
            )
        lines.append(f"| times as fast as {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gpu_runs_table() -> str:
    """Returns how fast the runs of table 2 were on a GPU; images/s is the median of dispatches."""
    lines = [
        "| run, seed 0 | images/s in training | TFLOP/s of it | whole run | of it training |",
        "| --- | --- | --- | --- | --- |",
    ]
    folder = RESULTS / "table2" / "paper"
    for name in ("pretrain_skip", "skip", "random_gaussian", "random_he"):
        note = json.loads((folder / name / "seed_0" / "run.json").read_text())
        log = (folder / name / "seed_0" / "metrics.jsonl").read_text().splitlines()
        records = [it for it in map(json.loads, log) if it["split"] == "train"]
        speed = statistics.median(it["images_per_second"] for it in records)
        training = sum(it["seconds"] for it in records)
        images = sum(it["seconds"] * it["images_per_second"] for it in records)
        cells = [
            f"`{name}`{', GPU shared' if name.startswith('random') else ''}",
            f"{speed:,.0f}",
            f"{note['flops'] / images * speed / 1e12:.0f}",
            f"{note['starts'][0]['seconds']:.0f} s",
            f"{training / note['starts'][0]['seconds']:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Writes or checks the tables and returns the exit status."""
    documents: dict[Path, dict[str, str]] = {
        README: {"speed": ratios_table()},
        DOCUMENT: {
            **{
                f"speed_step_{size}": with_command(
                    log(f"cpu_step_{size}"), step_lines(log(f"cpu_step_{size}"))
                )
                for size in SIZES
            },
            "speed_step_tuned": tuned_table(),
            "speed_stages": with_command(
                log("cpu_stages_n32_batch32"), stage_lines(log("cpu_stages_n32_batch32"))
            ),
            "speed_tried": tried_table(),
            "speed_convolutions": convolutions_table(),
            "speed_epoch": with_command(
                log("cpu_train_n32_batch32"), train_lines(log("cpu_train_n32_batch32"))
            ),
            "speed_start": start_table(),
            "speed_gpu_runs": gpu_runs_table(),
        },
    }
    status = 0
    for path, tables in documents.items():
        old = new = path.read_text()
        for name, table in tables.items():
            new = with_table(new, name, table)
        if "--check" not in sys.argv[1:]:
            path.write_text(new)
        elif new != old:
            print(f"{path.name} differs from results/speed: run python results/speed_tables.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
