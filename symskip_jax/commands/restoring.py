"""`symskip restore`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import STEP_HELP, AddVerb

EXAMPLES = {
    "restore": """\
examples:
  symskip restore noisy.jpg --checkpoint runs/red_net
  symskip restore PHOTOS --checkpoint runs/red_net --out clean
  symskip restore Set12 --checkpoint runs/red_net --sigma 30
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verb takes."""
    restore = add("restore", "apply a pre-trained network to images of any size", False)
    restore.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them"
    )
    restore.add_argument(
        *("--checkpoint", "--workdir"),
        dest="workdir",
        required=True,
        type=Path,
        metavar="WORKDIR",
        help="folder of the pre-training",
    )
    restore.add_argument("--step", default="latest", help=STEP_HELP)
    restore.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where PNG files and restore.json go; default WORKDIR/restored",
    )
    restore.add_argument(
        "--sigma",
        type=float,
        help="first add Gaussian noise of this deviation (0-255 scale), and measure what is left",
    )
    restore.add_argument(
        "--tile", type=int, default=512, help="pixels that the network sees at once; default 512"
    )
    restore.add_argument(
        "--overlap",
        default="auto",
        help="pixels that tiles share; auto (the default): so many that no cut can be seen",
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    prepare_libraries()
    from symskip_jax.experiments.restore import restore

    restore(
        arguments.images,
        arguments.workdir,
        arguments.step,
        arguments.out,
        arguments.sigma,
        arguments.tile,
        arguments.overlap,
    )
    return 0
