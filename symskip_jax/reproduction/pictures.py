"""What the runs of an experiment drew, for its page."""

from itertools import zip_longest
from pathlib import Path

from symskip_jax.reproduction.grid import Experiment
from symskip_jax.reproduction.sameness import is_done


def drawn(experiment: Experiment, results: Path) -> dict[str, list[Path]]:
    """Returns the PNGs of the first seed of each run that was made to look, by its name.

    Args:
        experiment: whose runs.
        results: the root below which they lie; what is not done has none.
    """
    runs = [it for it in experiment.runs() if it.verb == "visualize"]
    return {
        run.name: sorted(run.folder(results, experiment.scale, 0).glob("*.png"))
        for run in runs
        if is_done(run, results, experiment.scale, 0)
    }


def beside_one_another(experiment: Experiment, results: Path, prefix: str = "") -> str:
    """Returns a Markdown table with a column for each run that drew something; "" of none.

    Args:
        experiment: whose runs.
        results: the root below which the pictures lie.
        prefix: of the links: the way from the page to the experiment's folder.
    """
    found = {name: paths for name, paths in drawn(experiment, results).items() if paths}
    if not found:
        return ""
    folder = results / experiment.name / experiment.scale
    rows = [[*found], ["---"] * len(found)]
    rows += [
        [f"![{it.stem}]({prefix}{it.relative_to(folder)})" if it else "" for it in paths]
        for paths in zip_longest(*found.values())
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
