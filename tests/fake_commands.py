"""Commands that the launchers call, replaced by small scripts on the PATH that log how."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"

# Seconds after which a test gives up, on the busiest of machines.
PATIENCE = 120

# Between the words of a call, and between calls.
_WORD, _CALL = "\x1f", "\x1e"

# What a fake symskip starts with: it finds nothing wrong with its arguments.
CHECKS = "case $words in *--dry-run) exit ;; esac\n"

# Every fake starts with this, in bash, which starts quickest. Its arguments are logged; it fails
# where `fail` was told so.
_PREAMBLE = r"""#!/bin/bash
folder=FOLDER words="NAME $*"
log() {
    local file=$1 IFS=$'\x1f'
    shift
    printf '%s\x1e' "$*" >>"$file"
}
log "$folder/calls" NAME "$@"
if [ -e "$folder/failure" ]; then
    { read -r times status; read -r wanted; read -r says; } <"$folder/failure"
    if [ "$times" -gt 0 ] && [[ $words == *"$wanted"* ]]; then
        printf '%s\n' "$((times - 1)) $status" "$wanted" "$says" >"$folder/failure"
        echo "$says" >&2
        exit "$status"
    fi
fi
"""


class Commands:
    """A folder of fake commands, and what was asked of them.

    folder: theirs; a fake finds it as `folder`, beside its arguments.
    path: of the folder to put on the PATH.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)

    def add(self, name: str, body: str = "") -> Path:
        """Adds a command whose arguments are logged before it does what `body` says, in bash."""
        script = self.path / name
        preamble = _PREAMBLE.replace("FOLDER", f"'{self.folder}'").replace("NAME", name)
        script.write_text(preamble + body)
        script.chmod(0o755)
        return script

    def calls(self, words: str = "") -> list[list[str]]:
        """Returns the commands called so far that have these words in a row, oldest first."""
        return [call for call in read_log(self.folder / "calls") if words in " ".join(call)]

    def forget(self) -> None:
        """Empties the log of calls."""
        (self.folder / "calls").unlink(missing_ok=True)

    def fail(self, words: str, status: int, says: str, times: int = 1) -> None:
        """Lets the next calls that have these words in a row fail."""
        (self.folder / "failure").write_text(f"{times} {status}\n{words}\n{says}\n")

    def has_failed(self) -> bool:
        """Whether all calls that were to fail have."""
        return (self.folder / "failure").read_text().startswith("0 ")

    def environment(self, **more: str) -> dict[str, str]:
        """Returns this process's environment, less what launchers read, with the fakes first."""
        read = re.compile("(SYMSKIP|CLOUDSDK|JAX|XLA|SLURM|SBATCH)_")
        kept = {name: value for name, value in os.environ.items() if not read.match(name)}
        return {**kept, "PATH": f"{self.path}:/usr/bin:/bin", **more}

    def start(
        self,
        script: str | Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a launcher, by its name in launch/, in a session of its own."""
        return subprocess.Popen(
            ["bash", str(LAUNCH / script), *arguments],
            env=self.environment(**(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def run(
        self, script: str | Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a launcher to its end."""
        return finish(self.start(script, *arguments, environment=environment))


def read_log(file: Path) -> list[list[str]]:
    """Returns the words of each call that a fake has logged."""
    calls = file.read_text().split(_CALL)[:-1] if file.exists() else []
    return [call.split(_WORD) for call in calls]


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a launcher that was started."""
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(condition: Callable[[], object]) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def flags(script: str) -> set[str]:
    """Returns the flags that a launcher knows."""
    call = (LAUNCH / script).read_text().partition("take_flags ")[2].partition('"$@"')[0]
    return {"--dry-run", *re.findall(r"--[a-z-]+", call)}


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Whether the caller was told in one line, with these words, what is wrong."""
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""
    missing = [word for word in words if word not in result.stderr]
    assert not missing, result.stderr
