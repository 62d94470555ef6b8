"""The scripts for a GPU run, on a CPU and in tiny sizes: they keep step with the library."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attention_influence.cli import main
from cli.conftest import save_model, texts, write_lines
from scoring.tiny import HEADS

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parent.parent / "benchmarks" / "gpu"


def run(script: str, *arguments: object, folder: Path) -> list[dict[str, object]]:
    """The lines of JSON that a script prints."""
    environment = os.environ | {"OUT": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPTS / script, *arguments, "--device", "cpu", "--tiny"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kernels_are_timed(tmp_path: Path) -> None:
    said = run("single_kernels.py", folder=tmp_path)
    assert not [line for line in said if "failed" in str(line["what"])]
    assert {"copy", "LM head", "attention", "zero query"} <= {line["what"] for line in said}


def test_whole_passes_are_timed_beside_plain_transformers(tmp_path: Path) -> None:
    said = {line["what"]: line for line in run("speed.py", "135M", folder=tmp_path)}
    assert said["pack"]["tokens"] == 64
    assert said["pack"]["times_two_plain_passes"] > 0
    assert (tmp_path / "profile-135M.txt").stat().st_size > 0


def test_tokenizing_is_timed(tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    (said,) = run("tokenizing.py", tmp_path / "model" / "tokenizer.json", folder=tmp_path)
    assert said["tokens_per_s"] > 0


def test_scores_are_compared_with_those_of_a_store(tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    heads = tmp_path / "heads.json"
    heads.write_text(json.dumps(HEADS))
    # Each begins with a letter repeated, so that they differ by far more than bfloat16 rounds.
    varied = [f"{chr(ord('a') + n)} " * 10 * (n + 3) + text[:300] for n, text in enumerate(texts(20))]
    corpus = write_lines(tmp_path / "c.jsonl", [{"text": text} for text in varied])
    given = [str(x) for x in (corpus, "--model", tmp_path / "model", "--heads", heads, "--out", tmp_path / "scores")]
    assert main(["score", *given, "--dtype", "fp32", "--device", "cpu"]) == 0
    said = run("agreement.py", tmp_path / "model", heads, tmp_path / "scores", corpus, folder=tmp_path)
    assert [line["dtype"] for line in said] == ["bf16", "fp32"]
    assert said[1]["largest_apart"]["influence"] < 1e-5
    assert said[1]["rank_correlation"] == pytest.approx(1)


def test_a_device_is_accepted_by_one_table(tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    (tmp_path / "heads.json").write_text(json.dumps(HEADS))
    write_lines(tmp_path / "c.jsonl", [{"text": text * 8} for text in texts(20)])
    given = [tmp_path / name for name in ("model", "heads.json", "c.jsonl")]
    command = [sys.executable, SCRIPTS / "acceptance.py", *given, "--device", "cpu", "--tiny"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS") == 2
    for figure in (
        "share of the device's own matmul rate",
        "texts made ready",
        "two passes, SDPA",
        "one pass, tokens/s",
    ):
        assert figure in done.stdout
    assert "FAIL" not in done.stdout


def test_shell_scripts_are_whole() -> None:
    for script in sorted(SCRIPTS.glob("*.sh")):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_the_folders_that_a_machine_with_a_gpu_needs_are_filled_and_small(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    for folder in ("corpus", "scores"):
        (demo / folder).mkdir(parents=True)
    (demo / "heads.json").write_text(json.dumps(HEADS))
    shutil.copy(SCRIPTS.parent.parent / "constraints.txt", tmp_path)
    environment = os.environ | {"PYTHON": sys.executable, "WHEELS": "gguf"}
    done = subprocess.run(
        ["bash", SCRIPTS / "prepare.sh", demo],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = [tmp_path / ".gpu-data" / "model.gguf.a", tmp_path / ".gpu-data-2" / "model.gguf.b"]
    whole = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    assert (tmp_path / ".gpu-data" / "model.sha256").read_text().split()[0] == whole
    assert json.loads((tmp_path / ".gpu-data" / "tokenizer.json").read_text())["model"]
    for name in (".gpu-wheels", ".gpu-data", ".gpu-data-2"):
        assert 0 < sum(file.stat().st_size for file in (tmp_path / name).rglob("*") if file.is_file()) < 64 << 20
