"""How long the report of a large store takes, how large the page is, and the memory that it needs.

    python benchmarks/report_scale.py --documents 1000000

Makes a corpus of generated sentences and a score store with made-up losses in a temporary folder, selects the top 20%
and runs `attention-influence report` on it in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from attention_influence.corpus import list_sources
from attention_influence.selection import select
from attention_influence.store.plan import make_plan
from attention_influence.store.run import create
from attention_influence.store.schema import SCORE_SCHEMA

DOMAINS = ("web", "encyclopedic", "code", "mathematics", "fiction")
FILE_ROWS = 50_000
UNIT_TOKENS = 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--diversity", action="store_true", help="embed the sample, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-scale-") as name:
        folder = Path(name)
        began = time.monotonic()
        offsets = dict(make_corpus(folder / "corpus", given.documents))
        make_store(folder, offsets)
        select(folder / "scores", out=folder / "selected", top=0.2, manifest=True)
        print(f"made in {time.monotonic() - began:,.0f} s: {given.documents:,} documents, {len(offsets)} files")
        page = folder / "report.html"
        command = [sys.executable, "-m", "attention_influence", "report", str(folder / "scores")]
        command += ["--selection", str(folder / "selected"), "--out", str(page)]
        command += ["--diversity"] if given.diversity else []
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True)
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"report: {seconds:,.1f} s ({processor:,.1f} s of processor time), "
            f"page {page.stat().st_size / 1e6:.2f} MB, peak memory {after.ru_maxrss / 2**20:.2f} GiB"
        )


def make_corpus(folder: Path, documents: int) -> Iterator[tuple[str, list[int]]]:
    """(file, byte offset of each of its lines) of JSON lines with one domain a file."""
    rng = np.random.default_rng(0)
    words = np.array(
        ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(5_000)]
    )
    frequency = 1 / np.arange(1, len(words) + 1)
    sentences = [" ".join(rng.choice(words, 12, p=frequency / frequency.sum())) + "." for _ in range(5_000)]
    folder.mkdir()
    for number in range(-(-documents // FILE_ROWS)):
        domain, rows = DOMAINS[number % len(DOMAINS)], min(FILE_ROWS, documents - number * FILE_ROWS)
        offsets, end = [], 0
        with (folder / f"{domain}-{number:05d}.jsonl").open("wb") as file:
            for picked in rng.integers(0, len(sentences), (rows, 6)).tolist():
                line = json.dumps({"domain": domain, "text": " ".join(sentences[i] for i in picked)}).encode() + b"\n"
                file.write(line)
                offsets.append(end)
                end += len(line)
        yield f"corpus/{file.name.rpartition('/')[2]}", offsets


def make_store(folder: Path, offsets: dict[str, list[int]]) -> None:
    """Losses in which influence goes along with copying, length and base loss, and noise."""
    rng = np.random.default_rng(1)
    columns = {"text": "text", "id": None, "domain": "domain"}
    record = {"fingerprint": {"weights": "generated", "columns": columns}, "columns": columns}
    sources = list_sources([str(folder / "corpus")]).sources
    store = create(str(folder / "scores"), record, make_plan(sources, UNIT_TOKENS))
    for unit in store.units:
        tables = [_scores(part.source.name, offsets[part.source.name], rng) for part in unit.slices]
        about = {"seconds": 1.0, "finished": time.time(), "device": "none", "threads": 1, "failed_files": {}}
        rows, tokens = (sum(t[1][name] for t in tables) for name in ("rows", "tokens"))
        store.publish(unit, pa.concat_tables([t[0] for t in tables]), about | {"rows": rows, "tokens": tokens})


def _scores(name: str, offsets: list[int], rng: np.random.Generator) -> tuple[pa.Table, dict[str, int]]:
    count = len(offsets)
    tokens = np.exp(rng.normal(6, 1, count)).astype(np.int64) + 2
    copied = rng.beta(2, 8, count)
    base = 4 - 2 * copied + rng.normal(0, 0.4, count)
    influence = 0.1 + 0.3 * copied + 0.02 * np.log(tokens) - 0.03 * base + rng.normal(0, 0.05, count)
    values = {
        "source": [name] * count,
        "row": offsets,
        "id": [None] * count,
        "domain": [name.partition("/")[2].rpartition("-")[0]] * count,
        "n_chars": tokens * 4,
        "n_tokens": tokens,
        "n_scored": tokens,
        "n_windows": np.ones(count, dtype=np.int32),
        "loss_base": base,
        "loss_ref": base * (1 + influence),
        "influence": influence,
        "copy_share": copied,
        "repeat_share": copied / 2,
        "compression": rng.beta(4, 4, count),
        "unigram_surprisal": rng.normal(8, 0.5, count),
        "flag": [None] * count,
        "reason": [None] * count,
    }
    columns = [pa.array(values[field.name]).cast(field.type) for field in SCORE_SCHEMA]
    return pa.table(columns, schema=SCORE_SCHEMA), {"rows": count, "tokens": int(tokens.sum())}


if __name__ == "__main__":
    main()
