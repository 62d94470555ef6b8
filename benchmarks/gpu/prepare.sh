#!/usr/bin/env bash
# Where there is a network, in the repository's root, after `make demo-full`:  bash benchmarks/gpu/prepare.sh [DEMO_OUTPUT]
# Makes what a bare machine with a GPU needs, in folders that git ignores, each small enough to be carried alone (64 MiB):
#   .gpu-wheels  packages that a machine with torch may lack     .gpu-data    tokenizer, demo, first part of the model
#   .gpu-data-2  second part of the model
set -euo pipefail
DEMO=${1:-demo-output}
PYTHON=${PYTHON:-.venv/bin/python}
FIRST_PART=$((36 * 2**20))
rm -rf .gpu-wheels .gpu-data .gpu-data-2
mkdir -p .gpu-wheels .gpu-data/demo .gpu-data-2
pinned() { grep -ix "$1==.*" constraints.txt; }
"$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version "${TARGET_PYTHON:-3.12}" --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
  --platform manylinux2014_x86_64 -d .gpu-wheels $(for name in ${WHEELS:-transformers accelerate gguf zstandard}; do pinned "$name"; done)
cp -r "$DEMO"/corpus "$DEMO"/heads.json "$DEMO"/scores .gpu-data/demo/
"$PYTHON" "$(dirname "$0")/../../studies/training.py" --out .gpu-data/training/corpus \
  --documents code=1500 documentation=1000 web=1500 encyclopedic=1500
"$PYTHON" - <<'END'
import shutil
from pathlib import Path
from attention_influence.demo.assets import fetch
from attention_influence.model.loading.gguf import dense_copy

model = fetch().model
shutil.copy(dense_copy(model)[0] / "tokenizer.json", ".gpu-data/tokenizer.json")
Path(".gpu-data/model.path").write_text(str(model))
END
model=$(cat .gpu-data/model.path); rm .gpu-data/model.path
echo "$(sha256sum <"$model" | cut -d' ' -f1)  model.gguf" >.gpu-data/model.sha256
head -c "$FIRST_PART" "$model" >.gpu-data/model.gguf.a
tail -c +$((FIRST_PART + 1)) "$model" >.gpu-data-2/model.gguf.b
du -sm .gpu-wheels .gpu-data .gpu-data-2
