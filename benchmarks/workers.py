"""What units, store and processes cost: `score` with several workers against the plain loop over the same documents.

The plain loop reads, scores and keeps everything in this process. Rounds alternate; medians of tokens/s of the
scoring itself (loading and the self-test are the same for all and left out). *Whole run* counts the start of the
processes and the end, when one of them has no unit left; *at work* only the time in units, which is what a long run
comes to, but for the fixed texts that are scored before each unit. With `--engine ray` as many workers of Ray's stand
beside the processes, each time in a new cluster on this machine. Run after `make demo-full`:

    .venv/bin/python benchmarks/workers.py --corpus demo-output/corpus --heads demo-output/heads.json --rounds 3
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from attention_influence.commands.score import make_scorer, score
from attention_influence.config import ScoreConfig
from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.demo.assets import fetch
from attention_influence.scoring.scorer import Scorer
from attention_influence.store.run import open_run


def plain_loop(scorer: Scorer, corpus: str) -> float:
    """Tokens/s of `Scorer.score` over lists of rows as they are read."""
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
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers to try")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    model = str(fetch().model)

    def with_workers(workers: int, engine: Literal["local", "ray"]) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            config = ScoreConfig(
                corpus=(options.corpus,),
                model=model,
                heads=options.heads,
                out=str(Path(folder) / "store"),
                unit_tokens=options.unit_tokens,
                workers=workers,
                engine=engine,
                address="local" if engine == "ray" else None,
            )
            data = score(config).data
            store = open_run(config.out)
            assert store is not None
            in_units = sum(about["seconds"] for about in store.records().values()) / workers
        return data["tokens"] / data["seconds"], data["tokens"] / in_units

    scorer = make_scorer(ScoreConfig(corpus=(options.corpus,), model=model, heads=options.heads))
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "plain loop": lambda: (plain_loop(scorer, options.corpus),) * 2
    }
    ways |= {f"{workers} workers": partial(with_workers, workers, "local") for workers in options.workers}
    if options.engine == "ray":
        ways |= {f"{workers} of Ray": partial(with_workers, workers, "ray") for workers in options.workers}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            rates[name].append(way())
    medians = {name: [statistics.median(side) for side in zip(*values, strict=True)] for name, values in rates.items()}
    loop = medians["plain loop"][0]
    print(f"{torch.get_num_threads()} cores, {options.rounds} rounds; of the plain loop in brackets")
    for name, (whole, at_work) in medians.items():
        print(f"{name:10}  whole run {_share(whole, loop)}  at work {_share(at_work, loop)}")


def _share(rate: float, loop: float) -> str:
    return f"{rate:6,.0f} tokens/s ({rate / loop:6.1%})"


if __name__ == "__main__":
    main()
