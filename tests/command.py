"""Runs the command as a person would, in a process of its own, on a problem of milliseconds."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMMAND = (sys.executable, "-m", "symskip_jax.cli")

# A folder of nothing else than what takes torch's place.
WITHOUT_TORCH = str(Path(__file__).with_name("without_torch"))

# Seconds after which a test gives up, on the busiest of machines.
PATIENCE = 500

# Six steps an epoch on the images of `write_images`, and things happen at different ones of them.
TINY = (
    "--config=digits",
    "--config.model.blocks=(1, 1, 0, 0)",
    "--config.model.n=4",
    "--config.data.num_labels=24",
    "--config.data.flip=True",
    "--config.data.crop=(7, 7)",
    "--config.pretrain.batch_size=8",
    "--config.pretrain.epochs=6",
    "--config.pretrain.milestones=(2, 4)",
    "--config.finetune.batch_size=8",
    "--config.finetune.epochs=8",
    "--config.finetune.milestones=(3, 6)",
    "--config.finetune.head_epochs=2",
    "--config.finetune.corruption_probability=0.5",
    "--config.run.steps_per_dispatch=2",
    "--config.run.eval_every=1",
    "--config.run.checkpoint_every=0.5",
    "--config.run.eval_batch_size=16",
    "--config.run.monitor_images=0",  # it compiles for seconds; test_monitoring turns it on
)


def write_images(path: Path, *, train: int = 48, test: int = 16, **arrays: Any) -> str:
    """Writes an archive of coloured 8x8 images of four classes and returns the dataset's name."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 4
        images = random.integers(0, 128, (count, 8, 8, 3), np.uint8)
        images[..., 0] += (40 * labels[:, None, None]).astype(np.uint8)
        arrays = {f"{split}_images": images, f"{split}_labels": labels, **arrays}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return f"npz:{path}"


def start(
    *arguments: Any, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Starts the command in a session of its own; what it prints can be read from the process."""
    folders = (WITHOUT_TORCH, *filter(None, (os.environ.get("PYTHONPATH"),)))
    # `bench` measures beside it.
    hidden = {} if arguments[0] == "bench" else {"PYTHONPATH": os.pathsep.join(folders)}
    return _start((*COMMAND, *arguments), {**hidden, **(environment or {})}, **options)


def start_script(name: str, *arguments: Any, devices: int = 1) -> subprocess.Popen[str]:
    """Starts a script of this folder likewise, with so many simulated devices."""
    script = Path(__file__).with_name(name)
    environment = {"JAX_NUM_CPU_DEVICES": str(devices)}
    return _start((sys.executable, script, *arguments), environment)


def _start(
    words: Sequence[Any], environment: Mapping[str, str], **options: Any
) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [*map(str, words)],
        env={**single_device(os.environ), **environment},
        start_new_session=True,
        text=True,
        **pipes,
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a process that was started."""
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return finish(start(*arguments))


def succeed(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command, which must return 0."""
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    return result


def pretrain(workdir: Path, data: str, *more: str) -> Sequence[Any]:
    """The arguments of a tiny pre-training."""
    return ("pretrain", *TINY, f"--config.data.name={data}", f"--workdir={workdir}", *more)


def finetune(workdir: Path, data: str, *more: str) -> Sequence[Any]:
    """The arguments of a tiny fine-tuning."""
    return ("finetune", *TINY, f"--config.data.name={data}", f"--workdir={workdir}", *more)


def single_device(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment with one device, as on a laptop, whatever this process simulates."""
    simulated = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    return {name: value for name, value in environment.items() if name not in simulated}
