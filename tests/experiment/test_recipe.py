"""The recipe of the paper's experiment: a dry run of its own files, over a small corpus in place of the real one."""

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from attention_influence.cli import main
from attention_influence.corpus import Columns, list_sources
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.training.network import configuration_of, parameters_of
from tiny_models import tokenizer

from .experiments import write_scores

RECIPE = Path(__file__).parents[2] / "recipes" / "paper-7b"
PARTS = ("fineweb-edu-dedup", "cosmopedia-v2", "python-edu", "open-web-math")


def test_the_dry_run_shows_the_papers_model_and_schedule(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for part in PARTS:
        folder = tmp_path / "smollm-corpus" / part
        folder.mkdir(parents=True)
        texts = [f"{part} {number}: the keeper wrote the height of the tide" for number in range(20)]
        pq.write_table(pa.table({"text": texts}), folder / "train-00000.parquet")
    given = yaml.safe_load((RECIPE / "experiment.yaml").read_text())
    write_scores(tmp_path / "scores", list_sources(given["corpus"], given["domain"]).sources, Columns())
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    given["heldout"] = 0.1  # of 80 documents, not of hundreds of millions
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(given))
    assert main(["experiment", "experiment.yaml", "--out", "out", "--dry-run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert f"{record['estimate']['parameters']:.3g}" == "6.98e+09"
    assert record["steps"] == 10**12 // (1024 * 8192)
    assert record["estimate"]["learning_rate"] == 4e-4
    assert set(record["arms"]) == {"corpus", "selected", "random"}
    added = {name: arm["parts"][1]["tokens"] for name, arm in record["arms"].items() if name != "corpus"}
    assert added["selected"] == added["random"] > 0
    assert not (tmp_path / "out" / "runs").exists()


def test_the_papers_ffn_gives_two_billion_parameters_fewer() -> None:
    experiment = read_experiment(str(RECIPE / "experiment.yaml"))
    configuration = configuration_of(experiment, tokenizer())
    assert f"{parameters_of(configuration) / 1e9:.2f}" == "6.98"
    configuration.intermediate_size = 8192
    assert f"{parameters_of(configuration) / 1e9:.2f}" == "4.97"


@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch"])
def test_launch_files_start_the_command_on_the_recipe(tmp_path, name: str) -> None:
    """torchrun, srun and scontrol are replaced by programs that say how they were called."""
    for program in ("torchrun", "srun"):
        (tmp_path / program).write_text('#!/bin/sh\necho "$(basename "$0") $@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'node1\\nnode2\\n'\n")
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_JOB_ID": "7",
        "SLURM_SUBMIT_DIR": str(RECIPE.parents[1]),
    }
    found = subprocess.run([bash, RECIPE / name, "out"], env=environment, capture_output=True, text=True, check=True)
    words = found.stdout.split()
    module = words.index("attention_influence")
    assert words[module - 1 : module + 2] == ["-m", "attention_influence", "experiment"]
    assert Path(words[module + 2]).samefile(RECIPE / "experiment.yaml")
    assert words[module + 3 :] == ["--out", "out"]
    if name == "slurm.sbatch":
        assert "--rdzv-endpoint=node1:29502" in words
    refused = subprocess.run([bash, RECIPE / name], env=environment, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "the folder of the runs" in refused.stderr
