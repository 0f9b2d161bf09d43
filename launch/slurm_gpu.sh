#!/usr/bin/env bash
#SBATCH --job-name=symskip
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
# Training on the GPUs of a Slurm cluster: submits itself, and is the job. --help says more. It
# sources nothing, because Slurm runs a copy of it from elsewhere.
set -euo pipefail

usage() {
    cat <<'END'
usage: launch/slurm_gpu.sh [FLAG...] -- pretrain|finetune ARGUMENT...

Submits a job that runs `symskip pretrain|finetune ARGUMENT...` on every GPU; inside an allocation,
as of salloc, it runs there at once. Two minutes before its time is over the run saves, and the job
queues itself again, as it does when a process was lost. --workdir must be on a shared file system.

  --nodes N             default 1
  --gpus-per-node N     default 8
  --processes gpu|node  one process for each GPU (default) or for each node
  --cpus-per-gpu N      default 8; reading images needs them
  --time TIME           as sbatch takes it; default: that of the partition
  --partition NAME      default: that of the cluster
  --symskip PATH        the command on the nodes; default: the one on the PATH, or .venv/bin/symskip
  --max-requeues N      queue again at most N times; default 50
  --sbatch-flag FLAG    for sbatch, as --sbatch-flag=--account=NAME; repeatable. More time to save:
                        --sbatch-flag=--signal=TERM@600. sbatch reads SBATCH_* variables too.
  --dry-run             submit and run nothing; print the command line

examples:
  launch/slurm_gpu.sh --nodes 4 --time 24:00:00 -- pretrain --config imagenet --workdir /shared/run
  launch/slurm_gpu.sh --gpus-per-node 4 -- finetune --config voc2007 --init /shared/run

exit status of the job: that of the run. 1 and 2 are final; after 75, 76 or, where a signal ended a
process, one above 128, the same command goes on.
END
}

say() { printf 'slurm_gpu: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 2
}

nodes=1
gpus_per_node=8
processes=gpu
cpus_per_gpu=8
time=
partition=
symskip=
max_requeues=50
sbatch_flags=()
dry_run=

parse() {
    local variable
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
            --nodes | --gpus-per-node | --processes | --cpus-per-gpu | --time | --partition | \
                --symskip | --max-requeues | --sbatch-flag)
                [ $# -ge 2 ] || die "$1 needs a value" ;;
            *) die "unknown argument \"$1\" before --; --help lists what there is" ;;
        esac
        variable=${1#--}
        case $1 in
            --sbatch-flag) sbatch_flags+=("$2") ;;
            *) printf -v "${variable//-/_}" %s "$2" ;;
        esac
        shift 2
    done
    arguments=("$@")
}

check() {
    local name
    for name in nodes gpus_per_node cpus_per_gpu max_requeues; do
        case ${!name} in
            "" | *[!0-9]* | 0*)
                die "--${name//_/-} takes a whole number from 1 on, not \"${!name}\"" ;;
        esac
    done
    case $processes in
        gpu) tasks_per_node=$gpus_per_node cpus_per_task=$cpus_per_gpu ;;
        node) tasks_per_node=1 cpus_per_task=$((cpus_per_gpu * gpus_per_node)) ;;
        *) die "--processes is gpu or node, not \"$processes\"" ;;
    esac
    case ${arguments[0]-} in
        pretrain | finetune) ;;
        *) die "needed: -- pretrain or -- finetune, and what symskip is to do" ;;
    esac
    if [ ! "$symskip" ]; then
        symskip=$(command -v symskip || echo "$PWD/.venv/bin/symskip")
        [ -x "$symskip" ] || die "no symskip on the PATH or in .venv: name it with --symskip"
    fi
}

submit() {
    local here
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    send sbatch "--nodes=$nodes" "--gpus-per-node=$gpus_per_node" \
        "--ntasks-per-node=$tasks_per_node" "--cpus-per-task=$cpus_per_task" \
        ${time:+"--time=$time"} ${partition:+"--partition=$partition"} \
        ${sbatch_flags[@]+"${sbatch_flags[@]}"} "$here/slurm_gpu.sh" \
        --nodes "$nodes" --gpus-per-node "$gpus_per_node" --processes "$processes" \
        --cpus-per-gpu "$cpus_per_gpu" --symskip "$symskip" --max-requeues "$max_requeues" \
        -- "${arguments[@]}"
}

# Runs a command, or prints it in a dry run.
send() {
    if [ "$dry_run" ]; then printf '%q ' "$@" && echo; else "$@"; fi
}

# What each task runs. srun gives the highest status of all: 1 and 2, which are final, are lifted
# above those of the processes that only lost this one. A signal may reach this shell alone.
# shellcheck disable=SC2016
task='"$@" &
child=$!
trap "kill -TERM $child" TERM
wait $child
status=$?
while kill -0 $child 2>/dev/null; do
    wait $child
    status=$?
done
case $status in 1 | 2) exit $((200 + status)) ;; *) exit $status ;; esac'

job() {
    local status=0 child ended_by_slurm=""
    # JAX gives each task of Slurm one GPU, of all that it sees on its node, unless told otherwise.
    if [ "$processes" = node ]; then
        JAX_LOCAL_DEVICE_IDS=$(seq -s , 0 $((gpus_per_node - 1)))
        export JAX_LOCAL_DEVICE_IDS
    fi
    set -- srun "--nodes=$nodes" "--ntasks-per-node=$tasks_per_node" \
        "--cpus-per-task=$cpus_per_task" --gpu-bind=none --kill-on-bad-exit=0 --wait=900 --label \
        bash -c "$task" task "$symskip" "${arguments[@]}"
    if [ "$dry_run" ]; then
        send "$@"
        return
    fi
    # Slurm signals the steps near the end of the time, and this shell only where it ends the job
    # itself: by scancel, or to preempt it, after which it queues the job as it was configured to.
    "$@" &
    child=$!
    trap 'ended_by_slurm=yes; kill -TERM $child' TERM
    wait $child || status=$?
    while kill -0 $child 2>/dev/null; do
        status=0
        wait $child || status=$?
    done
    case $status in 201 | 202) status=$((status - 200)) ;; esac
    say "the run ended with status $status"
    if [ ! "$ended_by_slurm" ] && can_go_on $status; then queue_again; fi
    exit $status
}

# After a stop, the loss of another process, or a signal.
can_go_on() { [ "$1" -eq 75 ] || [ "$1" -eq 76 ] || { [ "$1" -gt 128 ] && [ "$1" -lt 193 ]; }; }

queue_again() {
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$max_requeues" ]; then
        say "given up after $max_requeues requeues"
    else
        scontrol requeue "$SLURM_JOB_ID" || say "not queued again; the same command goes on"
    fi
}

parse "$@"
check
if [ "${SLURM_JOB_ID-}" ]; then job; else submit; fi
