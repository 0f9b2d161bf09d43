"""What holds for every script in launch/: shellcheck, and help that names what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_commands import LAUNCH, flags

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
SCRIPTS = ["tpu_imagenet.sh", "slurm_gpu.sh", "gke.sh", "local_processes.sh"]


@pytest.mark.parametrize("script", sorted(path.name for path in LAUNCH.glob("*.sh")))
def test_shellcheck_finds_nothing(script):
    command = [SHELLCHECK, "--external-sources", script]
    result = subprocess.run(command, cwd=LAUNCH, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_flag_and_no_other(script, tmp_path):
    result = subprocess.run(
        [LAUNCH / script, "--help"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True
    )
    text = result.stdout.decode()
    assert result.returncode == 0 and result.stderr == b""
    assert re.match(rf"usage: launch/{re.escape(script)} ", text)
    assert "\nexit status" in text and "\nexample" in text
    assert max(map(len, text.splitlines())) <= 100
    described = {
        flag
        for line in re.findall(r"^  (--.*?)(?:  |$)", text, re.MULTILINE)
        for flag in re.findall(r"--[a-z][a-z-]*", line)
    }
    known = flags(script) - {"--help", "--config."}
    assert len(known) > 4
    assert described - {"--"} == {flag for flag in known if not flag.endswith(".")}
