"""Seconds and peak memory of `select` on made-up score stores of one, ten and a hundred million rows in 50 domains.

The stores have the real schema: units of a million rows, five sources each, domains of unequal size that mix within a
source, every score different from most others, and some rows without one. Making them is not timed. Each selection runs
in a process of its own; the peak is of its resident memory. About 4 GB of disk, and 3 GB for sorting:

    .venv/bin/python benchmarks/select_scale.py --folder /tmp/select-scale --rows 1000000,10000000,100000000
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.corpus import Source, list_sources
from attention_influence.corpus.slices import Slice
from attention_influence.store.plan import Unit, make_unit
from attention_influence.store.run import RunStore, create
from attention_influence.store.schema import SCORE_SCHEMA

DOMAINS = 50
UNIT_ROWS = 1_000_000
SOURCES_OF_A_UNIT = 5


class Cost(NamedTuple):
    """Of one selection."""

    chosen: int
    seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", default="1000000,10000000,100000000", help="sizes of the stores, with commas")
    parser.add_argument("--folder", help="of the stores, kept (default: a temporary one, removed)")
    parser.add_argument("--select", default="--top 0.2 --manifest", help="options of `select`")
    options = parser.parse_args()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="select-scale-"))
    try:
        print(f"select {options.select}, {os.cpu_count()} cores, {DOMAINS} domains")
        for rows in map(int, options.rows.split(",")):
            cost = measure(made_store(folder / f"{rows}", rows), folder / "selected", options.select.split())
            rate = rows / cost.seconds / 1e6
            print(
                f"{rows:12,} rows, {cost.chosen:11,} chosen  {cost.seconds:6.1f} s ({rate:.2f}M rows/s)  "
                f"peak {cost.peak_mib:,.0f} MiB",
                flush=True,
            )
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def measure(store: Path, out: Path, options: list[str]) -> Cost:
    """What a selection of the store costs, start of the interpreter included."""
    command = [sys.executable, "-m", "attention_influence", "select", str(store), "--out", str(out), "--json"]
    began = time.monotonic()
    child = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"select ended with status {status}")
    shutil.rmtree(out)
    return Cost(json.loads(output)["documents"], seconds, _mib(usage))


def made_store(folder: Path, rows: int) -> Path:
    """A score store of so many rows; one that is there already is taken as it is."""
    sources = _empty_sources(folder / "corpus", -(-rows // UNIT_ROWS) * SOURCES_OF_A_UNIT)
    starts = range(0, len(sources), SOURCES_OF_A_UNIT)
    units = [
        make_unit(number, [Slice(source) for source in sources[start : start + SOURCES_OF_A_UNIT]])
        for number, start in enumerate(starts)
    ]
    store = create(str(folder), {"fingerprint": {"model": "made up"}, "columns": {"text": "text"}}, units)
    done = store.published()
    for number, unit in enumerate(store.units):
        if unit.name not in done:
            _publish(store, unit, number, min(UNIT_ROWS, rows - number * UNIT_ROWS))
    return folder


def _empty_sources(folder: Path, count: int) -> Sequence[Source]:
    """Files that `select` finds unchanged; a manifest copies nothing of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if not (path := folder / f"part-{number:06d}.parquet").exists():
            path.touch()
    return list_sources([str(folder)]).sources


def _publish(store: RunStore, unit: Unit, number: int, rows: int) -> None:
    rng = np.random.default_rng(number)
    names = [part.source.name for part in unit.slices]
    of_source = -(-rows // len(names))
    weights = 1 / np.arange(1, DOMAINS + 1)
    domain = rng.choice(DOMAINS, rows, p=weights / weights.sum()).astype(np.int32)
    tokens = np.clip(rng.lognormal(6, 1, rows), 1, 2**18).astype(np.int64)
    copied = rng.beta(1.5, 6, rows)
    base = rng.normal(2.6, 0.5, rows).clip(0.1)
    ratio = 0.12 + 0.3 * copied - 0.02 * base + 0.05 * rng.normal(size=rows)
    bad = rng.random(rows)
    influence = np.where(bad < 0.002, np.nan, np.expm1(ratio))
    missing = bad > 0.995
    columns = {
        "source": pa.DictionaryArray.from_arrays((np.arange(rows) // of_source).astype(np.int32), names),
        "row": np.arange(rows) % of_source,
        "id": pc.cast(pa.array(np.arange(rows) + number * UNIT_ROWS), pa.string()),
        "domain": pa.DictionaryArray.from_arrays(domain, [f"domain-{i:02d}" for i in range(DOMAINS)]),
        "n_chars": tokens * 4 + rng.integers(0, 4, rows),
        "n_tokens": tokens,
        "n_scored": tokens - 1,
        "n_windows": 1 + tokens // 2048,
        "loss_base": base,
        "loss_ref": base * np.exp(ratio),
        "influence": influence,
        "copy_share": copied,
        "repeat_share": rng.beta(1, 8, rows),
        "compression": rng.beta(5, 5, rows),
        "unigram_surprisal": rng.normal(7, 0.6, rows),
        "flag": pa.array(np.where(copied > 0.45, "repetitive", ""), mask=copied <= 0.45),
        "reason": pa.array(np.where(missing, "empty", ""), mask=~missing),
    }
    scored = {"loss_base", "loss_ref", "influence", "copy_share", "repeat_share", "compression", "unigram_surprisal"}
    table = pa.table(
        [
            pa.array(values, mask=missing if field.name in scored else None).cast(field.type)
            if isinstance(values := columns[field.name], np.ndarray)
            else values.cast(field.type)
            for field in SCORE_SCHEMA
        ],
        SCORE_SCHEMA,
    )
    store.publish(unit, table, {"rows": rows, "reasons": {}, "failed_files": {}})


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
