#!/usr/bin/env bash
# Pre-training on a slice of TPUs in a GKE cluster, as a JobSet; --help says how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

usage() {
    cat <<'END'
usage: launch/gke.sh [VERB] [FLAG...] [--config.KEY=VALUE...] [-- ARGUMENT...]

  start    (default) fill in launch/gke_jobset.yaml and apply it. What runs goes on, what was
           stopped is taken up, and what failed is deleted and started again.
  print    the filled-in file, and nothing else
  follow   the log of process 0
  status   the JobSet and its pods
  stop     suspend it: every process gets SIGTERM and saves
  delete   the JobSet; the bucket is not touched

  --name NAME            default symskip
  --image IMAGE          needed: with symskip on its PATH, installed with the extras tpu and gcs
  --bucket gs://B        needed: the run goes to gs://B/runs/NAME, ImageNet is read from
                         gs://B/tensorflow_datasets
  --workdir gs://...     of the run, instead
  --data-dir gs://...    where TFDS's imagenet2012 is, as ArrayRecord, instead
  --accelerator A        default tpu-v4-podslice; tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice
  --topology AxB[xC]     default 4x4x4, which is a v4-128
  --chips-per-host N     default 4; 8 for machines such as ct6e-standard-8t
  --config CONFIG        default imagenet
  --service-account S    default default: the Kubernetes account that may write to the bucket
  --max-restarts N       default 100; each preemption counts
  --namespace N          default: that of kubectl's context
  --no-check             do not have a symskip that is here check the configuration first, as where
                         the image has another version
  --dry-run              send nothing; print the command lines, of start those of a first one
  -- ARGUMENT...         for `symskip pretrain`, as they are

examples:
  launch/gke.sh --image IMAGE --bucket gs://B
  launch/gke.sh --image IMAGE --bucket gs://B --accelerator tpu-v6e-slice --topology 8x8
  launch/gke.sh stop

exit status: 0 done; 2 a flag is wrong; else that of kubectl, where it failed. Where the run ended
with 1, 2, 70 or 74 the JobSet has failed; after 75, 76, a signal or the loss of a machine it starts
again.
END
}

name=symskip
image=
bucket=
workdir=
data_dir=
accelerator=tpu-v4-podslice
topology=4x4x4
chips_per_host=4
config=imagenet
service_account=default
max_restarts=100
namespace=
no_check=

# matching FLAG VALUE PATTERN MEANING
matching() { [[ $2 =~ ^($3)$ ]] || die "$1 $4, not \"$2\""; }

check() {
    local label='[a-z0-9]([-a-z0-9]*[a-z0-9])?'
    # Names of pods, with their suffixes, end at 63 characters.
    matching --name "$name" '[a-z]([-a-z0-9]{0,38}[a-z0-9])?' "takes up to 40 of a-z, 0-9 and -"
    [ ! "$namespace" ] || matching --namespace "$namespace" "$label" "takes a-z, 0-9 and -"
    case $verb in start | print) ;; *) return ;; esac
    [ "$image" ] || die "needed: a container image with symskip in it, by --image"
    matching --image "$image" '[A-Za-z0-9][A-Za-z0-9._:/@-]*' "takes the name of an image"
    bucket=${bucket%/}
    [ ! "$bucket" ] || matching --bucket "$bucket" 'gs://.+' "takes gs://..., as all machines see it"
    workdir=${workdir:-${bucket:+$bucket/runs/$name}}
    data_dir=${data_dir:-${bucket:+$bucket/tensorflow_datasets}}
    if [ ! "$workdir" ] || [ ! "$data_dir" ]; then
        die "needed: --bucket gs://..., or both --workdir gs://... and --data-dir gs://..."
    fi
    matching --workdir "$workdir" 'gs://.+' "takes gs://..., as all machines see it"
    matching --data-dir "$data_dir" 'gs://.+' "takes gs://..., as all machines see it"
    matching --accelerator "$accelerator" 'tpu[-a-z0-9]+' "takes GKE's name of a TPU"
    matching --topology "$topology" '[1-9][0-9]*(x[1-9][0-9]*){1,2}' "takes AxB or AxBxC"
    matching --service-account "$service_account" "$label" "takes a-z, 0-9 and -"
    require_counts chips-per-host max-restarts
    local chips=$((${topology//x/*}))
    if [ "$chips" -lt "$chips_per_host" ]; then chips_per_host=$chips; fi
    hosts=$((chips / chips_per_host))
    [ $((hosts * chips_per_host)) -eq "$chips" ] ||
        die "--topology $topology has $chips chips, which machines of $chips_per_host do not share"
    check_pretraining "$config" "--config.data.data_dir=$data_dir" \
        ${arguments[@]+"${arguments[@]}"}
}

# A list of strings, as YAML and JSON write it. Kubernetes reads $$ as $, and $(NAME) as a variable.
json() {
    local word list=""
    for word; do
        word=${word//"\\"/"\\\\"}
        word=${word//'"'/'\"'}
        word=${word//'$'/'$$'}
        case $word in *[[:cntrl:]]*) die "an argument has a line break or the like in it" ;; esac
        list+="${list:+, }\"$word\""
    done
    printf '[%s]' "$list"
}

# fill NAME VALUE: in `text`.
fill() {
    local hole="\${$1}"
    text=${text//"$hole"/"$2"}
}

render() {
    local text list
    text=$(<"$here/gke_jobset.yaml")
    list=$(json pretrain --cluster tpu --config "$config" --workdir "${workdir%/}" \
        "--config.data.data_dir=$data_dir" ${arguments[@]+"${arguments[@]}"}) || return
    fill NAME "$name"
    fill IMAGE "$image"
    fill HOSTS "$hosts"
    fill CHIPS "$chips_per_host"
    fill TOPOLOGY "$topology"
    fill ACCELERATOR "$accelerator"
    fill RESTARTS "$max_restarts"
    fill SERVICE_ACCOUNT "$service_account"
    fill ARGUMENTS "$list" # last, as they may hold anything
    printf '%s\n' "$text"
}

kube() { send kubectl ${namespace:+"--namespace=$namespace"} "$@"; }

start() {
    local ended rendered
    rendered=$(render)
    ended=$(kube get jobset "$name" --ignore-not-found \
        "--output=jsonpath={.status.terminalState}")
    if [ "$dry_run" ]; then
        printf '%s\n' "$ended" "$(kube apply --filename=-)" "$rendered"
        return
    fi
    case $ended in
        Completed)
            say "$name has finished; delete it to run it again"
            return ;;
        Failed)
            say "$name has failed: starting it again"
            kube delete jobset "$name" --cascade=foreground ;;
    esac
    kube apply --filename=- <<<"$rendered"
}

take_flags "start print follow status stop delete" "--name --image --bucket --workdir --data-dir \
    --accelerator --topology --chips-per-host --config --service-account --max-restarts \
    --namespace" "--no-check" "$@"
verb=${verb:-start}
check
pods="--selector=jobset.sigs.k8s.io/jobset-name=$name"
case $verb in
    start) start ;;
    print) render ;;
    follow) kube logs "$pods,batch.kubernetes.io/job-completion-index=0" --follow --tail=100 ;;
    status)
        kube get jobset "$name"
        kube get pods "$pods" ;;
    stop) kube patch jobset "$name" --type=merge '--patch={"spec":{"suspend":true}}' ;;
    delete) kube delete jobset "$name" --ignore-not-found --cascade=foreground ;;
esac
