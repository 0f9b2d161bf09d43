"""What launch/tpu_imagenet.sh is given in tests, and what it should send to gcloud."""

import shlex
import subprocess
from pathlib import Path

from fake_gcloud import Gcloud

ZONE = ["--project=p", "--zone=us-central2-b", "--quiet"]
SSH_FLAGS = ["--ssh-flag=-oConnectTimeout=20", "--ssh-flag=-oServerAliveInterval=20"]
WORKDIR = "gs://b/runs/symskip-v4-128"
RUN = [
    *("pretrain", "--cluster", "tpu", "--config", "imagenet", "--workdir", WORKDIR),
    "--config.data.data_dir=gs://b/tensorflow_datasets",
]
FORMAT = "--format=value(state.state,tpu.nodeSpec[0].node.acceleratorType.basename())"
ASK = "--command=bash symskip_worker.sh state 2>/dev/null || echo state new idle - - - -"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.com")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def begin(
    cloud: Gcloud, checkout: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    needed = {"SYMSKIP_PROJECT": "p", "SYMSKIP_BUCKET": "gs://b", "SYMSKIP_POLL": "0.05"}
    script = checkout / "launch" / "tpu_imagenet.sh"
    return cloud.start(script, *arguments, environment={**needed, **environment})


def queued(verb: str, *flags: str) -> list[str]:
    name = "symskip-v4-128"
    return ["gcloud", "compute", "tpus", "queued-resources", verb, name, *flags, *ZONE]


def ssh(worker: str, command: str) -> list[str]:
    start = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "symskip-v4-128"]
    return [*start, f"--worker={worker}", command, *SSH_FLAGS, *ZONE]


def first_start(revision: str, copied: list[str], run: list[str]) -> list[list[str]]:
    """Every command of a start from nothing, each as often as it differs from the one before."""
    looked, asked = queued("describe", FORMAT), ssh("all", ASK)
    create = ("--node-id=symskip-v4-128", "--accelerator-type=v4-128")
    scp = ["gcloud", "compute", "tpus", "tpu-vm", "scp", *copied, "symskip-v4-128:"]
    return [
        ["gcloud", "storage", "ls", f"{WORKDIR}/checkpoints/"],
        looked,
        queued("create", *create, "--runtime-version=tpu-ubuntu2204-base", "--spot"),
        looked,
        asked,
        [*scp, "--worker=all", "--scp-flag=-oConnectTimeout=20", *ZONE],
        ssh("all", f"--command=bash symskip_worker.sh install copy {revision}"),
        ssh("all", f"--command=bash symskip_worker.sh run first {shlex.join(run)}"),
        asked,
        ssh("0", "--command=bash symskip_worker.sh log 0"),
    ]


def without_repeats(calls: list[list[str]]) -> list[list[str]]:
    return [call for call, before in zip(calls, [[], *calls], strict=False) if call != before]


def copied(calls: list[list[str]]) -> list[str]:
    (scp,) = [call for call in calls if "scp" in call]
    return [word for word in scp if word.startswith("/")]
