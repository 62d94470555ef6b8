"""Corpora that are large, or cut in odd ways."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import list_sources
from attention_influence.corpus.slices import BYTES_PER_TOKEN
from attention_influence.store.plan import make_plan
from runs.runs import ENVIRONMENT, Command, count_by_file, rows_of, score_arguments, texts, write_lines


def test_a_plan_of_more_than_200_000_units_is_refused_before_anything_is_written(cli: Command, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", ["x" * 100] * 8000)
    assert corpus.stat().st_size > 200_000 * BYTES_PER_TOKEN
    said = cli.score(corpus, tmp_path / "scores", "--unit-tokens", 1)
    assert said.code == 2
    assert "more than 200,000 units of 1 tokens; give a larger --unit-tokens" in said.err
    assert not (tmp_path / "scores").exists()


def test_a_huge_row_group_is_cut_into_as_few_slices_as_its_size_asks_for(tmp_path: Path) -> None:
    texts_of = ["".join(chr(97 + (i * j) % 26) for j in range(400)) for i in range(200)]
    pq.write_table(pa.table({"text": texts_of}), tmp_path / "t.parquet", compression=None, use_dictionary=False)
    size = pq.read_metadata(tmp_path / "t.parquet").row_group(0).total_byte_size
    sources = list_sources([str(tmp_path)]).sources
    for unit_tokens in (100, 1000, 7000, 100_000):
        units = make_plan(sources, unit_tokens)
        assert len(units) == min(-(-size // (unit_tokens * BYTES_PER_TOKEN)), 200)
        rows = sorted((p.start, p.end if p.end is not None else 200) for unit in units for p in unit.slices)
        assert [start for start, _ in rows] == [0, *(end for _, end in rows[:-1])]
        assert max(end - start for start, end in rows) - min(end - start for start, end in rows) <= 1


def test_nested_folders_and_globs_are_scored_whole(cli: Command, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "x/b", "x/y/c", "x/y/z/d")):
        write_lines(tmp_path / "deep" / f"{name}.jsonl", texts(3, number))
    assert cli.score(tmp_path / "deep", tmp_path / "1").code == 0
    assert count_by_file(tmp_path / "1") == dict.fromkeys(("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"), 3)
    assert cli.score(tmp_path / "deep" / "x" / "*" / "[a-c].jsonl", tmp_path / "2").code == 0
    assert count_by_file(tmp_path / "2") == {"c.jsonl": 3}
    assert cli.score(tmp_path / "deep" / "**" / "*.jsonl", tmp_path / "3").code == 0
    assert count_by_file(tmp_path / "3") == count_by_file(tmp_path / "1")


MEASURE = """
import json, pathlib, re, sys
from attention_influence.cli import main

peaks = []
for arguments in json.loads(sys.argv[1]):
    # ru_maxrss would begin with the peak of the process that started this one.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    assert main(arguments) == 0
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) << 10)
print("peaks", json.dumps(peaks))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and resets a process's peak")
def test_memory_is_flat_in_the_size_of_the_corpus_and_bounded_by_the_longest_line_allowed(
    cli: Command, tmp_path: Path
) -> None:
    """Peaks of one process that scores a corpus, one six times as large, and one with a line of 200 MB."""
    write_lines(tmp_path / "one.jsonl", texts(500, words=60))
    write_lines(tmp_path / "six.jsonl", texts(3000, words=60))
    with (tmp_path / "line.jsonl").open("w") as file:
        file.write(json.dumps({"text": "before"}) + '\n{"text": "')
        for _ in range(200):
            file.write("tide rose " * 100_000)
        file.write('"}\n' + json.dumps({"text": "after"}) + "\n")
    runs = [score_arguments(cli.model, tmp_path / f"{n}.jsonl", tmp_path / n) for n in ("one", "six", "line")]
    cut = ["--unit-tokens", "20000"]
    runs = [[*runs[0], *cut], [*runs[1], *cut], [*runs[2], "--unit-tokens", "100000000"]]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(runs)], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr
    one, six, line = json.loads(done.stdout.rpartition("peaks ")[2])
    print(f"peaks: {one >> 20}, {six >> 20} and {line >> 20} MiB")
    assert six < 1.15 * one
    assert line - six < 64 * 2**20 * 1.25, "more than the longest line that is read"
    rows = sorted((row["row"], row["reason"]) for row in rows_of(tmp_path / "line").values())
    size = os.path.getsize(tmp_path / "line.jsonl")
    assert [reason for _, reason in rows] == [None, "too_long", None]
    assert rows[2][0] > size - 100
