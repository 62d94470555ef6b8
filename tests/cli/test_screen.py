"""`score --screen` from end to end, with a model whose influence nothing predicts: what is promised is kept anyway."""

import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_influence.cli import main
from attention_influence.errors import UsageError
from attention_influence.experiment.data.arms import Rankings
from attention_influence.experiment.data.token_file import Documents
from attention_influence.experiment.settings import Arm
from attention_influence.judging.sample import choices
from attention_influence.report.sample import draw_sample
from attention_influence.store.parts import begun_parts, work_of
from attention_influence.store.reader import open_store, read_scores
from cli.conftest import Cli, Files, write_lines

ROWS = 320
SCREEN = ("--screen", "--keep-top", 0.5, "--keep-recall", 0.6, "--confidence", 0.6, "--calibration", 100)
USUAL = ("--domain-column", "kind", "--unit-tokens", 5000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)

    def text() -> str:
        start, again = (
            "".join(rng.choices("abcdef ghij,k.\n", k=rng.randint(*sizes))) for sizes in ((40, 120), (2, 15))
        )
        return start + again * rng.randint(1, 6)

    rows: list[dict[str, object]] = [{"text": text(), "kind": "lllls"[i % 5]} for i in range(ROWS)]
    return write_lines(tmp_path_factory.mktemp("screened") / "c.jsonl", [*rows, {"text": None, "kind": "l"}])


@pytest.fixture(scope="module")
def stores(files: Files, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """One store that is screened, one that is not, and what was printed for the first."""
    folder = tmp_path_factory.mktemp("stores")
    printed = {}
    for name, more in (("screened", SCREEN), ("whole", ())):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(command(files, corpus, folder / name, *more)) == 0
        printed[name] = json.loads(out.getvalue())
    return folder / "screened", folder / "whole", printed["screened"]


def command(files: Files, corpus: Path, out: Path, *more: object) -> list[str]:
    usual = ["score", corpus, "--model", files.model, "--heads", files.heads, "--out", out, "--dtype", "fp32", "--json"]
    return [*map(str, [*usual, *USUAL, *more])]


def rows_of(store: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["source"], row["row"]): row for row in read_scores(store).to_pylist()}


def test_what_is_scored_is_exact_and_what_is_not_says_so(stores: tuple[Path, Path, dict[str, Any]]) -> None:
    screened, whole, _ = stores
    rows, exact = rows_of(screened), rows_of(whole)
    assert rows.keys() == exact.keys()
    unseen = {key for key, row in rows.items() if row["reason"] == "screened_out"}
    assert len(unseen) > 20
    for key, row in rows.items():
        same = {name: value for name, value in exact[key].items() if key not in unseen or not name.startswith("loss")}
        if key in unseen:
            assert row["influence"] is None
            assert row["loss_base"] is None
            assert row["predicted_influence"] is not None
            same = {
                name: same[name] for name in ("n_tokens", "copy_share", "compression", "unigram_surprisal", "domain")
            }
        for name, value in same.items():
            assert row[name] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value), (key, name)
    assert all(row["domain"] == "l" for key, row in rows.items() if key in unseen)
    assert all(row["predicted_influence"] is None for row in rows.values() if row["domain"] == "s")


def test_the_promise_is_kept_and_the_plan_is_printed(stores: tuple[Path, Path, dict[str, Any]]) -> None:
    screened, whole, printed = stores
    rows, exact = rows_of(screened), rows_of(whole)
    ranked = [key for key, row in exact.items() if row["domain"] == "l" and row["influence"] is not None]
    top = sorted(ranked, key=lambda key: -exact[key]["influence"])[: len(ranked) // 2]
    assert sum(rows[key]["influence"] is not None for key in top) >= 0.6 * len(top)
    told = printed["screening"]
    unseen = [row for row in rows.values() if row["reason"] == "screened_out"]
    assert told["screened_out_documents"] == len(unseen)
    assert told["screened_out_tokens"] == sum(row["n_tokens"] for row in unseen)
    assert told["domains"]["s"]["refused"] == "its 64 documents are too few for a sample"
    assert told["domains"]["l"]["documents"] == 256
    assert told["domains"]["l"]["refused"] is None
    assert printed["reasons"] == {"screened_out": len(unseen), "null_text": 1}


def test_status_tells_what_was_spared(stores: tuple[Path, Path, dict[str, Any]], cli: Cli) -> None:
    said = cli("status", stores[0])
    assert "screening refused for s: its 64 documents are too few for a sample" in said.out
    assert f"the model did not see {stores[2]['screening']['screened_out_documents']:,} of 321 documents" in said.out
    assert cli("status", stores[0] / "calibration").code == 0
    assert cli("status", stores[0] / "provisional").code == 0


def test_status_and_costs_are_of_all_parts(stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path) -> None:
    screened, whole, _ = stores
    work = dict(work_of(begun_parts(str(screened))))
    assert list(work) == ["the sample", "above the provisional cut", "the rest"]
    tokens = {name: sum(about["tokens"] for about in records) for name, records in work.items()}
    sampled = sum(row["n_tokens"] or 0 for row in rows_of(screened / "calibration").values())
    assert tokens["the sample"] == sampled
    assert min(tokens.values()) >= 0
    seen = [row["n_tokens"] or 0 for row in rows_of(screened).values() if row["reason"] != "screened_out"]
    assert sum(tokens.values()) == sum(seen)
    assert [name for name, _ in work_of(begun_parts(str(whole)))] == [""]
    assert "part being scored" not in cli("status", screened).out
    begun = shutil.copytree(screened, tmp_path / "begun")
    (begun / "run.json").unlink()
    assert re.search(r"part being scored +above the provisional cut\n", cli("status", begun).out)
    shutil.rmtree(begun / "provisional")
    assert json.loads(cli("status", begun, "--json").out)["part"] == "the sample"
    shutil.rmtree(begun / "calibration")
    assert "no run.json, so not a score store" in cli("status", begun).err


def test_a_finished_store_is_read_again_with_the_same_options_only(
    stores: tuple[Path, Path, dict[str, Any]], files: Files, corpus: Path, cli: Cli
) -> None:
    screened, whole, printed = stores
    again = cli(*command(files, corpus, screened, *SCREEN))
    assert again.code == 0, again.err
    assert json.loads(again.out)["screening"] == printed["screening"]
    assert json.loads(again.out)["tokens"] == 0
    for store, more, why in (
        (screened, (), "was begun with --screen --keep-top 0.5 --keep-recall 0.6"),
        (screened, (*SCREEN, "--calibration", 90), "--calibration 100, and is now to be resumed with --screen"),
        (whole, SCREEN, "was begun without --screen, and is now to be resumed with --screen"),
    ):
        refused = cli(*command(files, corpus, store, *more))
        assert refused.code == 1
        assert why in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("part", ["calibration", "provisional"])
def test_two_that_begin_at_once_have_one_plan_also_after_a_kill(
    stores: tuple[Path, Path, dict[str, Any]], files: Files, corpus: Path, tmp_path: Path, part: str
) -> None:
    """Two processes begin one store; one is killed in the sample or above the cut, and another takes its place."""
    program = [sys.executable, "-m", "attention_influence", *command(files, corpus, tmp_path / "scores", *SCREEN)]
    # One thread, as in this process: the plan follows from scores to the last bit, and bits from the number of threads.
    piped: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
    }
    first, second = (subprocess.Popen(program, **piped) for _ in range(2))
    while not list((tmp_path / "scores" / part / "scores").glob("*.parquet")):
        assert first.poll() is None
        time.sleep(0.005)
    first.kill()
    third = subprocess.Popen(program, **piped)
    for worker in (first, second, third):
        _, error = worker.communicate()
        assert worker is first or worker.returncode == 0, error
    alone = rows_of(stores[0])
    for key, row in rows_of(tmp_path / "scores").items():
        assert row["reason"] == alone[key]["reason"]
        assert row["predicted_influence"] == alone[key]["predicted_influence"]


def test_a_plan_that_is_gone_or_damaged_is_refused(
    stores: tuple[Path, Path, dict[str, Any]], files: Files, corpus: Path, cli: Cli, tmp_path: Path
) -> None:
    store = tmp_path / "copy"
    shutil.copytree(stores[0], store)
    plan = store / "screening.safetensors"
    plan.write_bytes(plan.read_bytes()[:-1])
    damaged = cli(*command(files, corpus, store, *SCREEN))
    assert damaged.code == 1
    assert "screening.safetensors is damaged" in damaged.err
    assert "not what the run began with" in cli("status", store).err
    plan.unlink()
    assert "is gone" in cli("status", store).err


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--granularity", "step"), "--granularity step is for all of them"),
        (("--extend",), "use a new --out"),
        (("--keep-recall", "1"), "--keep-recall 1: give a share above 0 and below 1"),
        (("--keep-top", "0"), "--keep-top 0: give a share above 0 and below 1"),
        (("--confidence", "nan"), "--confidence nan"),
        (("--calibration", "0"), "calibration is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(score: Cli, more: tuple[str, ...], why: str) -> None:
    said = score("--screen", *more, model="no/such/model")
    assert said.code == 2
    assert why in said.err


def test_all_documents_count_and_only_exact_ones_are_selected(
    stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    screened, _, _ = stores
    said = cli("select", screened, "--top", 0.5, "--out", tmp_path / "half", "--json")
    assert said.code == 0, said.err
    chosen = {of["domain"]: of["chosen"] for of in json.loads(said.out)["thresholds"]}
    assert chosen == {"l": 128, "s": 32}
    part = cli("select", screened, "--top", 0.1, "--out", tmp_path / "tenth")
    assert "what is promised holds for that share, not for 0.1" in part.out
    assert [of["ranked"] for of in json.loads(said.out)["repetition"]] == [None, None]
    assert f"attention-influence compare {screened}/calibration" in part.out
    card = (tmp_path / "tenth" / "README.md").read_text()
    assert "at least 60% were scored, with a probability of 60%" in card
    assert re.search(r"documents\*\*, [\d,]+ tokens, chosen", card)
    of_sample = ("select", screened / "calibration", "--top", 0.5, "--rank-by", "length", "--out", tmp_path / "sample")
    assert cli(*of_sample).code == 0


@pytest.mark.parametrize(
    "more", [("--top", 0.6), ("--top", 0.1, "--rank-by", "length"), ("--tokens", 100), ("--top", 0.1, "--by", "tokens")]
)
def test_a_selection_that_needs_other_scores_is_refused(
    stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path, more: tuple[object, ...]
) -> None:
    said = cli("select", stores[0], *more, "--out", tmp_path / "out")
    assert said.code == 2
    assert "score without --screen" in said.err
    assert not (tmp_path / "out").exists()


def test_what_is_only_a_part_of_a_screened_store_is_not_selected_from(
    stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    said = cli("select", stores[0] / "provisional", "--top", 0.5, "--out", tmp_path / "out")
    assert said.code == 2
    assert f"holds a part of a screened store. Select from {stores[0]}" in said.err


def test_a_student_is_made_from_the_sample_only(
    stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    for store in (stores[0], stores[0] / "provisional"):
        assert f"Distill the store of its sample: {stores[0]}/calibration" in cli("distill", store, "--out", out).err
    assert not out.exists()
    assert cli("distill", stores[0] / "calibration", "--out", out).code == 0


def test_only_influence_ranks_what_was_chosen_by_its_text(stores: tuple[Path, Path, dict[str, Any]], cli: Cli) -> None:
    screened, whole, _ = stores
    for more in ((), ("--against", "length"), ("--rank-by", "random", "--against", "influence")):
        said = cli("compare", screened, *more)
        assert said.code == 2
        assert f"give {screened}/calibration, or score without --screen" in said.err
    assert cli("compare", screened / "calibration", "--against", "length").code == 0
    said = cli("compare", whole, screened)
    assert said.code == 0
    assert f"warning: {screened} was scored with --screen: only documents with a score are compared" in said.out
    with pytest.raises(UsageError, match="cannot be ranked by random"):
        list(choices(open_store(str(screened)), ["random"], 0.2, 0, None))
    none = np.zeros(0, dtype=np.int64)
    documents = Documents((), none, none, (), none, none, none, none.astype(np.uint64))
    for name in ("influence", "random"):
        with pytest.raises(UsageError, match="arms need the scores of all documents"):
            Rankings(documents, open_store(str(screened)), {}).order(Arm("a", only=name, share=0.1), 0)


def test_a_store_that_was_not_screened_after_all_is_a_whole_one(
    stores: tuple[Path, Path, dict[str, Any]], files: Files, cli: Cli, tmp_path: Path
) -> None:
    corpus = write_lines(tmp_path / "few.jsonl", [{"text": f"abc {n} def {n} " * 5, "kind": "few"} for n in range(60)])
    store = tmp_path / "scores"
    assert cli(*command(files, corpus, store, "--screen")).code == 0
    assert cli("compare", store, "--against", "length").code == 0
    said = cli("select", store, "--top", 0.5, "--rank-by", "length", "--out", tmp_path / "longest")
    assert said.code == 0, said.err
    said = cli("select", store, "--top", 0.5, "--out", tmp_path / "out", "--json")
    assert [of["ranked"] is None for of in json.loads(said.out)["repetition"]] == [False]
    assert "Screened before the model" not in (tmp_path / "out" / "README.md").read_text()
    assert cli("distill", store, "--out", tmp_path / "student").code == 0


def test_reports_are_of_the_sample_where_the_rest_is_no_random_choice(
    stores: tuple[Path, Path, dict[str, Any]], cli: Cli, tmp_path: Path
) -> None:
    screened, whole, _ = stores
    drawn = {key for key, row in rows_of(screened / "calibration").items() if row["domain"] == "l"}
    others = {key for key, row in rows_of(whole).items() if row["domain"] == "s"}
    ranked = Counter(row["domain"] for row in rows_of(screened).values() if row["influence"] is not None)
    assert ranked["l"] > 100 == len(drawn)
    assert set(draw_sample(open_store(str(screened)), ranked, None, 10_000, 0).keys) == drawn | others
    said = cli("report", screened, "--out", tmp_path / "report.html")
    assert said.code == 0, said.err
    page = " ".join((tmp_path / "report.html").read_text().split())
    unseen = stores[2]["screening"]
    assert f"This store was screened: {unseen['screened_out_documents']:,} of 321 documents" in page
    assert "its 64 documents are too few for a sample" in page
    assert f"{ranked.total()} of {ranked.total() + 1} rows have a score, and {unseen['screened_out_documents']}" in page
    assert "above the provisional cut: cpu" in page
    assert cli("report", whole, "--out", tmp_path / "whole.html").code == 0
    assert "This store was screened" not in (tmp_path / "whole.html").read_text()
