#!/bin/sh
# How images get in, beside tf.data: results/input/benchmark.json.
#
#   benchmarks/input.sh VOCdevkit/VOC2012/JPEGImages ~/tensorflow_datasets
#
# A folder with 500x375 JPEGs, and one that has tfds:cifar10. tf.data's half needs the extra
# `prepare`, and both need Linux.
set -eu
symskip bench input --images "$1" --cifar10 "$2" --rounds 3 --warmup 2 --seconds 4 \
  --out results/input/benchmark.json
