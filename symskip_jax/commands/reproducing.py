"""`symskip reproduce`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import AddVerb

EXAMPLES = {
    "reproduce": """\
examples:
  symskip reproduce table2 --scale small
  symskip reproduce table2 --scale paper --dry-run
  symskip reproduce table1 --only cifar10_skip --seeds 1 --data cifar10=npz:cifar10.npz
  symskip reproduce figure4 --scale small --data voc2012=voc_segmentation:VOCdevkit/VOC2012
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb takes."""
    reproduce = add("reproduce", "a table or figure of the paper, whole", False)
    reproduce.add_argument(
        "experiment",
        metavar="EXPERIMENT",
        help="table1 to table5, figure2 to figure6, supplement_c, supplement_d, restoration, "
        "rates or recipes",
    )
    reproduce.add_argument(
        "--scale",
        choices=("paper", "small", "smoke"),
        default="small",
        help="paper; small (the default), for two CPU cores; smoke, to see that everything runs",
    )
    reproduce.add_argument(
        "--seeds", metavar="N", help="how many, from 0 on; or which: 3-4, say on another machine"
    )
    reproduce.add_argument(
        "--only", metavar="CELL", help="the runs of one row, by its name or that of its run"
    )
    reproduce.add_argument(
        "--dry-run", action="store_true", help="print commands, their cost and the time expected"
    )
    reproduce.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="where a dataset is: cifar10, cifar100, stl10, imagenet, voc2007, voc2012, "
        "photographs or set12",
    )
    reproduce.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="working folders, with the checkpoints",
    )
    reproduce.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="what is kept: DIR/EXPERIMENT/SCALE gets logs, table and plots",
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    prepare_libraries()
    import jax

    # This process counts operations alone: the accelerator is for the commands that it starts.
    jax.config.update("jax_platforms", "cpu")
    from symskip_jax.reproduction.command import reproduce

    return reproduce(
        arguments.experiment,
        scale=arguments.scale,
        seeds=arguments.seeds,
        only=arguments.only,
        dry_run=arguments.dry_run,
        data=arguments.data,
        runs=arguments.runs,
        results=arguments.results,
    )
