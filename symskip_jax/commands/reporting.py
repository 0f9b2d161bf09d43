"""`symskip report`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import AddVerb, folder_here

EXAMPLES = {
    "report": """\
examples:
  symskip report runs/cifar10
  symskip report runs/4k-ft runs/4k-scratch --out comparison.html

a run that goes on, or died, is shown as far as it came
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb takes."""
    report = add("report", "a page of a run, or of several beside one another", False)
    report.add_argument(
        "workdirs", type=folder_here, nargs="+", metavar="WORKDIR", help="folders of the runs"
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML file to write; default report.html in the run's folder, or comparison.html in "
        "the first one's",
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    prepare_libraries()
    import jax

    # Beside a run that goes on, whose accelerator is its own.
    jax.config.update("jax_platforms", "cpu")
    from symskip_jax.experiments.report import report

    report(arguments.workdirs, arguments.out)
    return 0
