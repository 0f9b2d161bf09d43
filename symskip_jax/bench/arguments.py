"""What `symskip bench` takes. Nothing heavy is imported here: `--help` must answer at once."""

import argparse
from collections.abc import Callable
from pathlib import Path

PEERS = ("flax", "torch", "torch_compile", "torch_max_autotune")
READINGS = ("crop", "random_resized")

EXAMPLES = {
    "bench": """\
examples:
  symskip bench step --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32
  symskip bench train --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32
  symskip bench input --images VOCdevkit/VOC2012/JPEGImages
""",
    "bench step": """\
examples:
  symskip bench step --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32
  symskip bench step --config cifar10 --peers flax torch --rounds 3 --out step.json
  symskip bench step --config cifar10 --config.model.dtype=bfloat16 --peers torch_compile
""",
    "bench train": """\
examples:
  symskip bench train --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32
  symskip bench train --config cifar10 --images 50000 --rounds 1 --out train.json
""",
    "bench stages": """\
examples:
  symskip bench stages --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32
""",
    "bench input": """\
examples:
  symskip bench input --images VOCdevkit/VOC2012/JPEGImages
  symskip bench input --cifar10 ~/tensorflow_datasets --rounds 3 --out input.json
""",
}

# (action, text, whether it takes a configuration) -> its parser
Add = Callable[[str, str, bool], argparse.ArgumentParser]


def add_bench_actions(add: Add) -> None:
    """Describes the actions of `symskip bench`."""
    step = add("step", "the pre-training step beside plain Flax and torch, in turns", True)
    step.add_argument(
        "--peers",
        nargs="*",
        default=["flax", "torch", "torch_compile"],
        choices=PEERS,
        metavar="PEER",
        help=f"of {', '.join(PEERS)}; default the first three; those not installed are left out",
    )
    _add_common(step, rounds=5)
    step.add_argument(
        "--steps", type=_count, default=20, metavar="K", help="of each timing; default 20"
    )
    step.add_argument(
        "--warmup", type=_count, default=5, metavar="W", help="steps before them; default 5"
    )
    step.add_argument(
        "--images",
        type=_count,
        metavar="N",
        help="that batches are drawn from; default enough for a full dispatch, at least 2048",
    )
    _add_image_size(step)

    train = add("train", "a whole epoch of `symskip pretrain` beside its steps alone", True)
    _add_common(train, rounds=3)
    train.add_argument(
        "--images", type=_count, metavar="N", help="of the epoch; default 40 batches of them"
    )
    _add_image_size(train)

    stages = add("stages", "where the time of a pre-training step goes, beside its limits", True)
    _add_common(stages, rounds=5)
    _add_image_size(stages)

    reading = add("input", "how images get in, beside tf.data; needs Linux", False)
    reading.add_argument(
        "--images", type=Path, metavar="FOLDER", help="with 500x375 JPEGs; they are repeated"
    )
    reading.add_argument("--cifar10", type=Path, metavar="FOLDER", help="that has tfds:cifar10")
    reading.add_argument(
        "--kinds", nargs="+", default=list(READINGS), choices=READINGS, help="of windows"
    )
    reading.add_argument("--records", type=_count, default=4000, help="of each dataset")
    _add_common(reading, rounds=5)
    reading.add_argument(
        "--warmup", type=_seconds, default=3.0, metavar="S", help="seconds before each timing"
    )
    reading.add_argument(
        "--seconds", type=_seconds, default=8.0, metavar="S", help="of each timing"
    )
    reading.add_argument("--threads", type=_count, default=2, help="that read")
    reading.add_argument("--workers", type=int, default=0, help="processes that read; 0 for none")
    reading.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="for the datasets that it makes"
    )


def _add_common(parser: argparse.ArgumentParser, rounds: int) -> None:
    parser.add_argument(
        "--rounds",
        type=_count,
        default=rounds,
        metavar="N",
        help=f"in which everything is timed in turns; default {rounds}",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where results are written")


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image_size",
        type=_count,
        nargs=2,
        metavar=("H", "W"),
        help="of the images, in pixels; default 3 more than data.crop",
    )


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above 0")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds, 0 or more")
    return value
