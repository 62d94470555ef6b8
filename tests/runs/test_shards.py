import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence import Scorer
from attention_influence.commands.score import _result
from attention_influence.config import ScoreConfig
from attention_influence.corpus import Columns
from attention_influence.errors import UsageError
from attention_influence.runs.shard import own_units
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading
from attention_influence.store.leases import Leases
from attention_influence.store.plan import Unit
from attention_influence.store.run import open_run
from runs.runs import Command, begin, rows_of, score_arguments, start, texts, write_lines

PLAN = [Unit(f"{i:06d}", ()) for i in range(30)]


@given(st.integers(0, 40), st.integers(1, 50))
def test_shards_partition_the_plan(units: int, count: int) -> None:
    plan = [Unit(f"{i:06d}", ()) for i in range(units)]
    shares = [own_units(plan, f"{i}/{count}") for i in range(count)]
    assert sorted((unit for share in shares for unit in share), key=lambda unit: unit.name) == plan
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 12))
def test_slurms_array_variables_partition_the_plan_whatever_its_first_index_and_step(
    first: int, step: int, count: int
) -> None:
    shares = [
        own_units(
            PLAN,
            None,
            {
                "SLURM_ARRAY_TASK_ID": str(first + i * step),
                "SLURM_ARRAY_TASK_COUNT": str(count),
                "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_STEP": str(step),
            },
        )
        for i in range(count)
    ]
    assert sorted((unit for share in shares for unit in share), key=lambda unit: unit.name) == PLAN


def test_an_option_outranks_slurm_and_without_either_all_units_are_ones_own() -> None:
    slurm = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
    assert own_units(PLAN, None, slurm) == PLAN[1::2]
    assert own_units(PLAN, "2/3", slurm) == PLAN[2::3]
    assert own_units(PLAN, None, {}) == PLAN
    assert own_units(PLAN, None, {"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "0"}) == PLAN


@pytest.mark.parametrize("shard", ["2/2", "0/0", "-1/2", "1", "a/b", "1/2/3", ""])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        own_units(PLAN, shard)


def test_one_shard_alone_does_all_units(cli: Command, tmp_path: Path) -> None:
    corpus, store = write_lines(tmp_path / "c.jsonl", texts(30)), tmp_path / "scores"
    said = cli.score(corpus, store, "--shard", "1/3", "--unit-tokens", 50, "--json")
    assert said.code == 0
    assert said.data["units_done"] == said.data["units"] > 5
    assert len(rows_of(store)) == 30


@pytest.mark.slow
def test_two_shards_begin_one_store_at_once_and_score_no_unit_twice(cli: Command, tmp_path: Path) -> None:
    corpus, store = write_lines(tmp_path / "c.jsonl", texts(300)), tmp_path / "scores"
    arguments = [*score_arguments(cli.model, corpus, store), "--unit-tokens", "100", "--json"]
    runs = [start([*arguments, "--shard", f"{i}/2"]) for i in range(2)]
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    rows = rows_of(store)
    assert len(rows) == 300
    data = [json.loads(out) for out, _ in said]
    assert sum(run["tokens"] for run in data) == sum(row["n_tokens"] for row in rows.values())
    opened = open_run(str(store))
    assert opened is not None
    assert opened.records().keys() == {unit.name for unit in opened.units}
    assert cli.score(corpus, tmp_path / "alone", "--unit-tokens", 100).code == 0
    assert rows_of(tmp_path / "alone") == rows, "the same budget and threads, other bits"


def test_only_the_worker_after_which_nothing_is_left_reads_the_whole_store(tmp_path: Path, scorer: Scorer) -> None:
    store = begin(write_lines(tmp_path / "c.jsonl", texts(30)), tmp_path / "scores", scorer)
    worker = Worker(store, scorer, Reading(Columns()))
    assert worker._attempt(store.units[0], Leases(store.url, worker.name))
    counted = {"tokens": 0, "seconds": 1.0, "warnings": []}
    early = _result(ScoreConfig(corpus=("c",), model="m"), store, scorer, counted, None)
    assert "domains" not in early.data
    assert (early.data["units_done"], early.exit_code) == (1, 0)
    assert f"{len(store.units) - 1} units are held by other workers" in early.text
    worker.work(store.units)
    last = _result(ScoreConfig(corpus=("c",), model="m"), store, scorer, counted, None)
    assert [domain["documents"] for domain in last.data["domains"]] == [30]
    assert "held" not in last.text
