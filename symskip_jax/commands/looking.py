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
  symskip probe --config configs/cifar10_4k.py --workdir runs/4k-untrained --init-only
""",
    "visualize": """\
examples:
  symskip visualize runs/4k
  symskip visualize runs/4k-ft --layer encoder.0.relu encoder.7.relu --embedding pca
  symskip visualize runs/animals --config.data.test_split=animals_validation \
      --against vehicles_validation
  symskip visualize runs/gaussian runs/big_block runs/small_blocks --reconstructions

without --against and --reconstructions, everything: pictures, and report.html with all of them
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
        "--init-only",
        action="store_true",
        help="the network of --config, untrained, as a control; WORKDIR is only written to",
    )
    # As it was called at first, and as commands in `results` have it.
    probe.add_argument("--init_only", action="store_true", help=argparse.SUPPRESS)
    visualize = add(
        "visualize", "what a network has learned, in pictures and on one page; or one of them", True
    )
    visualize.add_argument(
        "runs", type=folder_here, nargs="*", metavar="WORKDIR", help="folder of the run"
    )
    visualize.add_argument(
        "--workdir",
        type=folder_here,
        nargs="+",
        default=[],
        help="the same, if you like; several with --reconstructions",
    )
    visualize.add_argument("--step", default="latest", help=STEP_HELP)
    visualize.add_argument(
        "--reconstructions",
        action="store_true",
        help="draw what each of the runs rebuilds, and nothing else",
    )
    visualize.add_argument(
        "--layer",
        nargs="+",
        help="as encoder.11.relu; default the first, the middle and the deepest ReLU, with "
        "--against the 12th, or the deepest of fewer; the last named gives the features",
    )
    visualize.add_argument(
        "--against",
        metavar="SPLIT",
        help="draw maps alone, of its images too, and the channels that tell the two apart best",
    )
    visualize.add_argument(
        "--images", type=int, default=6, metavar="N", help="how many are drawn; default 6"
    )
    visualize.add_argument(
        "--channels", type=int, default=8, metavar="N", help="how many maps of each; default 8"
    )
    visualize.add_argument(
        "--embedding",
        choices=("tsne", "pca"),
        default="tsne",
        help="how features are put into a plane; default tsne",
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
                f"--step {arguments.step} means nothing with --init-only: leave one of them away"
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
    _visualize(arguments, overrides)
    return 0


def _visualize(arguments: argparse.Namespace, overrides: list[str]) -> None:
    workdirs = _workdirs(arguments)
    common = {
        "step": arguments.step,
        "images": arguments.images,
        "out": arguments.out,
        "config_path": arguments.config,
        "overrides": overrides,
    }
    layers = arguments.layer
    if arguments.reconstructions:
        from symskip_jax.experiments.visualize import visualize_reconstructions

        visualize_reconstructions(workdirs, **common)
    elif arguments.against is not None:
        from symskip_jax.experiments.visualize import visualize_maps

        visualize_maps(
            workdirs[0],
            layer=None if layers is None else layers[0],
            against=arguments.against,
            channels=arguments.channels,
            **common,
        )
    else:
        from symskip_jax.experiments.visualize_page import visualize_page

        visualize_page(
            workdirs[0],
            layers=layers,
            channels=arguments.channels,
            embedding=arguments.embedding,
            **common,
        )


def _workdirs(arguments: argparse.Namespace) -> list[Path]:
    """Returns the folders to visualize, when all arguments make sense together."""
    workdirs = [*arguments.runs, *arguments.workdir]
    if not workdirs:
        raise UserError("`symskip visualize` needs the folder of a run: symskip visualize WORKDIR")
    for name in ("images", "channels"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)} must be 1 or more")
    layers, against = arguments.layer, arguments.against
    if arguments.reconstructions:
        named = {"--layer": layers and " ".join(layers), "--against": against}
        for option, value in named.items():
            if value is not None:
                raise UserError(
                    f"{option} {value} means nothing with --reconstructions: leave one of them away"
                )
    elif len(workdirs) > 1:
        raise UserError(
            f"{len(workdirs)} runs are named, and one can be looked at; "
            "--reconstructions draws several"
        )
    if against is not None and layers and len(layers) > 1:
        raise UserError(f"--layer {' '.join(layers)} names several, and --against draws one")
    return workdirs
