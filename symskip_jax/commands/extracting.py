"""`symskip features`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import STEP_HELP, AddVerb, folder_here

EXAMPLES = {
    "features": """\
examples:
  symskip features runs/4k --out features.npz
  symskip features runs/4k --data folder:PHOTOS --split train --out photos.parquet
  symskip features runs/4k-ft --layer encoder.3.relu --grid 4 --out cells.npz
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb takes."""
    features = add("features", "write what a frozen network makes of every image", True)
    features.add_argument("workdir", type=folder_here, metavar="RUN", help="folder of the run")
    features.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="ends in .npz or .parquet"
    )
    features.add_argument("--data", metavar="NAME", help="dataset; default the run's own")
    features.add_argument("--split", help="of the dataset; default the one the run measures on")
    features.add_argument(
        "--layer",
        help="as encoder.3.relu, decoder.1.raw or head.logits; default the encoder's deepest ReLU",
    )
    features.add_argument(
        "--grid",
        type=int,
        default=1,
        metavar="G",
        help="means over G x G cells: 1, the default, is the mean over all positions; 0 keeps all",
    )
    features.add_argument("--step", default="latest", help=STEP_HELP)
    features.add_argument(
        "--config", metavar="FILE", help="take the data from this one instead of the run's own"
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    prepare_libraries()
    from symskip_jax.experiments.features import features

    features(
        arguments.workdir,
        arguments.out,
        data=arguments.data,
        split=arguments.split,
        layer=arguments.layer,
        grid=arguments.grid,
        step=arguments.step,
        config_path=arguments.config,
        overrides=overrides,
    )
    return 0
