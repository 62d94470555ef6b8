"""What steps cost: the demo's texts scored whole and in steps, rounds alternating; medians.

Processor seconds tell on a busy machine what the clock does not. Tokenizing runs beside the model in `score`, and is
part of both figures here.

    .venv/bin/python benchmarks/steps.py --heads demo-output/heads.json
"""

import argparse
import statistics
import time
from collections.abc import Callable

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from bench import documents


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heads", required=True)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scorer = Scorer(load_model(str(fetch().model)), load_heads(options.heads))
    texts = documents(scorer.model.tokens, options.tokens)
    tokens = sum(map(len, scorer.model.tokens.encode(texts)))
    ways: dict[str, Callable[[], object]] = {
        "whole": lambda: scorer.score(texts),
        "in sentences": lambda: scorer.score(texts, granularity="step"),
        "tokenizing, whole": lambda: scorer.prepare(texts),
        "tokenizing, in sentences": lambda: scorer.prepare(texts, ["sentence"]),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    rows = []
    for name, rounds in taken.items():
        clock, processor = (statistics.median(seconds) for seconds in zip(*rounds[1:], strict=True))
        rows.append((name, tokens / clock, processor * 1e6 / tokens))
    print(f"{len(texts)} documents, {tokens:,} tokens, {options.rounds} rounds")
    print(table(("way", "tokens/s", "processor µs/token"), rows))


if __name__ == "__main__":
    main()
