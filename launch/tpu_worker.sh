#!/usr/bin/env bash
# What tpu_imagenet.sh runs on each worker of a slice, where it lies in the home folder.
#
#   install copy|URL REVISION   sets up ~/symskip/venv, unless that revision is installed
#   run first|again ARGUMENT... starts `symskip ARGUMENT...` in the background, unless it is
#                               running; again: not after a stop
#   state                       prints "state HOST KIND STATUS COMMAND REVISION STOPPED"
#   log NEXT                    prints the number of lines of the log, then those from NEXT on
#   tail                        prints the log's end where the run did not end well
#   stop | kill                 SIGTERM to the run, once | SIGKILL to it and all that it started
#
# A worker's own failure is status 71, so that it is not taken for a lost connection.
set -Eeuo pipefail
trap 'exit 71' ERR

root=$HOME/symskip
run=$root/run

# Held by the run and what it starts: unlike a process number, it is right after a reboot too.
going_on() { ! flock --nonblock "$run/lock" true; }

content() { if [ -e "$1" ]; then cat "$1"; else echo -; fi; }

install() {
    local source=$1 revision=$2
    if going_on || [ "$(content "$root/installed")" = "$revision" ]; then return; fi
    rm -rf "$root/installed" "$root/source"
    mkdir "$root/source"
    if [ "$source" = copy ]; then
        tar -xzf "$HOME/symskip_source.tar.gz" -C "$root/source"
    else
        git clone --quiet "$source" "$root/source"
        git -C "$root/source" checkout --quiet --detach "$revision"
    fi
    if [ ! -x "$root/venv/bin/symskip" ]; then make_venv; fi
    "$root/venv/bin/python" -m pip install --quiet --constraint "$root/source/constraints.txt" \
        --editable "$root/source[tpu,gcs]"
    printf '%s\n' "$revision" >"$root/installed"
}

make_venv() {
    local python is_new_enough="import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    rm -rf "$root/venv"
    for python in python3.13 python3.12 python3.11 python3; do
        if "$python" -c "$is_new_enough" 2>/dev/null; then
            "$python" -m venv "$root/venv"
            return
        fi
    done
    # The images of most runtimes have Python 3.10 alone.
    python3 -m pip install --quiet --user uv
    python3 -m uv venv --quiet --seed --python 3.12 "$root/venv"
}

start() {
    local mode=$1
    shift
    exec 9>"$run/lock"
    if ! flock --nonblock 9; then return; fi
    if [ "$mode" = again ] && [ -e "$run/stopped" ]; then return; fi
    rm -f "$run/status" "$run/stopped" "$run/pid" "$run/told"
    printf '%s\0' "$@" | cksum | tr ' ' : >"$run/command"
    # A session of its own, with the lock: it outlives the connection that started it.
    setsid bash "$HOME/symskip_worker.sh" supervise "$@" >>"$run/log" 2>&1 </dev/null &
}

supervise() {
    local status=0
    echo $$ >"$run/group"
    # A slice whose TPUs cannot be reached must fail, not train on its CPUs.
    JAX_PLATFORMS=tpu,cpu PYTHONUNBUFFERED=1 "$root/venv/bin/symskip" "$@" &
    echo $! >"$run/pid.new"
    mv "$run/pid.new" "$run/pid"
    wait $! || status=$?
    echo "$status" >"$run/status.new"
    mv "$run/status.new" "$run/status"
}

state() {
    local kind=idle status=- stopped=-
    if going_on; then
        kind=running
    elif [ -e "$run/status" ]; then
        kind=ended status=$(cat "$run/status")
    elif [ -e "$run/command" ]; then
        kind=ended status=lost # the machine went down, or all was killed
    fi
    if [ -e "$run/stopped" ]; then stopped=stopped; fi
    echo "state ${HOSTNAME:-worker} $kind $status $(content "$run/command")" \
        "$(content "$root/installed") $stopped"
}

log() {
    local next=$1 total
    total=$(wc -l <"$run/log")
    if [ "$next" -eq 0 ]; then next=$((total > 100 ? total - 99 : 1)); fi
    if [ "$next" -gt $((total + 1)) ]; then next=1; fi # the log of another slice was read before
    echo "$total"
    if [ "$next" -le "$total" ]; then sed -n "${next},${total}p" "$run/log"; fi
}

end_of_log() {
    if [ "$(content "$run/status")" != 0 ]; then
        tail -n 30 "$run/log" | sed "s/^/[${HOSTNAME:-worker}] /"
    fi
}

stop() {
    touch "$run/stopped"
    while going_on && [ ! -e "$run/pid" ]; do sleep 0.1; done
    # One signal is enough, however often this is asked for.
    if going_on && ! cmp -s "$run/pid" "$run/told"; then
        cp "$run/pid" "$run/told"
        kill -TERM "$(cat "$run/pid")" || true
    fi
}

end() { if going_on; then kill -KILL -- "-$(cat "$run/group")" || true; fi; }

main() {
    local verb=$1
    shift
    mkdir -p "$run"
    touch "$run/log"
    case $verb in
        install) install "$@" ;;
        run) start "$@" ;;
        supervise) supervise "$@" ;;
        state) state ;;
        log) log "$1" ;;
        tail) end_of_log ;;
        stop) stop ;;
        kill) end ;;
        *) false ;;
    esac
    exit # before bash reads on: a newer copy may have come in this file's place
}

main "$@"
