#!/usr/bin/env python3
"""How long the commands of the README and the notebooks take on this machine, from start to end.

    python benchmarks/commands.py --out results/times/cpu.json

Each runs once, in the order of a user's day, in a new folder and with an empty cache, so that
compiling counts. Nothing else should run meanwhile; a quarter of an hour on two cores. Needs the
extra `dev` for the notebooks, `interop` for the exports, and CIFAR-10 prepared for TFDS where
`tfds` looks for it ($TFDS_DATA_DIR).
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from symskip_jax.bench.setting import describe_setting

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "symskip quickstart",
    "symskip pretrain --config digits --workdir runs/digits",
    "symskip finetune --config digits --workdir runs/tuned --init runs/digits",
    "symskip evaluate --workdir runs/tuned",
    "symskip probe --workdir runs/digits",
    "symskip features runs/digits --out digits.npz",
    "symskip visualize runs/digits",
    "symskip report runs/digits runs/tuned --out runs.html",
    "symskip export runs/tuned --format safetensors",
    "symskip export runs/tuned --format onnx",
    "symskip export runs/tuned --format stablehlo",
    "symskip data check tfds:cifar10",
    "symskip reproduce table2 --scale smoke",
    "symskip reproduce table2 --scale paper --dry-run",
)
NOTEBOOKS = ("quickstart", "train_steps", "own_images", "cifar10")


def measure(words: list[str], folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Runs a command to its good end, and returns its seconds and CPU seconds, children's too."""
    with (folder / "log.txt").open("a") as log:
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{shlex.join(words)} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def main() -> None:
    """Reads the command line, runs everything and writes what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.absolute()
    setting = describe_setting(f"python benchmarks/commands.py --out {out.relative_to(ROOT)}")
    times: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
        for command in COMMANDS:
            times[command] = measure(shlex.split(command), folder, environment)
            print(f"{times[command]['seconds']:6.1f} s  {command}", flush=True)
        for name in NOTEBOOKS:
            script, made = f"colab/{name}.py", folder / f"{name}.ipynb"
            words = [sys.executable, "tools/notebooks.py", script, "--out", str(made)]
            words[1:3] = [str(ROOT / it) for it in words[1:3]]
            times[f"colab/{name}.ipynb"] = measure(words, folder, environment)
            print(f"{times[f'colab/{name}.ipynb']['seconds']:6.1f} s  {name}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"setting": setting, "times": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
