"""What units, store and processes cost: `score` with 1 and 2 workers against the plain loop over the same documents.

The plain loop reads, scores and keeps everything in this process. Rounds alternate; medians of tokens a second of the
scoring itself (loading and the self-test are the same for all and left out). Run after `make demo`:

    .venv/bin/python benchmarks/workers.py --corpus demo-output/corpus --heads demo-output/heads.json --rounds 3
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from attention_influence.config import ScoreConfig
from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.demo.assets import fetch
from attention_influence.scoring.scorer import Scorer
from attention_influence.verbs.score import make_scorer, score


def plain_loop(scorer: Scorer, corpus: str) -> float:
    """Tokens a second of `Scorer.score` over lists of rows as they are read."""
    began, tokens = time.monotonic(), 0
    for source in list_sources([corpus]).sources:
        for rows in read_rows(source, Columns()):
            tokens += sum(document.n_tokens or 0 for document in scorer.score([row.text for row in rows]))
    return tokens / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--heads", required=True)
    parser.add_argument("--unit-tokens", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = str(fetch().model)

    def with_workers(workers: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            config = ScoreConfig(
                (options.corpus,),
                model,
                heads=options.heads,
                out=str(Path(folder) / "store"),
                unit_tokens=options.unit_tokens,
                workers=workers,
            )
            data = score(config).data
        return data["tokens"] / data["seconds"]

    scorer = make_scorer(ScoreConfig((options.corpus,), model, heads=options.heads))
    ways = {
        "plain loop": lambda: plain_loop(scorer, options.corpus),
        "1 worker": lambda: with_workers(1),
        "2 workers": lambda: with_workers(2),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            rates[name].append(way())
    loop = statistics.median(rates["plain loop"])
    print(f"{torch.get_num_threads()} cores, {options.rounds} rounds")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:10}  {median:8,.0f} tokens/s  {median / loop:6.1%} of the plain loop")


if __name__ == "__main__":
    main()
