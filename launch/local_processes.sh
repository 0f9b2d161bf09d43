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
after a [0], [1], ... A signal (Ctrl-C, SIGTERM) is passed on to all. When one fails, the others are
given some time to end, and are ended then.

  --processes N    default 2
  --devices N      simulate N devices in each, on the CPU; default: whatever JAX finds
  --port PORT      of the first process, where the others meet; default: one that is free
  --grace SECONDS  for the others to end once one has failed; default 120
  --symskip PATH   the command; default: the one on the PATH, or .venv/bin/symskip
  --dry-run        start nothing; print the command lines

example:
  launch/local_processes.sh --processes 2 --devices 4 -- pretrain --config digits --workdir runs/two

exit status: 0 if that of all is, else that of the process that failed first
END
}

processes=2
devices=
port=
grace=120
symskip=
dry_run=

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h)
                usage
                exit ;;
            --)
                shift
                break ;;
            --dry-run)
                dry_run=yes
                shift
                continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        esac
        case $1 in
            --processes | --devices | --port | --grace | --symskip)
                [ $# -ge 2 ] || die "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift 2 ;;
            *) die "unknown argument \"$1\" before --; --help lists what there is" ;;
        esac
    done
    arguments=("$@")
}

check() {
    require_count --processes "$processes"
    require_count --grace "$grace"
    if [ "$devices" ]; then require_count --devices "$devices"; fi
    if [ "$port" ]; then require_count --port "$port"; fi
    [ ${#arguments[@]} -gt 0 ] || die "needed: -- and what symskip is to do"
    if [ ! "$symskip" ]; then
        symskip=$(command -v symskip || echo "$here/../.venv/bin/symskip")
        [ -x "$symskip" ] || die "no symskip on the PATH or in .venv: name it with --symskip"
    fi
}

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

# The environment that makes process $1 one of the run.
environment() {
    echo "JAX_COORDINATOR_ADDRESS=127.0.0.1:$port"
    echo "JAX_NUM_PROCESSES=$processes"
    echo "JAX_PROCESS_ID=$1"
    if [ "$devices" ]; then
        echo JAX_PLATFORMS=cpu
        echo "XLA_FLAGS=--xla_force_host_platform_device_count=$devices${XLA_FLAGS:+ $XLA_FLAGS}"
    fi
}

pids=()
readers=()

start() {
    local k line set
    for ((k = 0; k < processes; k++)); do
        set=()
        while IFS= read -r line; do set+=("$line"); done < <(environment "$k")
        if [ "$dry_run" ]; then
            quoted env "${set[@]}" "$symskip" "${arguments[@]}"
            continue
        fi
        mkfifo "$scratch/$k"
        prefixed "$k" <"$scratch/$k" &
        readers+=($!)
        env "${set[@]}" "$symskip" "${arguments[@]}" >"$scratch/$k" 2>&1 </dev/null &
        pids+=($!)
    done
}

# Each process leads a group, with what it started in it.
signal() {
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do kill "-$1" -- "-$pid" 2>/dev/null || true; done
}

nap() {
    sleep 0.2 &
    wait $! || true
}

# Waits for all; sets `first` to the status of the one that failed first, of those that are found at
# once to one that did not only lose another.
watch() {
    local k pid status since="" left=$processes ended=()
    first=0
    while [ "$left" -gt 0 ]; do
        nap
        for ((k = 0; k < processes; k++)); do
            pid=${pids[k]}
            if [ "${ended[k]-}" ] || kill -0 "$pid" 2>/dev/null; then continue; fi
            status=0
            wait "$pid" || status=$?
            ended[k]=yes
            left=$((left - 1))
            if [ "$status" -ne 0 ]; then say "process $k ended with status $status"; fi
            if [ "$first" -eq 0 ] || { [ "$first" -eq 76 ] && [ "$since" = "$SECONDS" ]; }; then
                first=$status
            fi
        done
        if [ "$first" -eq 0 ]; then continue; fi
        since=${since:-$SECONDS}
        if [ "$left" -gt 0 ] && [ $((SECONDS - since)) -gt $((grace + 10)) ]; then
            signal KILL
        elif [ "$left" -gt 0 ] && [ $((SECONDS - since)) -gt "$grace" ] && [ ! "${told-}" ]; then
            say "ending the other processes after $grace s"
            told=yes
            signal TERM
        fi
    done
}

parse "$@"
check
port=${port:-$(free_port)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Groups of their own, so that a Ctrl-C reaches each process once and not as if it were ignored.
set -m
trap 'signal INT' INT
trap 'signal TERM' TERM HUP
start
if [ "$dry_run" ]; then exit; fi
watch
for reader in "${readers[@]}"; do wait "$reader" || true; done
exit "$first"
