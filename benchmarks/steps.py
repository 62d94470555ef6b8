"""What steps cost: the demo's texts scored whole and in steps, rounds alternating; medians.

Processor seconds tell on a busy machine what the clock does not. What steps add, tokenizing with offsets, cutting the
text and adding up rises, is measured on twenty times as many tokens as well, without the model.

    .venv/bin/python benchmarks/steps.py --heads demo-output/heads.json
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

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
    few, many = (documents(scorer.model.tokens, options.tokens * times) for times in (1, 20))
    prepared = scorer.prepare(many, ["sentence"])
    losses = [np.ones(len(document.tokens), dtype=np.float32) for document in prepared]
    n_few, n_many = (sum(map(len, scorer.model.tokens.encode(texts))) for texts in (few, many))

    def add_up() -> None:
        for document, of_document in zip(prepared, losses, strict=True):
            assert document.in_steps is not None
            document.in_steps.steps(of_document, of_document)

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "whole": (lambda: scorer.score(few), n_few),
        "in sentences": (lambda: scorer.score(few, granularity="step"), n_few),
        "tokenizing, whole": (lambda: scorer.prepare(many), n_many),
        "tokenizing, in sentences": (lambda: scorer.prepare(many, ["sentence"]), n_many),
        "adding up rises": (add_up, n_many),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, (way, _) in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    rows = []
    for name, rounds in taken.items():
        clock, processor = (statistics.median(seconds) for seconds in zip(*rounds[1:], strict=True))
        tokens = ways[name][1]
        rows.append((name, tokens, tokens / clock, processor * 1e6 / tokens))
    print(f"{len(few)} and {len(many)} documents, {options.rounds} rounds")
    print(table(("way", "tokens", "tokens/s", "processor µs/token"), rows))


if __name__ == "__main__":
    main()
