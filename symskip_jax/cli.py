"""The `symskip` command: parses and dispatches; what it does is in `symskip_jax.experiments`."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from symskip_jax import __version__
from symskip_jax.bench import arguments as bench_arguments
from symskip_jax.data.paths import cache_folder
from symskip_jax.errors import NonFiniteLossError, StoppedError, UserError
from symskip_jax.experiments import looking
from symskip_jax.memory import keep_freed_memory

EXIT_FAILED = 1
EXIT_WRONG_INPUT = 2
EXIT_STOPPED = 75  # EX_TEMPFAIL: saved; the same command goes on
EXIT_INTERRUPTED = 130

_EXIT_STATUSES = """\
exit status:
  0   done
  1   training failed: the loss became NaN or infinite; the last checkpoint is whole
  2   something in the command, the configuration, the data or the folders is wrong
  75  stopped by SIGTERM or Ctrl-C, and saved: the same command goes on
  130 stopped by a second Ctrl-C, or by one before the first step: nothing more was saved
"""

_OVERRIDES = """\
any field of the configuration can be set: --config.seed=1 --config.pretrain.learning_rate=1e-3
(a key that does not exist is an error that names the nearest one)
"""

_EXAMPLES = {
    "symskip": """\
examples:
  symskip quickstart
  symskip pretrain --config configs/cifar10_4k.py --workdir runs/4k
  symskip finetune --config configs/cifar10_4k.py --workdir runs/4k-ft --init runs/4k
  symskip evaluate --workdir runs/4k-ft
""",
    "quickstart": """\
examples:
  symskip quickstart
  symskip quickstart --workdir runs/digits
""",
    "pretrain": """\
examples:
  symskip pretrain --config configs/cifar10.py --workdir runs/cifar10
  symskip pretrain --config folder --config.data.name=folder:PHOTOS
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
    "restore": """\
examples:
  symskip restore noisy.jpg --checkpoint runs/red_net
  symskip restore PHOTOS --checkpoint runs/red_net --out clean
  symskip restore Set12 --checkpoint runs/red_net --sigma 30
""",
    "reproduce": """\
examples:
  symskip reproduce table2 --scale small
  symskip reproduce table2 --scale paper --dry-run
  symskip reproduce table1 --only cifar10_skip --seeds 1 --data cifar10=npz:cifar10.npz
  symskip reproduce figure4 --scale small --data voc2012=voc_segmentation:VOCdevkit/VOC2012
""",
    "data": """\
examples:
  symskip data list
  symskip data list --data_dir /data/tensorflow_datasets
  symskip data import cifar10 cifar-10-binary.tar.gz
  symskip data import voc2007 VOCtrainval_06-Nov-2007.tar VOCtest_06-Nov-2007.tar
  symskip data prepare cifar100
""",
    "data list": """\
examples:
  symskip data list
  symskip data list --data_dir /data/tensorflow_datasets
""",
    "data info": """\
examples:
  symskip data info cifar10
  symskip data info folder:PHOTOS
""",
    "data check": """\
examples:
  symskip data check tfds:cifar10
  symskip data check voc:VOCdevkit/VOC2007 --split trainval
""",
    "data import": """\
examples:
  symskip data import cifar10 cifar-10-binary.tar.gz
  symskip data import cifar100 cifar-100-python.tar.gz
  symskip data import stl10 stl10_binary.tar.gz
  symskip data import imagenet2012 ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar
  symskip data import voc2007 VOCtrainval_06-Nov-2007.tar VOCtest_06-Nov-2007.tar
  symskip data import voc2012 VOCtrainval_11-May-2012.tar
""",
    "data prepare": """\
examples:
  symskip data prepare cifar10
  symskip data prepare voc/2007 --data_dir /data/tensorflow_datasets
""",
    **looking.EXAMPLES,
    **bench_arguments.EXAMPLES,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error does, because names of files may be anything.
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="symskip: %(message)s", level=logging.WARNING)
    try:
        arguments, rest = _parser().parse_known_args(argv)
        return _dispatch(arguments, _overrides(arguments, rest))
    except UserError as error:
        print(f"symskip: {error}", file=sys.stderr)
        return EXIT_WRONG_INPUT
    except NonFiniteLossError as error:
        print(f"symskip: {error}", file=sys.stderr)
        return EXIT_FAILED
    except StoppedError as error:
        print(f"symskip: {error}", file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _overrides(arguments: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    for argument in rest:
        if not argument.startswith("--config.") or "=" not in argument:
            raise UserError(
                f"unknown argument {argument}; fields are set as --config.key=value, "
                f"and `symskip {arguments.verb} --help` lists the rest"
            )
    if rest and not hasattr(arguments, "config"):
        raise UserError(f"`symskip {arguments.verb}` has no configuration to set {rest[0]} in")
    # Of several settings of one field the last counts; tuples would be strung together otherwise.
    return list({argument.partition("=")[0]: argument for argument in rest}.values())


def _dispatch(arguments: argparse.Namespace, overrides: list[str]) -> int:
    # Heavy imports wait until the arguments are known to be good.
    if arguments.verb == "data":
        from symskip_jax.experiments.data import run_data

        run_data(arguments)
        return 0
    if arguments.verb == "reproduce":
        return _reproduce(arguments)
    if arguments.verb == "quickstart":
        _prepare_libraries()
        from symskip_jax.experiments.quickstart import quickstart

        quickstart(arguments.workdir)
        return 0
    if arguments.verb == "bench" and arguments.action == "input":
        from symskip_jax.bench.input import bench_input

        bench_input(arguments)
        return 0
    if arguments.verb in looking.EXAMPLES:
        _prepare_libraries()
        looking.run_looking(arguments, overrides)
        return 0
    from symskip_jax.config import load_config

    if arguments.verb == "evaluate":
        _prepare_libraries()
        from symskip_jax.experiments.evaluate import evaluate

        evaluate(arguments.workdir, arguments.step, arguments.config, overrides)
        return 0
    if arguments.verb == "restore":
        _prepare_libraries()
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
    config = load_config(arguments.config, overrides)
    if arguments.verb == "bench":
        _prepare_libraries()
        _bench(config, overrides, arguments)
        return 0
    workdir = arguments.workdir or _default_workdir(arguments.config, arguments.verb)
    _prepare_libraries()
    if arguments.verb == "pretrain":
        from symskip_jax.experiments.pretrain import pretrain

        pretrain(config, workdir)
    else:
        from symskip_jax.experiments.finetune import finetune

        finetune(config, workdir, arguments.init)
    return 0


def _reproduce(arguments: argparse.Namespace) -> int:
    _prepare_libraries()
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


def _bench(config: Any, overrides: list[str], arguments: argparse.Namespace) -> None:
    if arguments.action == "step":
        from symskip_jax.bench.step import bench_step

        bench_step(config, overrides, arguments)
    elif arguments.action == "stages":
        from symskip_jax.bench.stages import bench_stages

        bench_stages(config, overrides, arguments)
    else:
        from symskip_jax.bench.train import bench_train

        bench_train(config, overrides, arguments)


def _default_workdir(config: str, verb: str) -> Path:
    name = Path(config.partition(":")[0]).stem
    return Path("runs") / (name if verb == "pretrain" else f"{name}-{verb}")


def _prepare_libraries() -> None:
    """Keeps compiled programs and freed memory, and the libraries' chatter off the terminal."""
    keep_freed_memory()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)  # its errors are raised too


class _Parser(argparse.ArgumentParser):
    """Answers a mistake like every other: in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` shows how")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="symskip",
        description="Pre-train image networks without labels by denoising, then fine-tune them.",
        epilog=f"{_EXAMPLES['symskip']}\n{_EXIT_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"symskip {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(verb: str, text: str, *, configured: bool) -> argparse.ArgumentParser:
        epilog = f"{_EXAMPLES[verb]}\n{_OVERRIDES if configured else ''}\n{_EXIT_STATUSES}"
        return verbs.add_parser(
            verb,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    config_help = "file, or the name of one that comes along (digits); FILE:ARG passes an argument"
    workdir_help = "folder of the run; a run that is there already is resumed"

    quickstart = add(
        "quickstart", "the main job on handwritten digits, in minutes", configured=False
    )
    quickstart.add_argument(
        "--workdir", type=Path, default=Path("runs/quickstart"), help=workdir_help
    )
    pretrain = add("pretrain", "learn to reconstruct images, without labels", configured=True)
    finetune = add(
        "finetune", "learn to classify or segment, from --init or from scratch", configured=True
    )
    for verb in (pretrain, finetune):
        verb.add_argument("--config", required=True, metavar="FILE", help=config_help)
        verb.add_argument(
            "--workdir",
            type=Path,
            help=workdir_help + "; default runs/CONFIG, and runs/CONFIG-finetune",
        )
    finetune.add_argument(
        "--init", type=Path, metavar="WORKDIR", help="of the pre-training to start from"
    )
    evaluate = add("evaluate", "measure a trained network on a test split", configured=True)
    evaluate.add_argument("--workdir", required=True, type=Path, help="folder of the run")
    evaluate.add_argument(
        "--step", default="latest", help="latest (the default), best, or the number of a checkpoint"
    )
    evaluate.add_argument(
        "--config", metavar="FILE", help="take the data from this one instead of the run's own"
    )
    _add_restore_arguments(
        add("restore", "apply a pre-trained network to images of any size", configured=False)
    )
    looking.add_looking_verbs(add)
    _add_reproduce(add("reproduce", "a table or figure of the paper, whole", configured=False))
    _add_data_actions(add("data", "what there is to train on", configured=False))
    bench = add("bench", "how fast this is on this machine, beside its peers", configured=False)
    actions = bench.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add_bench(action: str, text: str, configured: bool) -> argparse.ArgumentParser:
        parser = _add_action(actions, "bench", action, text, _OVERRIDES if configured else "")
        if configured:
            parser.add_argument("--config", required=True, metavar="FILE", help=config_help)
        return parser

    bench_arguments.add_bench_actions(add_bench)
    return parser


def _add_restore_arguments(restore: argparse.ArgumentParser) -> None:
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
    restore.add_argument(
        "--step", default="latest", help="latest (the default), best, or the number of a checkpoint"
    )
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


def _add_reproduce(reproduce: argparse.ArgumentParser) -> None:
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
    reproduce.add_argument("--seeds", type=int, metavar="N", help="how many, from 0 on")
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


def _add_action(
    actions: Any, verb: str, action: str, text: str, more: str = ""
) -> argparse.ArgumentParser:
    return actions.add_parser(
        action,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"{_EXAMPLES[f'{verb} {action}']}\n{more}\n{_EXIT_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_data_actions(data: argparse.ArgumentParser) -> None:
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(action: str, text: str) -> argparse.ArgumentParser:
        parser = _add_action(actions, "data", action, text)
        parser.add_argument(
            "--data_dir", help="where TFDS datasets are; default $TFDS_DATA_DIR or TFDS's"
        )
        return parser

    add("list", "datasets, and where they are")
    info = add("info", "what a dataset is: splits, sizes, classes, licence, how to get it")
    info.add_argument("name", metavar="NAME", help="as `symskip data list` has it, or cifar10, ...")
    check = add("check", "decode every image, and list those that are broken")
    check.add_argument("name", metavar="NAME", help="as `symskip data list` has it")
    check.add_argument("--split", help="check this one alone; default all")
    importing = add("import", "make a dataset of the archives that it was published as")
    importing.add_argument(
        "name", metavar="NAME", help="cifar10, cifar100, stl10, imagenet2012, voc2007 or voc2012"
    )
    importing.add_argument("archives", metavar="ARCHIVE", nargs="+", help="the files, as published")
    importing.add_argument(
        "--any_checksum",
        action="store_true",
        help="take archives that were packed anew; their content is checked all the same",
    )
    preparing = add("prepare", "have TFDS download a dataset, or convert one from TFRecord")
    preparing.add_argument("name", metavar="NAME", help="as TFDS has it: NAME[/CONFIG][:VERSION]")


if __name__ == "__main__":
    sys.exit(main())
