"""`symskip quickstart`, `pretrain`, `finetune` and `evaluate`."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from symskip_jax.commands.libraries import prepare_libraries
from symskip_jax.commands.parser import CONFIG_HELP, STEP_HELP, AddVerb, folder, folder_here

if TYPE_CHECKING:
    from ml_collections import ConfigDict

EXAMPLES = {
    "quickstart": """\
examples:
  symskip quickstart
  symskip quickstart --workdir runs/digits
""",
    "pretrain": """\
examples:
  symskip pretrain --config configs/cifar10.py --workdir runs/cifar10
  symskip pretrain --config folder --config.data.name=folder:PHOTOS
  symskip pretrain --config imagenet --workdir /shared/imagenet --coordinator host0:7777 \\
    --num-processes 4 --process-id 0
""",
    "finetune": """\
examples:
  symskip finetune --config configs/cifar10_4k.py --workdir runs/4k-ft --init runs/4k
  symskip finetune --config configs/cifar10_4k.py --workdir runs/4k-he --config.model.init=he
""",
    "evaluate": """\
examples:
  symskip evaluate --workdir runs/cifar10
  symskip evaluate --workdir runs/cifar10 --step best --config.data.test_split=train
""",
}


def describe(add: AddVerb) -> None:
    """Says what the verbs take."""
    workdir_help = "folder of the run; a run that is there already is resumed"

    quickstart = add("quickstart", "the main job on handwritten digits, in minutes", False)
    quickstart.add_argument(
        "--workdir", type=folder_here, default=Path("runs/quickstart"), help=workdir_help
    )
    pretrain = add("pretrain", "learn to reconstruct images, without labels", True)
    finetune = add("finetune", "learn to classify or segment, from --init or from scratch", True)
    for verb in (pretrain, finetune):
        verb.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
        verb.add_argument(
            "--workdir",
            type=folder,
            help=workdir_help + "; default runs/CONFIG, and runs/CONFIG-finetune",
        )
        verb.add_argument(
            "--dry-run",
            action="store_true",
            help="check the command and the configuration, and stop: images are not looked for",
        )
        _describe_processes(verb)
    finetune.add_argument(
        "--init",
        type=folder,
        metavar="WORKDIR",
        help="of the pre-training to start from; a --dry-run sees that it has a checkpoint, unless "
        "it is in a bucket",
    )
    evaluate = add("evaluate", "measure a trained network on a test split", True)
    evaluate.add_argument("--workdir", required=True, type=folder_here, help="folder of the run")
    evaluate.add_argument("--step", default="latest", help=STEP_HELP)
    evaluate.add_argument(
        "--config", metavar="FILE", help="take the data from this one instead of the run's own"
    )


def _describe_processes(verb: argparse.ArgumentParser) -> None:
    processes = verb.add_argument_group(
        "several processes",
        "The same command is started once on every host. On a TPU slice and under Slurm it finds "
        "the others by itself; elsewhere tell it, here or by the variables in parentheses.",
    )
    processes.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="of process 0, with a port that is free there (JAX_COORDINATOR_ADDRESS)",
    )
    processes.add_argument(
        "--num-processes", type=int, metavar="N", help="how many there are (JAX_NUM_PROCESSES)"
    )
    processes.add_argument(
        "--process-id", type=int, metavar="K", help="which this is, from 0 (JAX_PROCESS_ID)"
    )
    processes.add_argument(
        "--cluster",
        choices=("auto", "tpu", "slurm", "none"),
        default="auto",
        help="where to look for the others, if not told; none for a run of this process alone",
    )
    processes.add_argument(
        "--start-timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long the processes wait for each other at the start (300)",
    )


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    prepare_libraries()
    if arguments.verb == "quickstart":
        from symskip_jax.experiments.quickstart import quickstart

        quickstart(arguments.workdir)
        return 0
    if arguments.verb == "evaluate":
        from symskip_jax.experiments.evaluate import evaluate

        evaluate(arguments.workdir, arguments.step, arguments.config, overrides)
        return 0
    from symskip_jax.config import load_config

    config = load_config(arguments.config, overrides)
    if arguments.dry_run:
        _check(config, arguments.verb, arguments.init if arguments.verb == "finetune" else None)
        print("nothing wrong with the command and the configuration; images were not looked for")
        return 0
    workdir = arguments.workdir or _default_workdir(arguments.config, arguments.verb)
    _join_others(arguments)
    if arguments.verb == "pretrain":
        from symskip_jax.experiments.pretrain import pretrain

        pretrain(config, workdir)
    else:
        from symskip_jax.experiments.finetune import finetune

        finetune(config, workdir, arguments.init)
    _say_where(arguments.verb, workdir)
    return 0


def _say_where(verb: str, workdir: Path) -> None:
    """Tells where the results are, and what shows them."""
    from symskip_jax.data.gcs import is_bucket
    from symskip_jax.training.processes import say

    sheets = f", reconstructions in {workdir / 'images'}" if verb == "pretrain" else ""
    # A page is made of folders on this machine.
    page = "" if is_bucket(workdir) else f"; next: symskip report {shlex.quote(str(workdir))}"
    say(f"results are in {workdir}{sheets}{page}")


def _check(config: "ConfigDict", verb: str, init: Path | None) -> None:
    from symskip_jax.data.gcs import is_bucket
    from symskip_jax.experiments.checks import check_config, check_head_epochs
    from symskip_jax.experiments.objective import check_objective
    from symskip_jax.experiments.setup import make_spec

    check_config(config)
    make_spec(config)
    if verb == "pretrain":
        check_objective(config)
    if init is None:
        return
    check_head_epochs(config)
    # Asking a bucket takes credentials, which the machine that checks may lack.
    if not is_bucket(init):
        from symskip_jax.training.checkpoints import find_checkpoints

        find_checkpoints(init)


def _join_others(arguments: argparse.Namespace) -> None:
    from symskip_jax.training.processes import find_cluster, join

    cluster = find_cluster(
        arguments.coordinator,
        arguments.num_processes,
        arguments.process_id,
        arguments.cluster,
        timeout=arguments.start_timeout,
    )
    if cluster is not None:
        join(cluster, arguments.start_timeout)


def _default_workdir(config: str, verb: str) -> Path:
    name = Path(config.partition(":")[0]).stem
    return Path("runs") / (name if verb == "pretrain" else f"{name}-{verb}")
