#!/usr/bin/env bash
# The main job on digits, and the same fine-tuning at a higher learning rate. A few minutes on two CPU
# cores. Runs go to runs/quickstart; their config.json and metrics.jsonl are copied beside this script.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=runs/quickstart

symskip quickstart --workdir "$runs"

for seed in 0 1 2; do
  config=(--config digits "--config.seed=$seed" "--config.data.labels_seed=$seed" --config.finetune.learning_rate=5e-3)
  folder=$runs/seed_$seed
  symskip finetune "${config[@]}" --workdir "$folder/finetune_rate_5e-3" --init "$folder/pretrain"
  for init in gaussian he; do
    symskip finetune "${config[@]}" "--config.model.init=$init" --workdir "$folder/scratch_${init}_rate_5e-3"
  done
  for run in "$folder"/*/; do
    copy=results/quickstart/seed_$seed/$(basename "$run")
    mkdir -p "$copy"
    cp "$run"/{config.json,metrics.jsonl} "$copy/"
  done
done
