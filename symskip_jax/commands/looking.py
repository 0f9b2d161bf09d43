"""`symskip probe` and `symskip visualize`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import STEP_HELP, AddVerb, folder_here
from symskip_jax.errors import UserError

EXAMPLES = {
    "probe": """\
examples:
  symskip probe --workdir runs/4k
  symskip probe --workdir runs/4k-ft --kind classification --beside runs/4k
  symskip probe --workdir runs/4k --kind linear few_shot knn --layers encoder.3.relu
  symskip probe --config configs/cifar10_4k.py --workdir runs/4k-untrained --init_only
""",
    "visualize": """\
examples:
  symskip visualize --workdir runs/4k
  symskip visualize --workdir runs/4k --layer encoder.2.relu --images 4
  symskip visualize --workdir runs/animals --config.data.test_split=animals_validation \
      --against vehicles_validation
  symskip visualize --reconstructions --workdir runs/gaussian runs/big_block runs/small_blocks
""",
}

_CONFIG = "take the data from this one instead of the run's own"


def describe(add: AddVerb) -> None:
    """Says what the verbs take."""
    probe = add("probe", "how well each layer classifies and rebuilds images, frozen", True)
    probe.add_argument("--workdir", required=True, type=folder_here, help="folder of the run")
    probe.add_argument("--step", default="latest", help=STEP_HELP)
    probe.add_argument(
        "--kind",
        nargs="+",
        choices=("classification", "linear", "reconstruction", "both", "few_shot", "knn", "all"),
        default=["both"],
        help="linear is another word for classification; both, the default, is the first and "
        "reconstruction; all is everything",
    )
    probe.add_argument(
        "--layers", nargs="+", metavar="LAYER", help="as encoder.0.relu; default all ReLUs"
    )
    probe.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON to write; default probe.json in the workdir"
    )
    probe.add_argument(
        "--beside",
        nargs="+",
        type=Path,
        default=[],
        metavar="WORKDIR",
        help="folders probed before, to draw in the same chart",
    )
    probe.add_argument("--config", metavar="FILE", help=_CONFIG)
    probe.add_argument(
        "--init_only",
        action="store_true",
        help="the network of --config, untrained, as a control; WORKDIR is only written to",
    )
    visualize = add(
        "visualize", "what a layer shows, clean and corrupted; or what is rebuilt", True
    )
    visualize.add_argument(
        "--workdir",
        required=True,
        type=folder_here,
        nargs="+",
        help="folder of the run, or of several",
    )
    visualize.add_argument("--step", default="latest", help=STEP_HELP)
    visualize.add_argument(
        "--reconstructions",
        action="store_true",
        help="draw what each of the runs rebuilds, instead of the maps of one",
    )
    visualize.add_argument(
        "--layer", help="as encoder.11.relu; default the 12th ReLU, or the deepest of fewer"
    )
    visualize.add_argument(
        "--against",
        metavar="SPLIT",
        help="draw its images too, and the channels that tell the two apart best",
    )
    visualize.add_argument(
        "--images", type=int, default=6, metavar="N", help="how many are drawn; default 6"
    )
    visualize.add_argument(
        "--channels", type=int, default=8, metavar="N", help="how many maps of each; default 8"
    )
    visualize.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write to; default images in the workdir"
    )
    visualize.add_argument("--config", metavar="FILE", help=_CONFIG)


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status.

    Raises:
        UserError: they make no sense together, or as the verbs themselves say.
    """
    prepare_libraries()
    if arguments.verb == "probe":
        from symskip_jax.experiments.probe import ALL_KINDS, KINDS, probe

        meant = {"linear": ("classification",), "both": KINDS, "all": ALL_KINDS}
        asked = {kind for word in arguments.kind for kind in meant.get(word, (word,))}

        if arguments.init_only and arguments.step != "latest":
            raise UserError(
                f"--step {arguments.step} means nothing with --init_only: leave one of them away"
            )
        probe(
            arguments.workdir,
            step=arguments.step,
            kinds=[kind for kind in ALL_KINDS if kind in asked],
            layers=arguments.layers,
            out=arguments.out,
            beside=arguments.beside,
            init_only=arguments.init_only,
            config_path=arguments.config,
            overrides=overrides,
        )
        return 0
    from symskip_jax.experiments.visualize import visualize_maps, visualize_reconstructions

    for name in ("images", "channels"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)} must be 1 or more")
    if arguments.reconstructions:
        for name in ("layer", "against"):
            if (value := getattr(arguments, name)) is not None:
                raise UserError(
                    f"--{name} {value} means nothing with --reconstructions: leave one of them away"
                )
        visualize_reconstructions(
            arguments.workdir,
            step=arguments.step,
            images=arguments.images,
            out=arguments.out,
            config_path=arguments.config,
            overrides=overrides,
        )
        return 0
    if len(arguments.workdir) > 1:
        raise UserError(
            f"--workdir names {len(arguments.workdir)} runs, and maps are drawn of one; "
            "--reconstructions draws several"
        )
    visualize_maps(
        arguments.workdir[0],
        step=arguments.step,
        layer=arguments.layer,
        against=arguments.against,
        images=arguments.images,
        channels=arguments.channels,
        out=arguments.out,
        config_path=arguments.config,
        overrides=overrides,
    )
    return 0
