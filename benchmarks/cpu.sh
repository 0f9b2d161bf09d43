#!/bin/sh
# The step and the epoch on a CPU, in float32: results/speed/cpu_*.json. Needs the extra `interop`.
set -eu
for size in "32 32" "128 16"; do
  n=${size% *} batch=${size#* }
  network="--config cifar10 --config.model.n=$n --config.pretrain.batch_size=$batch"
  symskip bench step $network --peers flax torch torch_compile --rounds 7 --steps 10 --warmup 3 \
    --out "results/speed/cpu_step_n${n}_batch$batch.json"
done
symskip bench train --config cifar10 --config.model.n=32 --config.pretrain.batch_size=32 \
  --images 1280 --rounds 3 --out results/speed/cpu_train_n32_batch32.json
