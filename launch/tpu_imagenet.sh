#!/usr/bin/env bash
# ImageNet pre-training on a slice of Cloud TPUs; --help says how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=tpu_slice.sh
. "$here/tpu_slice.sh"

usage() {
    cat <<'END'
usage: launch/tpu_imagenet.sh [VERB] [FLAG...] [--config.KEY=VALUE...] [-- ARGUMENT...]

  start    (default) create the slice where there is none, wait for it, copy this checkout there,
           install it, run `symskip pretrain` on every worker, print worker 0's log, and start again
           after a preemption or the loss of a process. What is there or done is not done again; a
           run that goes on is only followed. Ctrl-C leaves it to itself; `start` takes it up again.
  follow   print the log of the run until it ends; nothing is started again
  status   the slice, each worker's run, and the newest checkpoint
  stop     SIGTERM to every worker: the run saves and ends, and so does a `start` that follows it
  delete   the slice and all that is on it; `stop` first, to save. The bucket is not touched.

Each flag can also be set by the variable beside it; the flag wins.

  --project ID         SYMSKIP_PROJECT, CLOUDSDK_CORE_PROJECT: needed
  --bucket gs://B      SYMSKIP_BUCKET: gives the next two as gs://B/runs/NAME and
                       gs://B/tensorflow_datasets
  --workdir gs://...   SYMSKIP_WORKDIR: of the run
  --data-dir gs://...  SYMSKIP_DATA_DIR: where TFDS's imagenet2012 is, as ArrayRecord
  --type TYPE          SYMSKIP_TPU_TYPE: default v4-128
  --zone ZONE          SYMSKIP_ZONE, CLOUDSDK_COMPUTE_ZONE: us-central2-b for v4, else needed
  --runtime VERSION    SYMSKIP_TPU_RUNTIME: default tpu-ubuntu2204-base, or what v5e, v5p, v6e need
  --name NAME          SYMSKIP_TPU_NAME: of the queued resource and its slice; symskip-TYPE
  --provisioning P     SYMSKIP_PROVISIONING: spot (default), which can be preempted and is then
                       created again, or on-demand
  --config CONFIG      SYMSKIP_CONFIG: default imagenet
  --source URL         SYMSKIP_SOURCE: a git repository to clone on the workers instead of copying
                       this checkout, of which all tracked files are copied as they are
  --revision REV       SYMSKIP_REVISION: what to check out of --source; default HEAD
  --max-restarts N     SYMSKIP_MAX_RESTARTS: give up after N without a new checkpoint; 5
  --poll SECONDS       SYMSKIP_POLL: between looks at the slice; 30
  --grace SECONDS      SYMSKIP_GRACE: for the other workers to end once one has; 900
  --create-flag FLAG   for `queued-resources create`, as --create-flag=--network=N; repeatable
  --ssh-flag FLAG      for `tpu-vm ssh` and `scp`, as --ssh-flag=--internal-ip; repeatable
  --delete-at-end      delete the slice when `start` ends, finished or given up, but not when it was
                       stopped or left
  --no-check           do not have a symskip that is here check the configuration first, as where
                       that of --source is another version
  --dry-run            send nothing; print the command lines, of `start` those of a first one
  -- ARGUMENT...       for `symskip pretrain`, as they are

examples:
  launch/tpu_imagenet.sh --project P --bucket gs://B --config.pretrain.batch_size=2048
  launch/tpu_imagenet.sh --project P --bucket gs://B --type v5p-512 --zone us-east5-a
  launch/tpu_imagenet.sh stop --project P

exit status:
  0    finished; of the other verbs: done
  1    the loss became NaN or infinite
  2    a flag, the configuration or the data is wrong
  70   the run crashed: the end of its log is printed
  74   its last state could not be saved
  75   stopped and saved: start goes on
  76   the slice was lost too often without a new checkpoint, or deleted; so was a process
  else of gcloud, where it failed, or of the run, where a signal ended it too often
END
}

project=${SYMSKIP_PROJECT-${CLOUDSDK_CORE_PROJECT-}}
bucket=${SYMSKIP_BUCKET-}
workdir=${SYMSKIP_WORKDIR-}
data_dir=${SYMSKIP_DATA_DIR-}
type=${SYMSKIP_TPU_TYPE-v4-128}
zone=${SYMSKIP_ZONE-${CLOUDSDK_COMPUTE_ZONE-}}
runtime=${SYMSKIP_TPU_RUNTIME-}
name=${SYMSKIP_TPU_NAME-}
provisioning=${SYMSKIP_PROVISIONING-spot}
config=${SYMSKIP_CONFIG-imagenet}
source=${SYMSKIP_SOURCE-}
revision=${SYMSKIP_REVISION-}
max_restarts=${SYMSKIP_MAX_RESTARTS-5}
poll=${SYMSKIP_POLL-30}
grace=${SYMSKIP_GRACE-900}
create_flags=()
ssh_flags=()
delete_at_end=
no_check=

check() {
    [ "$project" ] || die "needed: the project of the TPUs, by --project or SYMSKIP_PROJECT"
    case $type in
        "" | *[!a-z0-9-]*) die "--type takes a type of TPU as v4-128, not \"$type\"" ;;
    esac
    case $type in v4-*) zone=${zone:-us-central2-b} ;; esac
    [ "$zone" ] || die "needed: a zone that has $type, by --zone or SYMSKIP_ZONE"
    case $type in
        v5litepod-*) runtime=${runtime:-v2-alpha-tpuv5-lite} ;;
        v5p-*) runtime=${runtime:-v2-alpha-tpuv5} ;;
        v6e-*) runtime=${runtime:-v2-alpha-tpuv6e} ;;
        *) runtime=${runtime:-tpu-ubuntu2204-base} ;;
    esac
    name=${name:-symskip-$type}
    case $name in
        [!a-z]* | *[!a-z0-9-]* | *-) die "--name takes a-z, 0-9 and -, not \"$name\"" ;;
    esac
    case $provisioning in
        spot | on-demand) ;;
        *) die "--provisioning is spot or on-demand, not \"$provisioning\"" ;;
    esac
    require_counts max-restarts grace
    case $poll in "" | *[!0-9.]*) die "--poll takes seconds, not \"$poll\"" ;; esac
    [ ! "$revision" ] || [ "$source" ] || die "--revision needs --source; a checkout goes as it is"

    bucket=${bucket%/}
    [ ! "$bucket" ] || require_bucket "" --bucket "$bucket"
    workdir=${workdir:-${bucket:+$bucket/runs/$name}}
    data_dir=${data_dir:-${bucket:+$bucket/tensorflow_datasets}}
    if [ "$verb" = start ]; then
        require_bucket "a folder for the run" --workdir "$workdir"
        require_bucket "where ImageNet is" --data-dir "$data_dir"
    elif [ "$workdir" ]; then
        require_bucket "" --workdir "$workdir"
    fi
    workdir=${workdir%/}
    if [ "$verb" = start ]; then
        check_pretraining "$config" "--config.data.data_dir=$data_dir" \
            ${arguments[@]+"${arguments[@]}"}
    fi
}

require_bucket() {
    case $3 in
        gs://?*) ;;
        "") die "needed: $1, by --bucket gs://... or $2 gs://..." ;;
        *) die "$2 must be on Cloud Storage, where all workers see it: gs://..., not \"$3\"" ;;
    esac
}

# Prints the tree of all tracked files of this checkout, committed or not.
tracked_files() {
    local edited=HEAD
    if ! git -C "$here" diff --quiet HEAD; then
        edited=$(git -C "$here" -c user.name=symskip -c user.email=symskip stash create) || return
    fi
    git -C "$here" rev-parse "$edited^{tree}"
}

# Sets `revision` to what says which files are to be there.
find_revision() {
    local wanted=${revision:-HEAD}
    if [ ! "$source" ]; then
        revision=$(tracked_files 2>"$scratch/said") ||
            die "no git checkout to copy is here ($(tail -n 1 "$scratch/said")): give --source URL"
    elif [ ! "$dry_run" ]; then
        revision=$(git ls-remote "$source" "$wanted" </dev/null) || die "--source: cannot be read"
        revision=${revision%%[[:space:]]*}
    fi
    revision=${revision:-$wanted} # the number of a commit is not listed
}

# Copies and installs; what is installed at this revision already is left as it is.
install() {
    local files=("$scratch/symskip_worker.sh")
    cp "$here/tpu_worker.sh" "${files[0]}"
    if [ ! "$workers" ] || [ "$(having 6 "$revision")" != "$workers" ]; then
        say "installing $revision on every worker"
        if [ ! "$source" ]; then
            files+=("$scratch/symskip_source.tar.gz")
            git -C "$here/.." archive --format=tar.gz --output="${files[1]}" "$revision" || return
        fi
    fi
    tpus tpu-vm scp "${files[@]}" "$name:" --worker=all --scp-flag=-oConnectTimeout=20 \
        ${ssh_flags[@]+"${ssh_flags[@]}"} &&
        worker all install "${source:-copy}" "$revision"
}

# Prints worker 0's log until the run has ended on every worker, or the slice has gone; sets
# `outcome` to what decide says, or to gone. $1: since when workers have been asked to end, if any.
next_line=0
follow() {
    local since=$1
    while :; do
        if ! attempt "asking the workers" ask || ! attempt "reading the log" read_log; then
            if [ "$state" = ACTIVE ]; then continue; fi
            outcome=gone
            return
        fi
        if [ "$dry_run" ]; then exit; fi
        failures=0
        tolerated=10
        if [ ! "$(having 3 running)" ]; then
            decide
            return
        fi
        if [ "$since" ] || [ "$(having 3 running)" != "$workers" ]; then
            since=${since:-$SECONDS}
            if [ $((SECONDS - since)) -gt "$grace" ]; then
                say "ending what still runs after $grace s"
                attempt "ending the run" worker all kill || continue
            fi
        fi
        nap
    done
}

read_log() {
    local text
    text=$(worker 0 log "$next_line") || return
    if [ ! "$dry_run" ]; then
        next_line=$(($(head -n 1 <<<"$text") + 1))
        tail -n +2 <<<"$text"
    fi
}

# Sets `outcome` to the exit status that decides, and `statuses` to all of them in words.
decide() {
    local each status count
    each=$(awk '{ print ($3 == "ended" ? $4 : "lost") }' <<<"$workers" | sort | uniq -c)
    outcome=0 statuses=
    while read -r count status; do
        statuses+="${statuses:+, }$status on $count"
        outcome=$(deciding "$outcome" "${status/lost/137}")
    done <<<"$each"
    if can_go_on "$outcome" && [ "$(having 7 stopped)" ]; then outcome=stopped; fi
}

start() {
    local mode=first command
    set -- pretrain --cluster tpu --config "$config" --workdir "$workdir" \
        "--config.data.data_dir=$data_dir" ${arguments[@]+"${arguments[@]}"}
    command=$(printf '%s\0' "$@" | cksum | tr ' ' :)
    progress=$(newest_checkpoint) || failed $? "listing $workdir"
    progress=${progress:-0}
    find_revision
    while :; do
        get_slice
        attempt "asking the workers" ask || continue
        if [ "$(awk -v own="$command" '$3 == "running" && $5 != own' <<<"$workers")" ]; then
            die "a run with other arguments goes on at $name: stop it first"
        fi
        if [ "$(having 3 running)" ] && [ ! "$(having 3 ended)$(having 3 idle)" ]; then
            say "a run goes on at $name: following it"
        elif [ ! "$(having 3 running)" ] || [ ! "$(having 3 ended)" ]; then
            attempt "installing" install || continue
            attempt "starting the run" worker all run "$mode" "$@" || continue
        fi
        follow ""
        case $outcome in
            gone) ;;
            0) finish 0 "the run has finished: $workdir" ;;
            stopped)
                say "the run was stopped (status $statuses); start goes on"
                exit 75 ;;
            *)
                if ! can_go_on "$outcome"; then
                    worker all tail >&2 || true
                    finish "$outcome" "the run cannot go on: status $statuses"
                fi
                count_restart "the run ended with status $statuses" "$outcome" ;;
        esac
        mode=again
    done
}

# require_slice STATUS: ends the script with it where there is no slice to talk to.
require_slice() {
    look || failed $? "describing $name"
    if [ "$state" != ACTIVE ] && [ ! "$dry_run" ]; then
        say "$name: ${state:-there is none}"
        exit "$1"
    fi
    ask || failed $? "asking the workers"
}

main() {
    local newest
    take_flags "start follow status stop delete" "--project --bucket --workdir --data-dir --type \
        --zone --runtime --name --provisioning --config --source --revision --max-restarts --poll \
        --grace --create-flag --ssh-flag" "--delete-at-end --no-check" "$@"
    verb=${verb:-start}
    check
    exec 3>&1
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'say "left; a run goes on without this, and start takes it up again"; exit 130' INT TERM
    : >"$scratch/said"
    case $verb in
        start) start ;;
        follow)
            require_slice 76
            follow ""
            case $outcome in
                gone) outcome=76 statuses="none: $name is ${state:-not there}" ;;
                stopped) outcome=75 ;;
            esac
            say "the run has ended with status $statuses"
            exit "$outcome" ;;
        status)
            require_slice 0
            newest=
            if [ "$workdir" ]; then
                newest=$(newest_checkpoint) || failed $? "listing $workdir"
            fi
            if [ "$dry_run" ]; then exit; fi
            say "$name: $state"
            if [ "$workers" ]; then printf '%s\n' "$workers"; fi
            if [ "$newest" ]; then say "newest checkpoint: step $newest"; fi ;;
        stop)
            require_slice 0
            if [ ! "$(having 3 running)" ] && [ ! "$dry_run" ]; then
                say "no run goes on"
                exit
            fi
            worker all stop || failed $? "stopping the run"
            follow "$SECONDS"
            say "the run has ended with status ${statuses-none: the slice has gone}" ;;
        delete)
            look || failed $? "describing $name"
            if [ "$state" ] || [ "$dry_run" ]; then
                delete || failed $? "deleting $name"
            else
                say "$name: there is none"
            fi ;;
    esac
}

main "$@"
