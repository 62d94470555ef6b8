#!/usr/bin/env bash
# On the machine with the GPU, in the repository's root, without network:  bash benchmarks/gpu/on_gpu.sh 1   and then   … 2, … 3
# 1: versions, golden tests, single kernels, whole passes of two sizes with random weights, tokenizing (about 7 minutes).
# 2: the real model against scores of a CPU, `score` from end to end (about 3 minutes); on the same machine, after 1.
# 3: the study of training at 20 million parameters: a corpus scored, four arms and five seeds trained (eight minutes at most); after 2.
# Every part has its time limit and runs whatever became of the others. Logs and profiles: $OUT. Exit code 1: a part failed.
set -u
STEP=${1:?1, 2 or 3}
export OUT=${OUT:-/tmp/attention-influence-gpu}
SITE=${SITE:-$OUT/site}
mkdir -p "$OUT" "$SITE"
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 XDG_CACHE_HOME=$OUT/cache TOKENIZERS_PARALLELISM=true
export PYTHONPATH="$SITE:$PWD/src:$PWD/tests"
failed=0

part() { # name, seconds, command …
  local name=$1 limit=$2 began=$SECONDS code; shift 2
  timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1; code=$?
  echo "=== $name: exit $code, $((SECONDS - began)) s"
  grep -v "it/s\]" "$OUT/$name.log" | tail -n 60 | cut -c1-400
  [ "$code" = 0 ] || failed=1
}

if [ ! -e "$SITE/.unpacked" ]; then
  for wheel in .gpu-wheels/*.whl; do python3 -m zipfile -e "$wheel" "$SITE" || exit 1; done
  mkdir -p "$SITE/attention_influence-0.dist-info"  # its version is asked for
  printf 'Metadata-Version: 2.1\nName: attention-influence\nVersion: 0\n' >"$SITE/attention_influence-0.dist-info/METADATA"
  touch "$SITE/.unpacked"
fi

case $STEP in
1)
  part versions 60 bash -c 'nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader; nproc; python3 -c "
import torch, transformers, tokenizers; print(torch.__version__, transformers.__version__, tokenizers.__version__)"'
  part golden 150 python3 -m pytest -q -p no:cacheprovider tests/model/test_cuda.py tests/model/test_varlen_attention.py
  part kernels 90 python3 benchmarks/gpu/single_kernels.py
  for size in 135M 1.7B; do part "speed-$size" 120 python3 benchmarks/gpu/speed.py "$size"; done
  part tokenizing 60 python3 benchmarks/gpu/tokenizing.py .gpu-data/tokenizer.json
  ;;
2)
  cat .gpu-data/model.gguf.? .gpu-data-2/model.gguf.? >"$OUT/model.gguf" || exit 1
  (cd "$OUT" && sha256sum -c --quiet "$OLDPWD/.gpu-data/model.sha256") || exit 1
  demo=.gpu-data/demo
  part agreement 150 python3 benchmarks/gpu/agreement.py "$OUT/model.gguf" $demo/heads.json $demo/scores $demo/corpus
  part acceptance 240 python3 benchmarks/gpu/acceptance.py "$OUT/model.gguf" $demo/heads.json $demo/corpus
  rm -rf "$OUT/store"
  part score 120 python3 -m attention_influence score $demo/corpus --model "$OUT/model.gguf" --heads $demo/heads.json \
    --out "$OUT/store" --domain-column domain
  part resume 60 python3 -m attention_influence status "$OUT/store"
  ;;
3)
  part training-scores 90 python3 -m attention_influence score .gpu-data/training/corpus --model "$OUT/model.gguf" \
    --heads .gpu-data/demo/heads.json --out "$OUT/training-scores" --id-column id --domain-column domain
  part training 390 bash -c "cd '$OUT' && python3 -m attention_influence experiment '$PWD/studies/training_gpu.yaml' --out training"
  ;;
esac
nvidia-smi --query-gpu=memory.used,clocks.sm,temperature.gpu --format=csv,noheader
exit $failed
