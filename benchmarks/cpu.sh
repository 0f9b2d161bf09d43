#!/bin/sh
# Everything on speed that docs/performance.md says of a CPU: results/speed/cpu_*.json. Half an hour on
# two cores, with nothing else running. Needs the extra `interop`.
set -eu
for size in "32 32 15 3 2" "128 16 7 1 1"; do
  set -- $size
  symskip bench step --config cifar10 --config.model.n="$1" --config.pretrain.batch_size="$2" \
    --rounds "$3" --steps "$4" --warmup "$5" --out "results/speed/cpu_step_n$1_batch$2.json"
done
# The same where every contender has what ours sets for itself.
MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 \
  XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=-individual_convolution \
  symskip bench step --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32 \
  --peers flax torch --rounds 11 --steps 3 --warmup 2 \
  --out results/speed/cpu_step_n32_batch32_tuned.json
network="--config.model.n=32 --config.pretrain.batch_size=32"
symskip bench stages --config cifar10 $network --out results/speed/cpu_stages_n32_batch32.json
symskip bench train --config cifar10 $network --images 640 --rounds 2 \
  --out results/speed/cpu_train_n32_batch32.json
python benchmarks/tried.py $network --out results/speed/cpu_tried_n32_batch32.json
python benchmarks/convolutions.py --out results/speed/cpu_convolutions.json
python benchmarks/start.py --out results/speed/cpu_start.json
python results/speed_tables.py
