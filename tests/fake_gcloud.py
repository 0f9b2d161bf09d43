"""A fake gcloud: one queued resource, whose workers are folders, on which commands really run.

`plan` says what the run on the workers does, a list of actions for each start of it:

    save N    a checkpoint of step N is in the bucket
    say TEXT  to the log
    preempt   the slice is suspended
    wait      until SIGTERM, then exit 75
    hang      whatever comes
    exit N    with this status
    signal N  ends it
"""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from fake_commands import Commands, read_log

# Executed by the fake after the preamble of fake_commands, which knows `folder` and `words`.
_GCLOUD = r"""
die() { echo "ERROR: (gcloud) $1" >&2; exit 1; }

value_of() {
    local word
    for word in "${given[@]}"; do
        case $word in "$1="*) value=${word#*=} ;; esac
    done
}

cd "$folder"
given=("$@")
state=
if [ -e slice ]; then read -r state <slice; fi
case $words in
    "gcloud storage ls "*)
        [ -e bucket ] || die "One or more URLs matched no objects."
        printf "$3%s\n" "" 9.orbax-checkpoint-tmp/ 10/ "$(<bucket)/" ;;
    *" queued-resources describe "*)
        if [ -s states ]; then
            read -r state rest <states
            echo "$rest" >states
            [ "$rest" ] || rm states
            echo "$state" >slice
        fi
        [ "$state" ] || die "NOT_FOUND: Resource"
        printf '%s\t%s\n' "$state" "$(<type)" ;;
    *" queued-resources create "*)
        [ ! "$state" ] || die "ALREADY_EXISTS: Resource"
        echo ACTIVE >slice
        cat states_of_a_new_one >states
        value_of --accelerator-type
        echo "$value" >type
        mkdir -p workers/0 workers/1 ;;
    *" queued-resources delete "*)
        for group in workers/*/symskip/run/group; do
            if [ -e "$group" ]; then kill -KILL -- "-$(<"$group")"; fi
        done 2>/dev/null
        rm -rf slice workers ;;
    *" tpu-vm scp "*)
        for word; do
            case $word in /*) cp "$word" workers/0; cp "$word" workers/1 ;; esac
        done ;;
    *" tpu-vm ssh "*)
        [ "$state" = ACTIVE ] || die "the TPU is in state PREEMPTED"
        value_of --worker
        case $value in all) chosen="0 1" ;; *) chosen=$value ;; esac
        value_of --command
        pids= status=0
        for worker in $chosen; do
            (
                cd "workers/$worker"
                exec env -i "PATH=$folder/worker_bin:/usr/bin:/bin" "HOME=$PWD" \
                    "HOSTNAME=worker-$worker" bash -c "$value"
            ) &
            pids+=" $!"
        done
        for pid in $pids; do wait "$pid" || status=$?; done
        exit "$status" ;;
    *) die "the fake does not know: $words" ;;
esac
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
worker=${HOME##*/}
log "$HOME/starts" "$@"
mapfile -t plan <"$folder/plan-$worker"
done=0
if [ -e "$folder/attempts-$worker" ]; then done=$(<"$folder/attempts-$worker"); fi
echo $((done + 1)) >"$folder/attempts-$worker"
if [ "$done" -ge ${#plan[@]} ]; then done=$((${#plan[@]} - 1)); fi
IFS=";" read -ra actions <<<"${plan[done]}"
for action in "${actions[@]}"; do
    read -r verb value <<<"$action"
    case $verb in
        save) echo "$value" >"$folder/bucket" ;;
        say) echo "$value" ;;
        preempt) echo SUSPENDED >"$folder/slice" ;;
        wait) trap 'kill $!; echo saved; exit 75' TERM; echo waiting ;;
        hang) trap "" TERM ;;
        signal) kill "-$value" $$ ;;
        exit) exit "$value" ;;
    esac
done
sleep 100 9>&- >/dev/null 2>&1 &
wait
"""


class Gcloud(Commands):
    """A cloud with room for one slice of two workers."""

    def __init__(self, folder: Path, *plan: str | dict[str, str]):
        super().__init__(folder)
        self.add("gcloud", _GCLOUD)
        bin_of_workers = folder / "worker_bin"
        bin_of_workers.mkdir()
        python = bin_of_workers / "python3.13"
        python.write_text(_PYTHON.replace("FOLDER", f"'{folder}'"))
        python.chmod(0o755)
        self.add("symskip", _SYMSKIP).rename(bin_of_workers / "fake_symskip")
        self.set("states_of_a_new_one", "WAITING_FOR_RESOURCES ACTIVE")
        self.plan(*plan)

    def plan(self, *turns: str | dict[str, str]) -> None:
        """Says what the run does at each start, on every worker or on each; see above."""
        for worker in ("0", "1"):
            own = [turn if isinstance(turn, str) else turn[worker] for turn in turns]
            (self.folder / f"plan-{worker}").write_text("\n".join(own) + "\n")

    def set(self, name: str, value: str) -> None:
        """Sets a state of the cloud: slice, states, states_of_a_new_one, type or bucket."""
        (self.folder / name).write_text(value + "\n")

    def starts(self, worker: int = 0) -> list[list[str]]:
        """Returns the arguments of each start of symskip on a worker of the present slice."""
        return read_log(self.folder / "workers" / str(worker) / "starts")

    def attempts(self, worker: int = 0) -> int:
        """Returns how often symskip was started on a worker, of this slice or of one before."""
        log = self.folder / f"attempts-{worker}"
        return int(log.read_text()) if log.exists() else 0

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
