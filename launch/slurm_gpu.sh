#!/usr/bin/env bash
# Training on the GPUs of a Slurm cluster: submits itself, and is the job; --help says how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

usage() {
    cat <<'END'
usage: launch/slurm_gpu.sh [FLAG...] -- pretrain|finetune ARGUMENT...

Submits a job that runs `symskip pretrain|finetune ARGUMENT...` as one process on every GPU; inside
an allocation, as of salloc, it runs there at once. Two minutes before its time is over the run
saves, and the job queues itself again, as it does when a process was lost. This folder, symskip and
--workdir must be on a shared file system. A second job of the same command waits for the first.

  --nodes N           default 1
  --gpus-per-node N   default 8
  --cpus-per-gpu N    default 8; reading images needs them
  --time TIME         as sbatch takes it; default: that of the partition
  --partition NAME    default: that of the cluster
  --symskip PATH      the command on the nodes; default: the one on the PATH, or .venv/bin/symskip
  --max-requeues N    queue again at most N times; default 50
  --sbatch-flag FLAG  for sbatch, as --sbatch-flag=--account=NAME; repeatable. More time to save:
                      --sbatch-flag=--signal=TERM@600. sbatch reads SBATCH_* variables too.
  --dry-run           submit and run nothing; print the command line

examples:
  launch/slurm_gpu.sh --nodes 4 --time 24:00:00 -- pretrain --config imagenet --workdir /shared/run
  launch/slurm_gpu.sh --gpus-per-node 4 -- finetune --config voc2007 --init /shared/run

exit status of the job: that of the run. After 75, 76 and, where a signal ended a process, one above
128 the same command goes on, and the job is queued again; all others are final.
END
}

nodes=1
gpus_per_node=8
cpus_per_gpu=8
time=
partition=
symskip=
max_requeues=50
sbatch_flags=()

submit() {
    local sum
    sum=$(printf '%s\0' "${arguments[@]}" | cksum)
    # The same command once more waits for the first, as both would write to one folder. Not as a
    # script, of which Slurm would run a copy that does not find common.sh.
    send sbatch "--job-name=symskip-${sum%% *}" --dependency=singleton --signal=TERM@120 --requeue \
        --open-mode=append "--nodes=$nodes" "--gpus-per-node=$gpus_per_node" \
        "--ntasks-per-node=$gpus_per_node" "--cpus-per-task=$cpus_per_gpu" ${time:+"--time=$time"} \
        ${partition:+"--partition=$partition"} ${sbatch_flags[@]+"${sbatch_flags[@]}"} \
        "--wrap=exec $(quoted bash "$here/slurm_gpu.sh" --nodes "$nodes" \
            --gpus-per-node "$gpus_per_node" --cpus-per-gpu "$cpus_per_gpu" \
            --symskip "$symskip" --max-requeues "$max_requeues" -- "${arguments[@]}")"
}

# What each task runs. srun gives the highest status of all, so final ones below 75 are lifted above
# those of processes that only lost this one. A signal may reach this shell alone.
# shellcheck disable=SC2016
task='"$@" &
child=$!
trap "kill -TERM $child" TERM
while kill -0 $child 2>/dev/null; do wait $child; done
wait $child
status=$?
if [ $status -gt 0 ] && [ $status -lt 75 ]; then status=$((status + 180)); fi
exit $status'

job() {
    local status=0 child ended_by_slurm=""
    # JAX takes, of all GPUs that a task sees, the one with its number on the node.
    set -- srun "--nodes=$nodes" "--ntasks-per-node=$gpus_per_node" \
        "--cpus-per-task=$cpus_per_gpu" --gpu-bind=none --kill-on-bad-exit=0 --wait=900 --label \
        bash -c "$task" task "$symskip" "${arguments[@]}" --cluster slurm
    if [ "$dry_run" ]; then
        send "$@"
        return
    fi
    # Slurm signals the steps near the end of the time, and this shell only where it ends the job
    # itself: by scancel, or to preempt it, after which it queues the job as it was configured to.
    "$@" &
    child=$!
    trap 'ended_by_slurm=yes; kill -TERM $child' TERM
    while kill -0 $child 2>/dev/null; do wait $child || true; done
    wait $child || status=$?
    # 253 is srun's own, for memory that ran out.
    if [ $status -gt 180 ] && [ $status -ne 253 ]; then status=$((status - 180)); fi
    say "the run ended with status $status"
    if [ ! "$ended_by_slurm" ] && can_go_on $status; then queue_again; fi
    exit $status
}

queue_again() {
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$max_requeues" ]; then
        say "given up after $max_requeues requeues"
    else
        scontrol requeue "$SLURM_JOB_ID" || say "not queued again; the same command goes on"
    fi
}

take_flags "" "--nodes --gpus-per-node --cpus-per-gpu --time --partition --symskip --max-requeues \
    --sbatch-flag" "" "$@"
require_counts nodes gpus-per-node cpus-per-gpu max-requeues
require_verb
find_symskip "$PWD"
if [ "$dry_run" ] || [ ! "${SLURM_JOB_ID-}" ]; then check_command "$symskip" "${arguments[@]}"; fi
if [ "${SLURM_JOB_ID-}" ]; then job; else submit; fi
