#!/usr/bin/env bash
# The figures and pictures of docs/features.md and docs/looking.md: digits pre-trained, and CIFAR-10 with 4,000
# labels at its small setting. A quarter of an hour on two CPU cores. Needs CIFAR-10 prepared for TFDS.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=runs/looking results=results/looking

symskip pretrain --config digits --workdir "$runs/digits"
for split in train test; do
  symskip features "$runs/digits" --split $split --out "$runs/$split.npz"
done
symskip probe --workdir "$runs/digits" --kind all
mkdir -p "$results/digits"
cp "$runs/digits"/{config.json,metrics.jsonl,probe.json} "$results/digits/"
# The lines of docs/features.md.
(cd "$runs" && sed -n '/^```python/,/^```/{//!p}' ../../docs/features.md | python -) >"$results/features.txt"

config=(--config cifar10_4k:small --config.model.init=he)
symskip pretrain "${config[@]}" --workdir "$runs/4k"
symskip finetune "${config[@]}" --init "$runs/4k" --workdir "$runs/4k-ft"
symskip visualize "$runs/4k"
symskip visualize "$runs/4k-ft"
for run in 4k 4k-ft; do
  mkdir -p "$results/$run"
  cp "$runs/$run"/{config.json,metrics.jsonl,images/neighbors.json} "$results/$run/"
done
cp "$runs/4k-ft/images/embedding.png" docs/images/looking_embedding.png
layer=$(ls "$runs/4k-ft/images" | sed -n 's/^maps_\(.*\)\.png$/\1/p' | sort -V | tail -1)
symskip visualize "$runs/4k-ft" --layer "$layer" --images 2 --channels 5 --out "$runs/maps"
cp "$runs/maps/maps_$layer.png" docs/images/looking_maps.png
# The page of two runs: its first screens, in any Chromium.
symskip report results/table2/paper/{skip,random_he}/seed_0 --out "$runs/comparison.html"
chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,1540 \
  --screenshot=docs/images/looking_report.png "file://$PWD/$runs/comparison.html"
