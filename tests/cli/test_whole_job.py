"""The subcommands one after another, as a user calls them."""

import json
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli, Files, write_lines
from cli.test_detect import SENTENCES


@pytest.fixture
def store(score: Cli, tmp_path: Path) -> Path:
    assert score("--domain-column", "kind", "--id-column", "name", "--unit-tokens", "300").code == 0
    return tmp_path / "scores"


def test_scored_then_selected_then_reported(cli: Cli, store: Path, tmp_path: Path) -> None:
    said = cli("select", store, "--top", 0.2, "--out", tmp_path / "selected", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["documents"] == 4
    rows = [row for file in (store / "scores").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    best = set()
    for kind in "ab":
        of_kind = sorted((row for row in rows if row["domain"] == kind), key=lambda row: -row["influence"])
        best |= {row["id"] for row in of_kind[:2]}
    chosen = [json.loads(line) for file in (tmp_path / "selected").rglob("*.jsonl") for line in file.open()]
    assert {row["name"] for row in chosen} == best
    page = tmp_path / "report.html"
    assert cli("report", store, "--selection", tmp_path / "selected", "--out", page).code == 0
    assert "<html" in page.read_text()


def test_every_file_may_lie_in_an_object_store(
    cli: Cli, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": " ".join(SENTENCES)}])
    model = ("--model", files.model, "--dtype", "fp32")
    probes = (*model, "--sentences", texts, "--context", 900)
    heads, bucket = "memory://job/heads.json", "memory://job"
    for said in (
        cli("detect", *probes, "--samples", 2, "--out", heads),
        cli("stability", *probes, "--samples", 2, "--seeds", 1, "--contexts", 900, "--out", f"{bucket}/stability.json"),
        cli("validate", *probes, "--heads", heads, "--items-per-task", 2, "--out", f"{bucket}/validity.json"),
        cli("score", files.corpus, *model, "--heads", heads, "--out", f"{bucket}/scores"),
        cli("select", f"{bucket}/scores", "--top", 0.2, "--out", f"{bucket}/selected"),
        cli(
            *("report", f"{bucket}/scores", "--heads", heads, "--selection", f"{bucket}/selected"),
            *("--stability", f"{bucket}/stability.json", "--validity", f"{bucket}/validity.json"),
            *("--out", f"{bucket}/report.html"),
        ),
    ):
        assert said.code == 0, said.err
    written = {path.removeprefix("/job/").partition("/")[0] for path in fsspec.filesystem("memory").find("/job")}
    alone = {"heads.json", "heads.png", "stability.json", "validity.json", "validity.png", "report.html"}
    assert written == alone | {"scores", "selected"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.jsonl"]


def test_status_tells_how_far_a_run_is(cli: Cli, score: Cli, store: Path) -> None:
    whole = json.loads(cli("status", store, "--json").out)
    assert whole["done"] == whole["units"] > 3
    assert (whole["rows"], whole["quarantined"], whole["failed_files"], whole["seconds_left"]) == (20, {}, {}, 0.0)
    gone = next((store / "scores").glob("*.parquet"))
    gone.unlink()
    half = json.loads(cli("status", store, "--json").out)
    assert half["done"] == whole["done"] - 1
    assert half["seconds_left"] > 0
    assert f"{half['done']} of {half['units']}" in cli("status", store).out
    refused = cli("select", store, "--top", 0.2, "--out", store.parent / "part")
    assert refused.code == 1
    assert not (store.parent / "part").exists()
    assert cli("select", store, "--top", 0.2, "--out", store.parent / "part", "--allow-partial").code == 0


@pytest.mark.parametrize("subcommand", ["status", "select", "report"])
def test_a_folder_that_is_no_store_is_refused(cli: Cli, tmp_path: Path, subcommand: str) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        said = cli(subcommand, place, *(("--top", 0.2) if subcommand == "select" else ()), *_out(subcommand, tmp_path))
        assert said.code == 1
        assert str(place) in said.err
        assert said.out == ""
    assert not (tmp_path / "made").exists()


def _out(subcommand: str, folder: Path) -> tuple[object, ...]:
    return () if subcommand == "status" else ("--out", folder / "made")
