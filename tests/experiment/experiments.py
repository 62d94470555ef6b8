"""A small corpus, a hand-made store of it, and experiments on them."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.corpus.slices import Slice
from attention_influence.corpus.sources import Source
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.plan import Plan
from attention_influence.experiment.prepare import prepare
from attention_influence.experiment.settings import Experiment
from attention_influence.store.plan import Unit
from attention_influence.store.run import create
from attention_influence.store.schema import SCORE_SCHEMA

_WORDS = ["tide", "tower", "keeper", "notebook", "water", "door", "height", "ninth", "lamp", "glass", "storm", "rope"]


def write_corpus(folder: Path, documents: int = 60, seed: int = 0) -> Path:
    """Documents of 4 to 60 words in two domains, each with a number `quality`."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for domain in ("sea", "land"):
        rows = [
            {
                "text": f"{domain} {number}: " + " ".join(rng.choices(_WORDS, k=rng.randint(4, 60))),
                "domain": domain,
                "quality": rng.random(),
            }
            for number in range(documents)
        ]
        (folder / f"{domain}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_store(folder: Path, corpus: Path, without: int = 0) -> Path:
    """A store whose influence falls with the place in its file; the first `without` documents have no score."""
    return write_scores(folder, list_sources([str(corpus)]).sources, Columns(domain="domain"), without)


def write_scores(folder: Path, sources: Sequence[Source], columns: Columns, without: int = 0) -> Path:
    """Such a store of any files."""
    store = create(
        str(folder),
        {"fingerprint": {"weights": "ab"}, "columns": columns.to_json()},
        [Unit("000000", tuple(map(Slice, sources)))],
    )
    rows = []
    for source in sources:
        for number, row in enumerate(row for rows_ in read_rows(source, columns) for row in rows_):
            scored = number >= without
            rows.append(
                {
                    "source": source.name,
                    "row": row.row,
                    "domain": row.domain or source.domain,
                    "n_tokens": len((row.text or "").split()) if scored else None,
                    "influence": 1.0 - number / 1000 if scored else None,
                    "loss_base": 2.0 + number / 100 if scored else None,
                    "loss_ref": 3.0 if scored else None,
                    "reason": None if scored else "too_long",
                }
            )
    about = {"rows": len(rows), "tokens": 0, "reasons": {}, "failed_files": {}, "duplicate_ids": 0}
    [unit] = store.units
    store.publish(unit, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA), about | {"seconds": 1.0, "finished": 1.0})
    return folder


TINY = """
domain_column: domain
heldout: 0.1
model: {model_type: llama, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 24}
tokenizer: {vocabulary: 310}
tokens: 1280
seeds: 2
recipe: {learning_rate: 1e-2, batch_tokens: 128, context: 32, warmup: 0.1, device_rows: 2, checkpoint_steps: 3}
"""
ARMS = """
arms:
  corpus: {}
  selected: {add: influence, share: 0.2}
  random: {add: random, share: like selected}
  only: {only: influence, share: 0.1}
"""


def write_config(path: Path, corpus: Path, store: Path | None = None, arms: str = ARMS, more: str = TINY) -> Path:
    scores = f"scores: {store}\n" if store else ""
    path.write_text(f"corpus: [{corpus}]\n{scores}{more}\n{arms}")
    return path


def experiment_of(folder: Path, arms: str = ARMS, more: str = TINY, with_store: bool = True) -> Experiment:
    corpus = write_corpus(folder / "corpus")
    store = write_store(folder / "scores", corpus) if with_store and not (folder / "scores").exists() else None
    store = folder / "scores" if with_store else store
    return read_experiment(str(write_config(folder / "arms.yaml", corpus, store, arms, more)))


def plan_of(folder: Path, **changes: Any) -> Plan:
    return prepare(experiment_of(folder, **changes), "arms.yaml", folder / "out", lambda *_: lambda *_: None)
