"""Kills scoring runs at random moments and compares what is left with an undisturbed run.

`python tests/chaos/chaos.py --kills 30` prints a table for a local store, for an S3 that fails 5% of requests, and for
a store that Ray and processes take turns at (a third as many kills: Ray takes a while to start).
"""

import argparse
import gzip
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from attention_influence.storage.atomic_files import write_atomically
from attention_influence.store.reader import read_scores
from s3_server import BUCKET, s3_server
from tiny_models import save_tiny

HEADS = [[1, 0], [2, 3]]
_KEY = ("source", "row")
_PATIENCE = 300.0
# Of a run's start: before it nothing can be lost.
_IMPORTS = 4.0
_RAY_START = 8.0
_WORDS = (
    *("the", "tide", "rose", "over", "bridge", "and", "tower", "while", "keeper", "wrote"),
    *("numbers", "in", "a", "notebook", "of", "seven", "harbours"),
)


@dataclass
class Outcome:
    """What a disturbed store held in the end, beside the undisturbed one."""

    rounds: list[str] = field(default_factory=list)
    kills: int = 0
    rows: int = 0
    missing: int = 0
    doubled: int = 0
    largest_difference: float = 0.0
    """Of either loss, nats/token."""
    other_bits: int = 0
    """Rows whose losses differ in any bit."""

    @property
    def is_exact(self) -> bool:
        return not self.missing and not self.doubled and self.rows > 0


def write_corpus(root: str, documents: int) -> None:
    """Four kinds of files of random sentences under a URL, nested, and one file that is cut short."""
    rng = random.Random(7)
    texts = [" ".join(rng.choices(_WORDS, k=rng.randint(5, 60))) for _ in range(documents)]
    quarters = [texts[i::4] for i in range(4)]
    lines = ["".join(json.dumps({"text": text}) + "\n" for text in quarter).encode() for quarter in quarters]
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": quarters[0]}), sink, row_group_size=20)
    write_atomically(f"{root}/a/plain.parquet", sink.getvalue())
    write_atomically(f"{root}/plain.jsonl", lines[1])
    write_atomically(f"{root}/b/c/packed.jsonl.gz", gzip.compress(lines[2]))
    write_atomically(f"{root}/b/packed.jsonl.zst", zstandard.compress(lines[3]))
    write_atomically(f"{root}/b/cut.jsonl.gz", gzip.compress(lines[2])[:-40])


def score_command(model: Path, corpus: str, store: str, workers: int, engine: str = "local") -> list[str]:
    return [
        *(sys.executable, "-m", "attention_influence", "score", corpus),
        *("--model", str(model), "--heads", str(model / "heads.json"), "--out", store, "--dtype", "fp32"),
        *("--unit-tokens", "150", "--pack-tokens", "256", "--workers", str(workers)),
        *(("--engine", "ray", "--address", "local") if engine == "ray" else ()),
    ]


def scores_of(store: str) -> pa.Table:
    return read_scores(store).sort_by([(name, "ascending") for name in _KEY])


def disturb(model: Path, corpus: str, store: str, kills: int, seed: int, engines: Sequence[str]) -> Outcome:
    """Starts one or two runs on `store`, kills them with SIGKILL or SIGTERM, again and again; then lets one finish.

    Each round has the next of `engines`; of Ray there is one worker in one run.
    """
    rng = random.Random(seed)
    outcome = Outcome()
    while outcome.kills < kills:
        engine = engines[len(outcome.rounds) % len(engines)]
        workers = [1] if engine == "ray" else [rng.choice((1, 1, 2)) for _ in range(rng.choice((1, 1, 2)))]
        runs = [_start(score_command(model, corpus, store, count, engine)) for count in workers]
        time.sleep(_IMPORTS + (_RAY_START if engine == "ray" else 0) + rng.random() * 6.0)
        number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        for run in runs:
            if run.poll() is None:
                run.send_signal(number)
                outcome.kills += 1
        for run in runs:
            run.wait(60)
            with suppress(ProcessLookupError):  # of Ray's processes, those that a killed run left
                os.killpg(run.pid, signal.SIGKILL)
        outcome.rounds.append(f"{'+'.join(map(str, workers))} {engine} workers, {number.name}")
    finish(score_command(model, corpus, store, 1))
    return outcome


def finish(command: Sequence[str]) -> None:
    """Runs to the end; a cut file makes the exit code 1, and nothing else may."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, env=_environment())
    assert run.returncode == 1, run.stdout + run.stderr
    assert "cut.jsonl.gz" in run.stdout, run.stdout + run.stderr


def compare(outcome: Outcome, disturbed: str, undisturbed: str) -> Outcome:
    ours, theirs = scores_of(disturbed), scores_of(undisturbed)
    keys = [list(zip(*(table[name].to_pylist() for name in _KEY), strict=True)) for table in (ours, theirs)]
    outcome.rows = len(keys[0])
    outcome.missing = len(set(keys[1]) ^ set(keys[0]))
    outcome.doubled = len(keys[0]) - len(set(keys[0]))
    if outcome.is_exact:
        differences = [np.abs(_losses(ours, name) - _losses(theirs, name)) for name in ("loss_base", "loss_ref")]
        outcome.largest_difference = float(np.max(differences))
        outcome.other_bits = int(np.count_nonzero(np.max(differences, axis=0)))
    return outcome


def _losses(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(np.float64)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=_environment(), start_new_session=True)


def _environment() -> dict[str, str]:
    """One thread a process: several tiny models on few cores would mostly wait for each other's threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def chaos(
    root: str, folder: Path, kills: int, seed: int = 0, engines: Sequence[str] = ("local",), documents: int = 240
) -> Outcome:
    """The outcome of a disturbed run on `root`, a URL that holds nothing yet; the model lies in `folder`."""
    model = save_tiny(folder / "model", "llama")
    (model / "heads.json").write_text(json.dumps(HEADS))
    write_corpus(f"{root}/corpus", documents)
    finish(score_command(model, f"{root}/corpus", f"{root}/undisturbed", 1))
    outcome = disturb(model, f"{root}/corpus", f"{root}/disturbed", kills, seed, engines)
    return compare(outcome, f"{root}/disturbed", f"{root}/undisturbed")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    rows = []
    try:
        rows.append(("local disk", chaos(str(folder / "local"), folder / "1", options.kills, options.seed)))
        with s3_server(failing=0.05):
            rows.append(("S3, 5% fail", chaos(f"s3://{BUCKET}/x", folder / "2", options.kills, options.seed + 1)))
        root, kills = str(folder / "ray"), -(-options.kills // 3)
        rows.append(("Ray in turn", chaos(root, folder / "3", kills, options.seed + 2, ("ray", "local"))))
    finally:
        shutil.rmtree(folder)
    print("store        kills  rounds  rows  missing or added  doubled  largest difference  rows of other bits")
    for name, o in rows:
        figures = f"{o.kills:5}  {len(o.rounds):6}  {o.rows:4}  {o.missing:16}  {o.doubled:7}"
        print(f"{name:11}  {figures}  {o.largest_difference:18.1e}  {o.other_bits:18}")
    sys.exit(0 if all(o.is_exact and o.largest_difference <= 1e-5 for _, o in rows) else 1)


if __name__ == "__main__":
    main()
