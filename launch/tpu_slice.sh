# Sourced by tpu_imagenet.sh: the slice, what runs on its workers, and what to do when gcloud fails.
# shellcheck shell=bash
# shellcheck disable=SC2154  # of the flags, which tpu_imagenet.sh sets

state=    # of the queued resource; empty where there is none
workers=  # a line for each, as tpu_worker.sh prints them
owned=    # whether this script has seen the slice since it last deleted it
failures=0
tolerated=0
restarts=0
progress=0  # the newest checkpoint when restarts were last counted

# Runs gcloud. What it says besides its result is kept for the case that it fails. Descriptor 3 is
# standard output.
cloud() {
    if [ "$dry_run" ]; then
        send gcloud "$@" >&3
    else
        gcloud "$@" 2>"$scratch/said" </dev/null 3>&-
    fi
}

tpus() { cloud compute tpus "$@" "--project=$project" "--zone=$zone" --quiet; }

# So that a signal need not wait for its end.
nap() {
    sleep "$poll" &
    wait $!
}

# on WORKERS COMMAND: over a connection that notices when the other side has gone.
on() {
    tpus tpu-vm ssh "$name" "--worker=$1" "--command=$2" --ssh-flag=-oConnectTimeout=20 \
        --ssh-flag=-oServerAliveInterval=20 ${ssh_flags[@]+"${ssh_flags[@]}"}
}

worker() { on "$1" "$(quoted bash symskip_worker.sh "${@:2}")"; }

look() {
    local found status=0
    found=$(tpus queued-resources describe "$name" \
        "--format=value(state.state,tpu.nodeSpec[0].node.acceleratorType.basename())") || status=$?
    if [ $status -ne 0 ]; then
        grep -q NOT_FOUND "$scratch/said" || return $status
        found=
    fi
    read -r state found <<<"$found" || true
    if [ "$found" ] && [ "$found" != "$type" ]; then
        die "$name is a $found there, not a $type: delete it first, or give another --name"
    fi
}

# A worker that has nothing yet is idle.
ask() {
    local found
    found=$(on all "bash symskip_worker.sh state 2>/dev/null || echo state new idle - - - -") ||
        return
    workers=$(grep "^state " <<<"$found" || true)
}

# Which of the workers' lines have VALUE in COLUMN.
having() { awk -v column="$1" -v value="$2" '$column == value' <<<"$workers"; }

newest_checkpoint() {
    local listed status=0
    listed=$(cloud storage ls "$workdir/checkpoints/") || status=$?
    if [ $status -ne 0 ]; then grep -q "matched no objects" "$scratch/said" || return $status; fi
    { sed -n 's:.*/\([0-9][0-9]*\)/$:\1:p' <<<"$listed" && echo 0; } | sort -n | tail -n 1
}

create() {
    local spot=()
    if [ "$provisioning" = spot ]; then spot=(--spot); fi
    say "asking for $name: $type, $provisioning, in $zone"
    tpus queued-resources create "$name" "--node-id=$name" "--accelerator-type=$type" \
        "--runtime-version=$runtime" ${spot[@]+"${spot[@]}"} \
        ${create_flags[@]+"${create_flags[@]}"}
}

delete() {
    if [ ! "$dry_run" ]; then say "deleting $name"; fi
    tpus queued-resources delete "$name" --force && owned=
}

# Returns once the slice is ACTIVE.
get_slice() {
    local shown=""
    while :; do
        attempt "describing $name" look || continue
        if [ "$state" ] && [ "$state" != "$shown" ]; then say "$name is $state"; fi
        shown=$state
        case $state in
            ACTIVE)
                owned=yes
                return ;;
            "")
                if [ "$owned" ]; then
                    say "$name was deleted; start creates it again"
                    exit 76
                fi
                attempt "creating $name" create || continue
                if [ "$dry_run" ]; then look && return; fi
                owned=yes ;;
            SUSPENDED | FAILED)
                count_restart "$name was preempted or failed" 76
                attempt "deleting $name" delete || true
                continue ;;
        esac
        failures=0
        nap
    done
}

# attempt WHAT COMMAND...: fails if the command failed and may be tried again: where the slice has
# gone, and for a while once a run was seen, because an API or a connection can be away for minutes.
# Else it ends all. 71 is a worker's own failure.
attempt() {
    local status=0 was=$state
    "${@:2}" || status=$?
    if [ $status -eq 0 ]; then return; fi
    if [ "$was" = ACTIVE ]; then
        cp "$scratch/said" "$scratch/said.first"
        if look && [ "$state" != ACTIVE ]; then return 1; fi
        mv "$scratch/said.first" "$scratch/said"
    fi
    failures=$((failures + 1))
    if [ $failures -gt $tolerated ] || [ $status -eq 71 ]; then failed $status "$1"; fi
    say "$1 failed with status $status; trying again"
    nap
    return 1
}

# failed STATUS WHAT: ends the script with what gcloud said.
failed() {
    cat "$scratch/said" >&2
    say "$2 failed with status $1"
    exit "$1"
}

# count_restart WHY STATUS: ends the script where there were too many without a new checkpoint.
count_restart() {
    local newest
    newest=$(newest_checkpoint) || newest=$progress
    if [ "$newest" -gt "$progress" ]; then
        progress=$newest
        restarts=0
    fi
    restarts=$((restarts + 1))
    if [ $restarts -gt "$max_restarts" ]; then
        finish "$2" "$1; given up: no checkpoint after step $progress in $max_restarts restarts"
    fi
    say "$1; restart $restarts of at most $max_restarts without a checkpoint after step $progress"
}

finish() {
    say "$2"
    if [ "$delete_at_end" ]; then delete || failed $? "deleting $name"; fi
    exit "$1"
}
