#!/usr/bin/env bash
# CIFAR-10 with 4,000 labels (section 5.3.1), narrowed and shortened: every start, three seeds, each with a
# label draw of its own. About two hours on two CPU cores. Started again, it goes on where it was.
#
#   TFDS_DATA_DIR=/where/cifar10/is results/cifar10_4k_small/run.sh
#
# Runs go to runs/cifar10_4k_small; their config.json and metrics.jsonl are copied beside this script.
set -euo pipefail
cd "$(dirname "$0")/../.."

# one START SEED: pre-trains if the start asks for it, fine-tunes, copies the logs.
one() {
  local start=$1 seed=$2 runs=runs/cifar10_4k_small/$1/seed_$2
  local config=(--config configs/cifar10_4k.py:small "--config.seed=$seed" "--config.data.labels_seed=$seed"
    --config.model.width_multiplier=0.25)
  local init=()
  case $start in
    gaussian) config+=(--config.finetune.corruption_probability=0) ;;
    he) config+=(--config.model.init=he --config.finetune.corruption_probability=0) ;;
    pretrained_no_skip) config+=(--config.model.skip=none) init=(--init "$runs/pretrain") ;;
    pretrained_skip) init=(--init "$runs/pretrain") ;;
    pretrained_skip_he) config+=(--config.model.init=he) init=(--init "$runs/pretrain") ;;
  esac
  if [ ${#init[@]} -gt 0 ]; then
    symskip pretrain "${config[@]}" --workdir "$runs/pretrain"
  fi
  symskip finetune "${config[@]}" --workdir "$runs/finetune" "${init[@]}"
  local stage
  for stage in pretrain finetune; do
    if [ -d "$runs/$stage" ]; then
      mkdir -p "results/cifar10_4k_small/$start/seed_$seed/$stage"
      cp "$runs/$stage"/{config.json,metrics.jsonl} "results/cifar10_4k_small/$start/seed_$seed/$stage/"
    fi
  done
}

jobs() {
  local seed start
  for seed in 0 1 2; do
    for start in pretrained_skip pretrained_no_skip he gaussian; do echo "$start $seed"; done
  done
  for seed in 0 1 2; do echo "pretrained_skip_he $seed"; done
}

if [ $# -eq 2 ]; then
  one "$@"
else
  jobs | xargs -P 2 -L 1 results/cifar10_4k_small/run.sh
fi
