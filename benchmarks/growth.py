"""How the scorer's time and memory grow: with the length of documents, their number, and the depth of the fork.

    .venv/bin/python benchmarks/growth.py --heads demo-output/heads.json
    .venv/bin/python benchmarks/growth.py --heads gemma-heads.json --model gemma-3-270m-q4_k_m.gguf    # vocabulary

Tokens of real documents, cut to length; medians of the rounds. Memory is the peak of a
process that scores nothing else.
"""

import argparse
import statistics
import subprocess
import sys
import time

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import passages
from attention_influence.model.language_model import LanguageModel
from limit import operations_a_second, useful_operations
from memory import peak_bytes

_LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
_LEAST_TOKENS = 4096


def windows(model: LanguageModel, length: int, tokens: int) -> list[list[int]]:
    """At least one window of `length` real tokens, and about `tokens` tokens in all."""
    ids: list[int] = []
    for _, text in passages(fetch().web, "web"):
        ids += model.tokens.encode([text])[0]
        if len(ids) >= max(tokens, length):
            break
    return [ids[at : at + length] for at in range(0, max(1, tokens // length) * length, length)]


def seconds(scorer: Scorer, parts: list[list[int]], rounds: int) -> float:
    """Of scoring the windows, those that fit together in one pass."""
    each = max(1, scorer.pack_tokens // len(parts[0]))
    times = []
    for _ in range(rounds):
        began = time.monotonic()
        for low in range(0, len(parts), each):
            scorer.window_losses(parts[low : low + each])
        times.append(time.monotonic() - began)
    return statistics.median(times)


def peak_mebibytes(arguments: list[str], length: int, tokens: int) -> int:
    """Of a process that scores `tokens` tokens in windows of `length`, on top of loading the model."""
    command = [sys.executable, __file__, *arguments, "--only", str(length), str(tokens)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]) // 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heads", required=True)
    parser.add_argument("--model", help="by default the demo's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=int, nargs=2, metavar=("LENGTH", "TOKENS"), help="print the peak of memory")
    options = parser.parse_args()
    model = load_model(options.model or str(fetch().model))
    heads = load_heads(options.heads)
    scorer = Scorer(model, heads)
    if options.only:
        seconds(scorer, windows(model, *options.only), 1)
        print(peak_bytes(model.device))
        return
    weights = sum(part.numel() * part.element_size() for part in model.network.parameters()) // 2**20
    limit = operations_a_second(model, 2048)
    again = ["--heads", options.heads, *(["--model", options.model] if options.model else [])]
    print(f"weights {weights} MiB, products {limit / 1e9:.0f} GFLOP/s, vocabulary {model.output.vocabulary:,}")
    rows = []
    for length in (length for length in _LENGTHS if length <= scorer.window):
        parts = windows(model, length, _LEAST_TOKENS)
        taken, tokens = seconds(scorer, parts, options.rounds), sum(map(len, parts))
        share = useful_operations(model, scorer.fork_layer, [len(part) for part in parts]) / taken / limit
        peak = peak_mebibytes(again, length, _LEAST_TOKENS)
        rows.append((length, f"{1000 * taken / tokens:.2f}", f"{share:.1%}", peak))
    print(table(("length", "ms a token", "share of the limit", "peak MiB"), rows))
    rows = [(tokens, peak_mebibytes(again, 512, tokens)) for tokens in (1024, 4096, 16384)]
    print(table(("tokens in windows of 512", "peak MiB"), rows))
    layers, parts = len(model.layers), windows(model, 512, 2048)
    rows = []
    for layer in sorted({min(model.heads), *(n for n in model.heads if n % (layers // 3) == 0), max(model.heads)}):
        depth = Scorer(model, [(layer, 0)])
        taken = seconds(depth, parts, options.rounds)
        share = useful_operations(model, layer, [len(part) for part in parts]) / taken / limit
        rows.append((layer, f"{1 + (layers - layer) / layers:.2f}", f"{1000 * taken / 2048:.2f}", f"{share:.1%}"))
    print(table(("fork at layer", "passes", "ms a token", "share of the limit"), rows))


if __name__ == "__main__":
    main()
