"""Every example, run as its first lines say, on a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import save_model, texts
from scoring.tiny import HEADS

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
FP32 = {"SCORE_OPTIONS": "--dtype fp32", "DETECT_OPTIONS": "--dtype fp32 --samples 2 --context 900"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model")
    (tmp_path / "heads.json").write_text(json.dumps(HEADS))
    (tmp_path / "corpus").mkdir()
    rows = [{"text": f"The cow ate hay {n}. {text}", "n": n} for n, text in enumerate(texts(40))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus" / "a.parquet")
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> None:
    path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    set_here = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, "HF_HOME": str(folder / "hub")}
    done = subprocess.run(command, cwd=folder, env=set_here | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def column(folder: Path, name: str) -> list[Any]:
    """Of all Parquet files below a folder."""
    return [value for file in folder.rglob("*.parquet") for value in pq.read_table(file)[name].to_pylist()]


def test_a_folder_becomes_a_selection_and_a_page(folder: Path) -> None:
    run(folder, "bash", str(EXAMPLES / "folder.sh"), "corpus", "model", "out", **FP32)
    assert len(column(folder / "out" / "selected", "n")) == 8
    assert "<html" in (folder / "out" / "report.html").read_text()


def test_a_dataset_keeps_its_most_influential_tenth(folder: Path) -> None:
    script = str(EXAMPLES / "hub_dataset.py")
    run(folder, sys.executable, script, "corpus", "model", "heads.json", "out.parquet", "--dtype", "fp32")
    kept = pq.read_table(folder / "out.parquet").to_pylist()
    assert len(kept) == 4
    assert [row["influence"] for row in kept] == sorted((row["influence"] for row in kept), reverse=True)


def test_the_tasks_of_an_array_fill_one_store(folder: Path) -> None:
    (folder / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "srun").chmod(0o755)
    for task in range(2):
        array = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "0"}
        script = str(EXAMPLES / "slurm_array.sbatch")
        run(folder, "bash", script, "corpus", "model", "heads.json", "scores", **FP32, **array)
    assert sum(pq.read_metadata(file).num_rows for file in (folder / "scores" / "scores").glob("*.parquet")) == 40


def test_a_pipeline_applies_an_earlier_selection(folder: Path) -> None:
    run(folder, "bash", str(EXAMPLES / "folder.sh"), "corpus", "model", "out", **FP32)
    script = str(EXAMPLES / "datatrove_pipeline.py")
    arguments = ("corpus", "model", "out/heads.json", "out/selected", "piped", "--dtype", "fp32")
    run(folder, sys.executable, script, *arguments)
    kept = {metadata["n"] for metadata in column(folder / "piped" / "kept", "metadata")}
    assert kept == {*column(folder / "out" / "selected", "n")}
