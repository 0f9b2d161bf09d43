"""`symskip export` and `symskip import`."""

import argparse
from pathlib import Path

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import STEP_HELP, AddVerb, folder_here
from symskip_jax.errors import UserError

EXAMPLES = {
    "export": """\
examples:
  symskip export runs/4k --format safetensors
  symskip export runs/4k --format onnx --part encoder --out encoder.onnx
  symskip export runs/4k-ft --format stablehlo --step best --data-license "CC BY 4.0"
""",
    "import": """\
examples:
  symskip import autoencoder.safetensors --workdir runs/theirs
  symskip finetune --config cifar10_4k --init runs/theirs
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verbs take."""
    export = add("export", "a run's network as a file for torch, ONNX runtimes or JAX alone", False)
    export.add_argument(
        "run", nargs="?", type=folder_here, metavar="WORKDIR", help="folder of the run"
    )
    export.add_argument("--workdir", type=folder_here, help="the same, by its name")
    export.add_argument(
        "--format",
        required=True,
        choices=("safetensors", "stablehlo", "onnx"),
        help="safetensors, with torch's names; stablehlo, of JAX; onnx (extra onnx)",
    )
    export.add_argument(
        "--part",
        choices=("encoder", "autoencoder", "classifier", "segmenter"),
        help="default what the run trained",
    )
    export.add_argument("--step", default="latest", help=STEP_HELP)
    export.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default WORKDIR/exports/PART_STEP.FORMAT; its model card is FILE.md",
    )
    export.add_argument(
        "--data-license", metavar="TEXT", help="of what it was trained on, for the model card"
    )
    importing = add("import", "a safetensors file of `symskip export` as a run again", False)
    importing.add_argument("file", type=Path, metavar="FILE", help="the safetensors file")
    importing.add_argument(
        "--workdir", required=True, type=folder_here, help="folder to make of it"
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status.

    Raises:
        UserError: no folder, or two; or as the verbs themselves say.
    """
    if arguments.verb == "export" and (arguments.run is None) == (arguments.workdir is None):
        raise UserError("`symskip export` takes one folder of a run: `symskip export WORKDIR ...`")
    prepare_libraries()
    if arguments.verb == "import":
        from symskip_jax.experiments.importing import import_file

        import_file(arguments.file, arguments.workdir)
        return 0
    from symskip_jax.experiments.export import export

    export(
        arguments.run or arguments.workdir,
        form=arguments.format,
        part=arguments.part,
        step=arguments.step,
        out=arguments.out,
        data_license=arguments.data_license,
    )
    return 0
