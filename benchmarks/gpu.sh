#!/bin/sh
# The step and the epoch of CIFAR-10's network on one GPU, in bfloat16: results/speed/gpu_*.json.
# Needs the extras `cuda` and `interop`.
set -eu
network="--config cifar10 --config.model.n=128 --config.model.dtype=bfloat16"
symskip bench step $network --config.pretrain.batch_size=512 \
  --peers flax torch torch_compile torch_max_autotune --rounds 7 --steps 20 --warmup 5 \
  --out results/speed/gpu_step_n128_batch512.json
symskip bench stages $network --config.pretrain.batch_size=512 \
  --out results/speed/gpu_stages_n128_batch512.json
symskip bench train $network --config.pretrain.batch_size=512 --images 50000 --rounds 3 \
  --out results/speed/gpu_train_n128_batch512.json
