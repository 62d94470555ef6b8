#!/usr/bin/env bash
# From a folder of Parquet or JSON lines to the top fifth of each domain, and a page that shows the choice.
#
#   bash examples/folder.sh corpus/ HuggingFaceTB/SmolLM2-135M out/
set -euo pipefail
corpus=$1 model=$2 out=$3

attention-influence detect --model "$model" --sentences "$corpus" --out "$out/heads.json" --until-stable ${DETECT_OPTIONS:-}
attention-influence score "$corpus" --model "$model" --heads "$out/heads.json" --out "$out/scores" ${SCORE_OPTIONS:-}
attention-influence select "$out/scores" --top 0.2 --out "$out/selected"
attention-influence report "$out/scores" --heads "$out/heads.json" --selection "$out/selected" --out "$out/report.html"
