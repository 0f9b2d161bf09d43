"""A fake gcloud: one queued resource, whose workers are folders, on which commands really run.

`plan` says what the run on the workers does, a list of actions for each start of it:

    save N    a checkpoint of step N is in the bucket
    say TEXT  to the log
    preempt   the slice is suspended
    wait      until SIGTERM, then exit 75
    hang      whatever comes
    exit N    with this status; signal 9 for 137
"""

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from fake_commands import Commands

# Executed by the fake after the preamble of fake_commands, which knows `folder` and `arguments`.
_GCLOUD = r"""
import glob, shutil, signal, subprocess

def flag(name):
    return [a.split("=", 1)[1] for a in arguments if a.startswith(name + "=")]

def read(name, default=None):
    try:
        return open(folder + "/" + name).read()
    except FileNotFoundError:
        return default

def write(name, text):
    open(folder + "/" + name, "w").write(text)

def say(text, status=1):
    print(text, file=sys.stderr)
    sys.exit(status)

def workers():
    return sorted(glob.glob(folder + "/workers/*"))

def end_runs():
    for group in glob.glob(folder + "/workers/*/symskip/run/group"):
        try:
            os.killpg(int(open(group).read()), signal.SIGKILL)
        except ProcessLookupError:
            pass

verb = " ".join(a for a in arguments[:4] if not a.startswith("-"))
if verb.startswith("storage ls"):
    step = read("bucket")
    if step is None:
        say("ERROR: (gcloud.storage.ls) One or more URLs matched no objects.")
    url = arguments[2]
    print("\n".join([url, url + "9.orbax-checkpoint-tmp/", url + "10/", url + step + "/"]))
elif "queued-resources describe" in verb:
    states = json.loads(read("states", "[]"))
    if states:
        write("slice", states.pop(0))
        write("states", json.dumps(states))
    state = read("slice")
    if state is None:
        say("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource")
    print(state, read("type"), sep="\t")
elif "queued-resources create" in verb:
    if read("slice") is not None:
        say("ERROR: (gcloud.compute.tpus.queued-resources.create) ALREADY_EXISTS: Resource")
    write("slice", "ACTIVE")
    write("states", read("states_of_a_new_one", '["WAITING_FOR_RESOURCES", "ACTIVE"]'))
    write("type", flag("--accelerator-type")[0])
    for k in (0, 1):
        os.makedirs(folder + "/workers/%d" % k)
elif "queued-resources delete" in verb:
    end_runs()
    os.unlink(folder + "/slice")
    shutil.rmtree(folder + "/workers")
elif "tpu-vm scp" in verb:
    for worker in workers():
        for file in arguments[4:-1]:
            if file.startswith("/"):
                shutil.copy(file, worker)
elif "tpu-vm ssh" in verb:
    if read("slice") != "ACTIVE":
        say("ERROR: (gcloud.compute.tpus.tpu-vm.ssh) the TPU is in state PREEMPTED")
    which = flag("--worker")[0]
    chosen = workers() if which == "all" else [folder + "/workers/" + which]
    environment = {"PATH": folder + "/worker_bin:/usr/bin:/bin"}
    running = [
        subprocess.Popen(
            ["bash", "-c", flag("--command")[0]],
            cwd=home,
            env={**environment, "HOME": home, "HOSTNAME": "worker-" + os.path.basename(home)},
        )
        for home in chosen
    ]
    sys.exit(max(process.wait() for process in running))
else:
    say("the fake gcloud does not know " + verb)
"""

# The python of a worker, which makes environments and installs nothing but a symskip.
_PYTHON = r"""#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*)
        echo "$*" >>"$HOME/installs"
        [ ! -e "$HOME/broken" ] || { rm "$HOME/broken" && echo no wheels >&2 && exit 1; }
        cp FOLDER/worker_bin/fake_symskip "$(dirname "$0")/symskip" ;;
esac
"""

_SYMSKIP = r"""
import signal, time
home = os.environ["HOME"]
own = home + "/starts"
log = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(log, (json.dumps(arguments) + "\n").encode())
plan = json.load(open(folder + "/plan"))
try:
    done = open(folder + "/attempt-" + os.path.basename(home)).read()
except FileNotFoundError:
    done = ""
open(folder + "/attempt-" + os.path.basename(home), "w").write(done + ".")
turn = plan[min(len(done), len(plan) - 1)]
if isinstance(turn, dict):
    turn = turn[os.path.basename(home)]

def stopped(number, frame):
    print("saved", flush=True)
    sys.exit(75)

for action in turn.split("; "):
    verb, _, value = action.partition(" ")
    if verb == "save":
        open(folder + "/bucket", "w").write(value)
    elif verb == "say":
        print(value, flush=True)
    elif verb == "preempt":
        open(folder + "/slice", "w").write("SUSPENDED")
    elif verb == "wait":
        signal.signal(signal.SIGTERM, stopped)
        print("waiting", flush=True)
    elif verb == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif verb == "signal":
        os.kill(os.getpid(), int(value))
    elif verb == "exit":
        sys.exit(int(value))
time.sleep(100)
"""


class Gcloud(Commands):
    """A cloud with room for one slice of two workers."""

    def __init__(self, folder: Path, *plan: str | dict[str, str]):
        super().__init__(folder)
        self.add("gcloud", _GCLOUD)
        bin_of_workers = folder / "worker_bin"
        bin_of_workers.mkdir()
        python = bin_of_workers / "python3.13"
        python.write_text(_PYTHON.replace("FOLDER", str(folder)))
        python.chmod(0o755)
        self.add("symskip", _SYMSKIP).rename(bin_of_workers / "fake_symskip")
        self.plan(*plan)

    def plan(self, *turns: str | dict[str, str]) -> None:
        """Says what the run does at each start, on every worker or on each; see above."""
        (self.folder / "plan").write_text(json.dumps(turns))

    def set(self, name: str, value: str) -> None:
        """Sets a state of the cloud: slice, states, states_of_a_new_one, type or bucket."""
        (self.folder / name).write_text(value)

    def starts(self, worker: int = 0) -> list[list[str]]:
        """Returns the arguments of each start of symskip on a worker of the present slice."""
        log = self.folder / "workers" / str(worker) / "starts"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def attempts(self, worker: int = 0) -> int:
        """Returns how often symskip was started on a worker, of this slice or of one before."""
        log = self.folder / f"attempt-{worker}"
        return len(log.read_text()) if log.exists() else 0

    def installs(self, worker: int = 0) -> list[str]:
        """Returns what pip was asked for on a worker."""
        log = self.folder / "workers" / str(worker) / "installs"
        return log.read_text().splitlines() if log.exists() else []

    def close(self) -> None:
        """Ends whatever still runs on the workers."""
        for group in self.folder.glob("workers/*/symskip/run/group"):
            with suppress(ProcessLookupError):
                os.killpg(int(group.read_text()), signal.SIGKILL)
        shutil.rmtree(self.folder / "workers", ignore_errors=True)
