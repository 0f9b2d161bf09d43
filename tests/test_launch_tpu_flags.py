"""The flags and variables of launch/tpu_imagenet.sh, its dry runs, and what it refuses."""

import shlex

import pytest
from fake_commands import assert_refused
from tpu_launch import RUN, copied, first_start, git

pytest_plugins = ("tpu_checkout",)


def test_a_dry_run_prints_what_a_first_start_sends_and_sends_nothing(cloud, launch, checkout):
    override = "--config.data.crop=(1, 1)"
    result = launch("--dry-run", override)
    assert result.returncode == 0, result.stderr
    assert cloud.calls() == []
    printed = [shlex.split(line) for line in result.stdout.splitlines()]
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    assert printed == first_start(tree, copied(printed), [*RUN, override])
    for verb, word in (("follow", "log"), ("status", "state"), ("stop", "stop"), ("delete", "")):
        result = launch(verb, "--dry-run")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""  # nothing was asked, so there is nothing to tell
        assert f"symskip_worker.sh {word}" in result.stdout or "delete" in result.stdout
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("type_", "runtime"),
    [
        ("v4-8", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5p-512", "v2-alpha-tpuv5"),
        ("v6e-256", "v2-alpha-tpuv6e"),
    ],
)
def test_flags_win_over_variables_and_reach_gcloud(type_, runtime, launch):
    result = launch(
        *("--dry-run", f"--type={type_}", "--zone", "z", "--project=q", "--provisioning=on-demand"),
        *("--workdir", "gs://w/r/", "--data-dir=gs://d", "--config", "folder"),
        *("--create-flag=--network=n", "--ssh-flag=--internal-ip", "--name", "n"),
        SYMSKIP_ZONE="other",
        SYMSKIP_TPU_TYPE="other",
        SYMSKIP_PROVISIONING="spot",
        SYMSKIP_CONFIG="other",
    )
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    (create,) = [line for line in lines if "create" in line]
    assert create[4:] == [
        *("create", "n", "--node-id=n", f"--accelerator-type={type_}"),
        *(f"--runtime-version={runtime}", "--network=n", "--project=q", "--zone=z", "--quiet"),
    ]
    on_slice = [line for line in lines if "tpu-vm" in line]
    assert len(on_slice) == 6 and all("--internal-ip" in line for line in on_slice)
    run = "pretrain --cluster tpu --config folder --workdir gs://w/r --config.data.data_dir=gs://d"
    assert f"--command=bash symskip_worker.sh run first {run}" in [line[7] for line in on_slice]


def test_variables_stand_for_flags(launch):
    result = launch(
        "--dry-run",
        SYMSKIP_PROJECT="q",
        SYMSKIP_TPU_TYPE="v6e-8",
        CLOUDSDK_COMPUTE_ZONE="z",
        SYMSKIP_TPU_RUNTIME="r",
        SYMSKIP_TPU_NAME="n",
        SYMSKIP_PROVISIONING="on-demand",
        SYMSKIP_CONFIG="imagenet:animals",
        SYMSKIP_WORKDIR="gs://w",
        SYMSKIP_DATA_DIR="gs://d",
        SYMSKIP_SOURCE="https://example.com/r",
        SYMSKIP_REVISION="v1",
    )
    assert (
        "create n --node-id=n --accelerator-type=v6e-8 --runtime-version=r --project=q --zone=z"
        in result.stdout
    )
    assert "symskip_worker.sh install https://example.com/r v1" in result.stdout
    assert "--cluster tpu --config imagenet:animals --workdir gs://w --config.data" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {"SYMSKIP_PROJECT": ""}, ["needed: the project", "--project", "SYMSKIP_PROJECT"]),
        ([], {"SYMSKIP_BUCKET": ""}, ["needed: a folder for the run", "--bucket"]),
        (["--workdir=gs://w"], {"SYMSKIP_BUCKET": ""}, ["needed: where ImageNet", "--data-dir"]),
        (["--bucket=b"], {}, ["--bucket", '"b"', "gs://"]),
        (["--type=v4 8"], {}, ["--type", '"v4 8"']),
        (["--workdir=runs/w"], {}, ["--workdir", '"runs/w"', "gs://"]),
        (["--type=v5p-8"], {}, ["needed: a zone that has v5p-8", "--zone"]),
        (["--name=A b"], {}, ["--name", '"A b"']),
        (["--max-restarts=0"], {}, ["--max-restarts", '"0"']),
        (["--grace=1m"], {}, ["--grace", '"1m"']),
        (["--poll", "often"], {}, ["--poll", '"often"']),
        (["--revision=v1"], {}, ["--revision", "--source"]),
        ([], {"SYMSKIP_PROVISIONING": "free"}, ['"free"', "spot or on-demand"]),
        (["--zone"], {}, ["--zone needs a value"]),
        (["--nonsense=1"], {}, ['"--nonsense"', "--help"]),
        (["stop", "delete"], {}, ["stop and delete"]),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(arguments, environment, words, cloud, launch):
    assert_refused(launch(*arguments, **environment), "tpu_imagenet: ", *words)
    assert cloud.calls() == []
