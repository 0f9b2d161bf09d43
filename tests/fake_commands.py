"""Commands that the launchers call, replaced by small scripts on the PATH that log how."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"

# Seconds after which a test gives up, on the busiest of machines.
PATIENCE = 120

# Every fake starts with this: its arguments are logged, and it fails where `fail` was told so.
_PREAMBLE = f"""#!{sys.executable} -IS
import json, os, sys
folder = {{folder!r}}
arguments = sys.argv[1:]
log = os.open(folder + "/calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(log, (json.dumps([{{name!r}}, *arguments]) + "\\n").encode())
try:
    failures = json.load(open(folder + "/failures"))
except FileNotFoundError:
    failures = []
for failure in failures:
    if failure["times"] and failure["words"] in " ".join([{{name!r}}, *arguments]):
        failure["times"] -= 1
        json.dump(failures, open(folder + "/failures", "w"))
        print(failure["says"], file=sys.stderr)
        sys.exit(failure["status"])
"""


class Commands:
    """A folder of fake commands, and what was asked of them.

    folder: theirs; a fake finds it as `folder`, beside its `arguments`.
    path: of the folder to put on the PATH.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)

    def add(self, name: str, body: str = "") -> Path:
        """Adds a command whose arguments are logged before it does what `body` says, in Python."""
        script = self.path / name
        script.write_text(_PREAMBLE.format(folder=str(self.folder), name=name) + body)
        script.chmod(0o755)
        return script

    def calls(self, words: str = "") -> list[list[str]]:
        """Returns the commands called so far that have these words in a row, oldest first."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [call for call in map(json.loads, lines) if words in " ".join(call)]

    def forget(self) -> None:
        """Empties the log of calls."""
        (self.folder / "calls").unlink(missing_ok=True)

    def fail(self, words: str, status: int, says: str, times: int = 1) -> None:
        """Lets the next calls that have these words in a row fail."""
        failure = {"words": words, "status": status, "says": says, "times": times}
        (self.folder / "failures").write_text(json.dumps([failure]))

    def environment(self, **more: str) -> dict[str, str]:
        """Returns this process's environment, less what the launchers read, with the fakes first."""
        read = re.compile("(SYMSKIP|CLOUDSDK|JAX|XLA|SLURM|SBATCH)_")
        kept = {name: value for name, value in os.environ.items() if not read.match(name)}
        return {**kept, "PATH": f"{self.path}:{os.environ['PATH']}", **more}

    def start(
        self, script: str | Path, *arguments: str, environment: Mapping[str, str] | None = None
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


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a launcher that was started."""
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def flags(script: str) -> set[str]:
    """Returns the flags that a launcher knows, as its code names them in the patterns of a case."""
    code = (LAUNCH / script).read_text().partition("\nparse() {")[2].partition("\n}\n")[0]
    patterns = re.findall(r"^ +(-[^)\"]*)\)", code.replace("\\\n", ""), re.MULTILINE)
    return {flag for pattern in patterns for flag in re.findall(r"--[a-z][a-z-]*", pattern)}


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Whether the caller was told in one line, with these words, what is wrong."""
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""
    missing: Sequence[str] = [word for word in words if word not in result.stderr]
    assert not missing, result.stderr
