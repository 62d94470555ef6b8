#!/usr/bin/env bash
# All runs, one after another, on one machine of 8 GPUs; NODES and HEAD for several machines, the same line on each.
#   bash recipes/paper-7b/torchrun.sh OUT
set -euo pipefail
config="$(dirname "$0")/experiment.yaml"
exec torchrun --nnodes="${NODES:-1}" --nproc-per-node="${GPUS:-8}" --rdzv-backend=c10d --rdzv-endpoint="${HEAD:-localhost}:29500" \
  -m attention_influence experiment "$config" --out "${1:?the folder of the runs}"
