"""Hours of a GPU for scoring 100 billion tokens, by size of the scorer: computed from the cost model, not measured.

    .venv/bin/python benchmarks/price_list.py

The operations are those of `limit.scoring_operations` for documents of `--length` tokens, forked at `--fork` of the
depth (SmolLM2-135M's heads begin in layer 17 of 30); the GPU does `--share` of `--peak`.
"""

import argparse

from attention_influence.commands.printing.result import table
from limit import scoring_operations

# Layers, hidden size, inner size, query heads, key/value heads, head size, vocabulary; of the published configurations.
_SCORERS = {
    "SmolLM2-135M": (30, 576, 1536, 9, 3, 64, 49_152),
    "SmolLM2-360M": (32, 960, 2560, 15, 5, 64, 49_152),
    "Qwen2.5-0.5B": (24, 896, 4864, 14, 2, 64, 151_936),
    "Llama-3.2-1B": (16, 2048, 8192, 32, 8, 64, 128_256),
    "SmolLM2-1.7B": (24, 2048, 8192, 32, 32, 64, 49_152),
    "Llama-3.1-8B": (32, 4096, 14_336, 32, 8, 128, 128_256),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=float, default=1e11)
    parser.add_argument("--length", type=int, default=1000, help="tokens of a document")
    parser.add_argument("--fork", type=float, default=17 / 30, help="share of the layers below the first masked one")
    parser.add_argument("--peak", type=float, default=989e12, help="operations a second; an H100's data sheet, bf16")
    parser.add_argument("--share", type=float, default=0.4, help="of the peak that is reached")
    options = parser.parse_args()
    rows = []
    for name, (layers, hidden, inner, heads, kv_heads, head_size, vocabulary) in _SCORERS.items():
        query, key = (heads * head_size, hidden), (kv_heads * head_size, hidden)
        layer = [query, key, key, (hidden, heads * head_size), *[(inner, hidden)] * 2, (hidden, inner)]
        shapes = [*[layer] * layers, [(vocabulary, hidden)]]
        each, plain = (
            scoring_operations(shapes, [heads] * layers, head_size, fork, [options.length]) / options.length
            for fork in (round(options.fork * layers), -1)
        )
        hours = options.tokens * each / options.peak / options.share / 3600
        rows.append((name, f"{each / 1e9:.2f}", f"{plain / each:.2f}", f"{hours:,.0f}"))
    print(table(("scorer", "GFLOP a token", "two plain passes ÷ this", "hours"), rows))


if __name__ == "__main__":
    main()
