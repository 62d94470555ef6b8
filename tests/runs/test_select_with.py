"""Scoring and choosing in one read, against scoring and then applying the same thresholds."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from attention_influence.corpus import byte_streams, list_sources, parquet
from attention_influence.corpus.byte_streams import read_bytes
from attention_influence.selection import select
from runs.runs import Command, objects, texts, write_lines

CUT = ("--unit-tokens", 100)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Small files of all formats that share units, of two domains, with columns of their own; two rows lack a text."""
    folder = tmp_path / "corpus"
    rows = [{"n": n, "text": text, "domain": "ab"[n % 2], "tags": ["é", n]} for n, text in enumerate(texts(60))]
    rows[7]["text"] = rows[8]["text"] = None
    lines = ["".join(json.dumps(row) + "\r\n" for row in rows[part::5]).encode() for part in range(3)]
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines[1]))
    (folder / "c.jsonl.zst").write_bytes(zstandard.compress(lines[2]))
    table = pa.table({"text": [row["text"] for row in rows[3::5]], "domain": [row["domain"] for row in rows[3::5]]})
    views = table.append_column("view", pa.array([f"v{n}" for n in range(len(table))], pa.string_view()))
    pq.write_table(views, folder / "d.parquet", row_group_size=5)
    other = table.append_column("score", pa.array(range(len(table)), pa.int16()))
    pq.write_table(other, folder / "e.parquet")
    return folder


def rows_in(files: list[Path]) -> list[dict[str, Any]]:
    """What the files hold, without ranks, in an order of its own."""
    rows = []
    for file in files:
        if file.suffix == ".parquet":
            rows += pq.read_table(file).to_pylist()
        else:
            (source,) = list_sources([str(file)]).sources
            rows += [json.loads(line) for line in b"".join(read_bytes(source)).splitlines()]
    kept = [{key: value for key, value in row.items() if not key.endswith("_rank")} for row in rows]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True))


def thresholds(cli: Command, tmp_path: Path, **rule: Any) -> Path:
    """A selection from other documents of the same domains."""
    given = [{"text": text, "domain": "ab"[n % 2]} for n, text in enumerate(texts(60, seed=9))]
    old = tmp_path / "old.jsonl"
    old.write_text("".join(json.dumps(row) + "\n" for row in given))
    assert cli.score(old, tmp_path / "old", "--domain-column", "domain").code == 0
    select(tmp_path / "old", out=tmp_path / "chosen", manifest=True, **rule)
    return tmp_path / "chosen"


@pytest.mark.parametrize(
    ("rule", "workers"),
    [({"top": 0.4}, 1), ({"top": 0.3, "rank_by": "-loss_base"}, 2)],
)
def test_what_is_written_while_scoring_is_what_scoring_and_then_applying_writes(
    cli: Command, tmp_path: Path, corpus: Path, rule: dict[str, Any], workers: int
) -> None:
    chosen = thresholds(cli, tmp_path, **rule)
    usual = [*CUT, "--domain-column", "domain"]
    said = cli.score(corpus, tmp_path / "one", *usual, "--select-with", chosen, "--workers", workers, "--json")
    assert said.code == 0, said.err
    assert cli.score(corpus, tmp_path / "two", *usual).code == 0
    select(tmp_path / "two", out=tmp_path / "applied", apply=chosen)
    applied = rows_in([file for file in (tmp_path / "applied").glob("data*/*") if file.is_file()])
    written = rows_in(list((tmp_path / "one" / "selected").iterdir()))
    assert 0 < len(written) < 58
    assert written == applied
    assert said.data["selected"] == len(written)


def test_each_byte_of_the_corpus_is_read_once(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = thresholds(cli, tmp_path, top=0.4)
    lines = write_lines(tmp_path / "c" / "a.jsonl", texts(40))
    opened: list[str] = []
    for module in (byte_streams, parquet):
        plain = module.open_bytes

        def counted(filesystem: Any, path: str, plain: Any = plain, **how: Any) -> Any:
            opened.append(path)
            return plain(filesystem, path, **how)

        monkeypatch.setattr(module, "open_bytes", counted)
    reads = []
    for more in ((), ("--select-with", chosen)):
        opened.clear()
        assert cli.score(lines.parent, tmp_path / f"s{len(more)}", "--domain", "a", *more).code == 0
        reads.append(len(opened))
    assert reads[0] == reads[1]
    assert len(list((tmp_path / "s2" / "selected").iterdir())) == 1


def test_a_run_that_is_resumed_replaces_what_a_kill_left_and_writes_the_rest(
    cli: Command, tmp_path: Path, corpus: Path
) -> None:
    chosen = thresholds(cli, tmp_path, top=0.4)
    store, asked = tmp_path / "s", [*CUT, "--domain-column", "domain", "--select-with", chosen]
    assert cli.score(corpus, store, *asked).code == 0
    selected = store / "selected"
    whole = {file.name: file.read_bytes() for file in selected.iterdir()}
    first, second, *_ = sorted({name[:15] for name in whole})
    (store / "scores" / f"{first}.parquet").unlink()
    (store / "scores" / f"{second}.parquet").unlink()
    for file in selected.glob(f"{first}*"):
        file.unlink()
    (selected / f"{second}-7.parquet").write_bytes(b"of an attempt that was killed")
    assert cli.score(corpus, store, *asked).code == 0
    assert {file.name: file.read_bytes() for file in selected.iterdir()} == whole


def test_a_file_that_is_cut_short_gives_none_of_its_rows_in_that_unit(cli: Command, tmp_path: Path) -> None:
    chosen = thresholds(cli, tmp_path, top=1.0)
    corpus = tmp_path / "c"
    write_lines(corpus / "a.jsonl", texts(5))
    whole = write_lines(corpus / "b.jsonl", texts(300, seed=1)).read_bytes()
    (corpus / "b.jsonl").unlink()
    (corpus / "b.jsonl.gz").write_bytes(gzip.compress(whole)[:-4000])
    said = cli.score(corpus, tmp_path / "s", "--domain", "a", "--select-with", chosen, "--json")
    assert said.code == 1
    rows = sum(pq.read_metadata(tmp_path / "s" / "scores" / name).num_rows for name in objects(tmp_path / "s"))
    assert said.data["selected"] <= rows == 5


def test_a_store_is_not_gone_on_with_under_other_thresholds(cli: Command, tmp_path: Path, corpus: Path) -> None:
    chosen = thresholds(cli, tmp_path, top=0.4)
    usual = ["--domain-column", "domain"]
    assert cli.score(corpus, tmp_path / "s", *usual, "--select-with", chosen).code == 0
    said = cli.score(corpus, tmp_path / "s", *usual)
    assert said.code == 1
    assert "was begun with another --select-with" in said.err
    assert cli.score(corpus, tmp_path / "t", *usual).code == 0
    said = cli.score(corpus, tmp_path / "t", *usual, "--select-with", chosen)
    assert said.code == 1
    assert "was begun without --select-with" in said.err


def test_thresholds_of_scores_made_otherwise_are_refused(cli: Command, tmp_path: Path, corpus: Path) -> None:
    chosen = thresholds(cli, tmp_path, top=0.4)
    said = cli.score(corpus, tmp_path / "s", "--window", 64, "--select-with", chosen)
    assert said.code == 1
    assert "another window" in said.err
    assert not (tmp_path / "s").exists()
