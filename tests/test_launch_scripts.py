"""What holds for every script in launch/: shellcheck, and help that names what there is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_commands import LAUNCH, Commands, flags

SCRIPTS = ["tpu_imagenet.sh", "slurm_gpu.sh", "gke.sh", "local_processes.sh"]


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which(
        "shellcheck"
    )
    if shellcheck is None:
        pytest.skip("no shellcheck is installed; the extra dev brings it")
    scripts = sorted(path.name for path in LAUNCH.glob("*.sh"))
    assert len(scripts) > len(SCRIPTS)
    command = [shellcheck, "--external-sources", *scripts]
    result = subprocess.run(command, cwd=LAUNCH, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_flag_and_no_other(script, tmp_path):
    result = Commands(tmp_path / "commands").run(script, "--help")
    assert result.returncode == 0 and result.stderr == ""
    text = result.stdout
    assert re.match(rf"usage: launch/{re.escape(script)} ", text)
    assert "\nexit status" in text and "\nexample" in text
    assert max(map(len, text.splitlines())) <= 100
    described = set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE))
    assert described == flags(script)
