#!/usr/bin/env bash
# A small RED-Net trained to remove noise of sigma 30, measured on whole test images of the literature. Nine
# minutes of one CPU core. Started again, it goes on where it was.
#
#   PHOTOS=/where/VOC2012/JPEGImages/is TEST_SETS=/where/Set12/and/Set5/are results/restoration/small/run.sh
#
# PHOTOS are the 160 photographs of VOC 2012 that results/folder_small was trained on too. The run goes to
# runs/restoration/small; its logs and what was measured are copied beside this script.
set -euo pipefail
cd "$(dirname "$0")/../../.."
root=$PWD run=runs/restoration/small results=results/restoration/small

# By the folder's name alone, so that the logs do not say where it lies.
(
  cd "$(dirname "$PHOTOS")"
  symskip pretrain --config "$root/configs/red_net.py:small" --workdir "$root/$run" \
    "--config.data.name=folder:$(basename "$PHOTOS")"
)
cp "$run"/{config.json,metrics.jsonl} "$results/"
for set in Set12 Set5; do
  symskip restore "$TEST_SETS/$set" --checkpoint "$run" --sigma 30 --out "$run/$set"
  cp "$run/$set/restore.json" "$results/$set.json"
done
