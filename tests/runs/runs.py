"""Runs of a tiny model: in this process, or in one of their own."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from attention_influence import Scorer
from attention_influence.cli import main
from attention_influence.corpus import Columns, list_sources
from attention_influence.runs.canary import canary_losses
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.run import RunStore

HEADS = [(1, 0), (2, 3)]
# One thread a process: tiny products on few cores would mostly wait for each other's threads.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
_WORDS = ["the", "tide", "rose", "over", "a", "bridge", "and", "tower", "while", "keeper", "wrote", "numbers", "in"]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """`score`, `status` and `estimate` with a tiny model."""

    model: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: object) -> Said:
        self.capsys.readouterr()
        code = main([*map(str, arguments)])
        return Said(code, *self.capsys.readouterr())

    def score(self, corpus: object, store: object, *more: object) -> Said:
        return self.run(*score_arguments(self.model, corpus, store), *more)


def score_arguments(model: Path, corpus: object, store: object) -> list[str]:
    heads = model / "heads.json"
    usual = ["--model", str(model), "--heads", str(heads), "--dtype", "fp32", "--pack-tokens", "256"]
    return ["score", str(corpus), "--out", str(store), *usual]


def start(arguments: Sequence[object]) -> subprocess.Popen[str]:
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "attention_influence", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def texts(n: int, seed: int = 0, words: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=rng.randint(3, words))) for _ in range(n)]


def write_lines(path: Path, values: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": value}) + "\n" for value in values))
    return path


def rows_of(store: object) -> dict[tuple[str, int], dict[str, Any]]:
    """(source, row) → the row, of the units that the plan knows; each once."""
    folder = Path(str(store))
    planned = set(pq.read_table(folder / "plan.parquet", columns=["unit"])["unit"].to_pylist())
    files = [file for file in (folder / "scores").glob("*.parquet") if file.stem in planned]
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    by_key = {(row["source"], row["row"]): row for row in rows}
    assert len(by_key) == len(rows), "a row is there twice"
    return by_key


def count_by_file(store: object) -> dict[str, int]:
    counts: dict[str, int] = {}
    for source, _ in rows_of(store):
        counts[source.rpartition("/")[2]] = counts.get(source.rpartition("/")[2], 0) + 1
    return counts


def objects(store: object) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (Path(str(store)) / "scores").glob("*.parquet")}


def begin(corpus: Path, store: object, scorer: Scorer, unit_tokens: int = 100, **changes: bool) -> RunStore:
    record = {
        "fingerprint": {"window": 256, "precision": "fp32"},
        "canaries": canary_losses(scorer),
        "versions": {},
        "columns": Columns().to_json(),
    }
    return begin_or_resume(str(store), list_sources([str(corpus)]), unit_tokens, record, Changes(**changes))


def work(store: RunStore, scorer: Scorer) -> None:
    Worker(store, scorer, Reading(Columns())).work(store.units)
