"""Results of `symskip bench step` and `train` as Markdown."""

from typing import Any


def step_lines(results: dict[str, Any]) -> list[str]:
    """Returns the lines of a step's table and what is to be said below it."""
    problem, summary = results["problem"], results["summary"]
    ours = summary["contenders"]["ours"]
    device = results["device"]["machine"]
    lines = [
        f"{problem['network']['name']}, {problem['parameters']:,} parameters, batch "
        f"{problem['batch_size']} of {_size(problem['crop'])}, {problem['dtype']}, on "
        f"{_device(results)}: medians of {len(results['rounds'])} rounds",
        "",
        "| step of | ms | images/s | GFLOP/s | of the matrix rate | first step, s | peak MiB "
        "| ours is so many times as fast |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in summary["contenders"].items():
        begun = results["contenders"][name]
        ratio = summary["times_as_fast_as"].get(name)
        cells = [
            name,
            f"{1000 * figures['step_s']:.1f}",
            f"{figures['images_per_s']:.1f}",
            f"{figures['flop_per_s'] / 1e9:.1f}",
            f"{figures['share_of_matrix_rate']:.1%}",
            f"{begun['first_step_s']:.1f}",
            "unknown" if begun["peak_bytes"] < 0 else f"{begun['peak_bytes'] / 2**20:.0f}",
            "" if ratio is None else _spread(ratio, "{:.2f}"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    checked = results["check"]["relative_differences"]
    steps = results["device"]["ours"]["steps_per_dispatch"]
    side = device["matrix"][0]
    lines += [
        "",
        f"corruption and augmentation alone: {_spread(summary['transform_share'], '{:.1%}')} of "
        f"our step; {steps} {'step' if steps == 1 else 'steps'} a dispatch",
        f"operations of a step: {problem['flops_per_step'] / 1e9:,.1f} GFLOP; matrix product "
        f"({device['matrix_dtype']}, {side}x{side}): {summary['matrix_flop_per_s'] / 1e9:,.0f} "
        f"GFLOP/s; memory read and written: {summary['moved_bytes_per_s'] / 1e9:,.1f} GB/s; "
        f"ours reaches {ours['share_of_matrix_rate']:.1%} of the former",
    ]
    if checked:
        furthest = ", ".join(
            f"{figure} {max(it[figure] for it in checked.values()):.1e} (tolerance {allowed:g})"
            for figure, allowed in results["check"]["tolerances"].items()
        )
        lines.append(f"all compute the same; the furthest from ours, relative: {furthest}")
    return lines


def train_lines(results: dict[str, Any]) -> list[str]:
    """Returns the lines of a table of epochs."""
    problem = results["problem"]
    lines = [
        f"epochs of {problem['steps_per_epoch']} steps, batch {problem['batch_size']} of "
        f"{_size(problem['crop'])}, on {_device(results)}",
        "",
        "| round | epoch, s | steps alone, s | epoch / steps | in dispatches, s "
        "| evaluation apart, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, it in enumerate(results["rounds"], 1):
        lines.append(
            f"| {number} | {it['epoch_s']:.2f} | {it['steps_s']:.2f} | "
            f"{it['epoch_s'] / it['steps_s']:.3f} | {it['dispatches_s']:.2f} | "
            f"{it['evaluation_s']:.2f} |"
        )
    ratio = _spread(results["summary"]["epoch_over_steps"], "{:.3f}")
    beside = [it["epoch_s"] / it["dispatches_s"] for it in results["rounds"]]
    return [
        *lines,
        "",
        f"an epoch takes {ratio} times as long as its steps alone, and {min(beside):.3f} to "
        f"{max(beside):.3f} times as long as the dispatches that are in it",
    ]


def stage_lines(results: dict[str, Any]) -> list[str]:
    """Returns the lines of a table of stages, the convolutions by shape, and of the limits."""
    problem, limits = results["problem"], results["limits"]
    *stages, step = results["stages"]
    whole = step["seconds"]
    lines = [
        f"{problem['network']['name']}, batch {problem['batch_size']} of "
        f"{_size(problem['crop'])}, {problem['dtype']}, on {_device(results)}: a step takes "
        f"{1000 * whole:.1f} ms",
        "",
        "| stage | times | ms in all | of the step | GFLOP/s: output, input and kernel gradient |",
        "| --- | --- | --- | --- | --- |",
    ]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for stage in stages:
        by_name.setdefault(stage["name"], []).append(stage)
    for name, parts in by_name.items():
        seconds = sum(it["count"] * it["seconds"] for it in parts)
        rates = [f"{it['flops'] / it['seconds'] / 1e9:.0f}" for it in parts if it["flops"]]
        lines.append(
            f"| {name} | {parts[0]['count']} | {1000 * seconds:.1f} | {seconds / whole:.1%} | "
            f"{', '.join(rates)} |"
        )
    rest = whole - sum(it["count"] * it["seconds"] for it in stages)
    operations = limits["flops"] / limits["matrix_flop_per_s"]
    traffic = limits["bytes"] / limits["moved_bytes_per_s"]
    return [
        *lines,
        f"| what these do not add up to | | {1000 * rest:.1f} | {rest / whole:.1%} | |",
        "",
        f"limits: {limits['flops'] / 1e9:,.1f} GFLOP at {limits['matrix_flop_per_s'] / 1e9:,.0f} "
        f"GFLOP/s (a matrix product in the same run) take {1000 * operations:.1f} ms, and "
        f"{limits['bytes'] / 1e9:,.2f} GB at {limits['moved_bytes_per_s'] / 1e9:,.1f} GB/s take "
        f"{1000 * traffic:.1f} ms; the step takes {whole / max(operations, traffic):.2f} times the "
        "longer of the two",
    ]


def _spread(values: dict[str, float], form: str) -> str:
    low, high = form.format(values["min"]), form.format(values["max"])
    return f"{form.format(values['median'])} ({low} to {high})"


def _size(size: list[int]) -> str:
    return "x".join(map(str, size))


def _device(results: dict[str, Any]) -> str:
    of_ours, setting = results["device"]["ours"], results["setting"]
    if of_ours["platform"] == "cpu":
        return f"{setting['cpu']}, {setting['cores']} cores"
    return of_ours["device"]
