#!/usr/bin/env bash
# Several processes of one run on this machine, for trying things out; --help says how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

usage() {
    cat <<'END'
usage: launch/local_processes.sh [FLAG...] -- pretrain|finetune ARGUMENT...

Starts `symskip ARGUMENT...` in several processes that make up one run, and prints what each says
after a [0], [1], ... Ctrl-C or SIGTERM stops all, and each saves. Nothing is started again.

  --processes N    default 2
  --devices N      simulate N devices in each, on the CPU; default: whatever JAX finds
  --port PORT      of the first process, where the others meet; default: one that is free
  --grace SECONDS  for the others to end once one has failed; default 120
  --symskip PATH   the command; default: the one on the PATH, or .venv/bin/symskip
  --dry-run        start nothing; print the command lines

example:
  launch/local_processes.sh --processes 2 --devices 4 -- pretrain --config digits --workdir runs/two

exit status: that of the process that failed first, where one failed by itself and did not only lose
another; `symskip pretrain --help` lists them
END
}

processes=2
devices=
port=
grace=120
symskip=

# Below the ports that systems give to outgoing connections.
free_port() {
    local port
    while :; do
        port=$((10000 + RANDOM % 20000))
        if ! (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    done
    echo "$port"
}

prefixed() {
    local line
    while IFS= read -r line || [ "$line" ]; do printf '[%s] %s\n' "$1" "$line"; done
}

pids=()

start() {
    local k simulated=()
    if [ "$devices" ]; then simulated=(env JAX_PLATFORMS=cpu "JAX_NUM_CPU_DEVICES=$devices"); fi
    for ((k = 0; k < processes; k++)); do
        set -- ${simulated[@]+"${simulated[@]}"} "$symskip" "${arguments[@]}" \
            --coordinator "127.0.0.1:$port" --num-processes "$processes" --process-id "$k"
        if [ "$dry_run" ]; then
            send "$@"
        else
            "$@" > >(prefixed "$k") 2>&1 </dev/null &
            pids+=($!)
        fi
    done
}

signal() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do kill "-$1" -- "$pid" 2>/dev/null || true; done
}

# Waits for all; sets `result` to the exit status of the run.
result=0
watch() {
    local k status told="" deadline=""
    while [ ${#pids[@]} -gt 0 ]; do
        sleep 0.2 &
        wait $! || true # a signal ends it at once
        for k in "${!pids[@]}"; do
            if kill -0 "${pids[k]}" 2>/dev/null; then continue; fi
            status=0
            wait "${pids[k]}" || status=$?
            unset "pids[k]"
            if [ "$status" -ne 0 ]; then say "process $k ended with status $status"; fi
            result=$(deciding "$result" "$status")
        done
        if [ "$result" -eq 0 ] || [ ${#pids[@]} -eq 0 ]; then continue; fi
        deadline=${deadline:-$((SECONDS + grace))}
        if [ ! "$told" ] && [ "$SECONDS" -gt "$deadline" ]; then
            say "ending the other processes after $grace s"
            told=yes
            signal TERM
        elif [ "$SECONDS" -gt $((deadline + 10)) ]; then
            signal KILL
        fi
    done
}

take_flags "" "--processes --devices --port --grace --symskip" "" "$@"
require_counts processes grace ${devices:+devices} ${port:+port}
require_verb
find_symskip "$here/.."
# Without a dry run the processes say it themselves at once.
if [ "$dry_run" ]; then check_command "$symskip" "${arguments[@]}"; fi
port=${port:-$(free_port)}
# Groups of their own, so that a Ctrl-C reaches each process once and not as if it were ignored.
set -m
trap 'signal INT' INT
trap 'signal TERM' TERM HUP
start
watch
exit "$result"
