import gzip
import json
import os
import subprocess
import sys
from io import BytesIO

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from datasets import load_dataset
from store_files import score_row, scored_store, write_store

from attention_influence.corpus import list_sources
from attention_influence.errors import CorpusError, StoreError, UsageError
from attention_influence.selection import select

CORPUS_SIZE = 40
# What selects the ten best of the forty, whose scores are 0.00 to 0.39.
QUARTER = {"top": 0.25}


def lines(count=CORPUS_SIZE):
    line = b'{ "n" : %d, "x": 1.10, "text": "caf\\u00e9 \xc3\xa9 %.2f" }'
    return [line % (n, (n * 7 % count) / 100) for n in range(count)]


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    return folder


def read(out, name):
    data = (out / name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    if name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(BytesIO(data)).read()
    return data.splitlines()


def write_jsonl(path, rows, ending=""):
    packed = {
        "": lambda data: data,
        ".gz": gzip.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }
    path.with_name(path.name + ending).write_bytes(packed[ending](b"\n".join(rows)))


def write_parquet(path, **more):
    texts = [f"text {(n * 7 % CORPUS_SIZE) / 100:.2f}" for n in range(CORPUS_SIZE)]
    table = pa.table({"z": range(CORPUS_SIZE), "text": texts} | more)
    pq.write_table(table, path, row_group_size=7)
    return table


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize("shard_bytes", [1, 200, 1 << 20])
def test_json_lines_keep_every_byte_and_gain_their_score_and_rank(tmp_path, corpus, ending, shard_bytes):
    write_jsonl(corpus / "a.jsonl", lines(), ending)
    store = scored_store(tmp_path / "store", corpus)
    selection = select(store, out=tmp_path / "out", shard_bytes=shard_bytes, **QUARTER)
    found = [line for name in selection.files for line in read(tmp_path / "out", name)]
    best = [n for n in range(CORPUS_SIZE) if n * 7 % CORPUS_SIZE >= 30]
    assert len(found) == 10
    for line, n in zip(found, best, strict=True):
        place = n * 7 % CORPUS_SIZE
        added = f', "influence": {np.float32(place / 100)!s}, "influence_rank": {40 - place}}}'
        assert line == lines()[n][:-2] + added.encode()
    assert all(name.endswith(f".jsonl{ending}") for name in selection.files)
    assert len(selection.files) == {1: 10, 200: 4, 1 << 20: 1}[shard_bytes]
    assert selection.documents == 10


@pytest.mark.parametrize("shard_bytes", [1, 1 << 20])
def test_parquet_keeps_its_columns_order_and_metadata(tmp_path, corpus, shard_bytes):
    features = {"info": {"features": {"z": {"dtype": "int64", "_type": "Value"}}}}
    table = write_parquet(corpus / "a.parquet", nested=[[{"k": n}] for n in range(CORPUS_SIZE)])
    described = table.replace_schema_metadata({"huggingface": json.dumps(features), "mine": "kept"})
    pq.write_table(described, corpus / "a.parquet", row_group_size=7)
    selection = select(
        scored_store(tmp_path / "store", corpus), out=tmp_path / "out", shard_bytes=shard_bytes, **QUARTER
    )
    assert (len(selection.files) == 1) == (shard_bytes > 1)
    found = pa.concat_tables([pq.read_table(tmp_path / "out" / name) for name in selection.files])
    kept = [n for n in range(CORPUS_SIZE) if n * 7 % CORPUS_SIZE >= 30]
    assert found.column_names == ["z", "text", "nested", "influence", "influence_rank"]
    assert found.select(["z", "text", "nested"]).equals(table.take(kept))
    assert found["influence"].type == pa.float32()
    assert found["influence_rank"].to_pylist() == [40 - n * 7 % CORPUS_SIZE for n in kept]
    assert found.schema.metadata[b"mine"] == b"kept"
    described = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    assert described["influence"]["dtype"] == "float32"


def test_columns_that_no_type_holds_go_to_configurations_of_their_own_and_that_is_said(tmp_path, corpus, caplog):
    texts = pa.array([""] * CORPUS_SIZE)
    for name, more in {"a": {}, "b": {"z": texts}, "c": {}}.items():
        write_parquet(corpus / f"{name}.parquet", **more)
    selection = select(scored_store(tmp_path / "store", corpus), out=tmp_path / "out", top=1.0)
    assert selection.files == ("data/00000.parquet", "data-2/00000.parquet")
    assert [pq.read_metadata(tmp_path / "out" / name).num_rows for name in selection.files] == [80, 40]
    [warning] = selection.warnings
    assert "b.parquet: 'z' is string there, int64 elsewhere, so its rows are written to data-2" in warning
    assert warning in caplog.text
    text = (tmp_path / "out" / "README.md").read_text()
    configs = yaml.safe_load(text.split("---\n")[1])["configs"]
    assert [config["config_name"] for config in configs] == ["data", "data-2"]
    assert 'load_dataset("path/of/this/folder", "data-2", split="train")' in text
    with pytest.raises(ValueError, match="Config name is missing"):
        load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))


def test_formats_convert_both_ways(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", [*lines(), b'{"text": "late 0.99", "more": {"deep": [1]}, "x": null}'])
    store = scored_store(tmp_path / "store", corpus)
    selection = select(store, out=tmp_path / "as-parquet", format="parquet", top=1.0)
    found = pq.read_table(tmp_path / "as-parquet" / selection.files[0]).to_pylist()
    assert found[0]["x"] == 1.1
    assert found[-1]["more"] == {"deep": [1]}
    (corpus / "a.jsonl").unlink()
    write_parquet(corpus / "a.parquet")
    store = scored_store(tmp_path / "store-2", corpus)
    selection = select(store, out=tmp_path / "as-lines", format="jsonl.zst", **QUARTER)
    assert [json.loads(line)["z"] for line in read(tmp_path / "as-lines", selection.files[0])] == [
        n for n in range(CORPUS_SIZE) if n * 7 % CORPUS_SIZE >= 30
    ]


def test_inferred_columns_that_change_type_lose_nothing(tmp_path, corpus):
    rows = [b'{"text": "a 0.5", "v": 1}'] * 1100 + [b'{"text": "a 0.5", "v": "one", "w": {"k": 1}}'] * 1100
    write_jsonl(corpus / "a.jsonl", rows)
    with pytest.raises(CorpusError, match=r"'v' do not fit one Parquet column.*--format jsonl"):
        select(scored_store(tmp_path / "s", corpus), out=tmp_path / "out", format="parquet", top=1.0)
    assert not (tmp_path / "out").exists()
    write_jsonl(corpus / "a.jsonl", rows[:1024] + rows[-1024:])
    selection = select(scored_store(tmp_path / "s", corpus), out=tmp_path / "out", format="parquet", top=1.0)
    values = [row for name in selection.files for row in pq.read_table(tmp_path / "out" / name).to_pylist()]
    assert [row["v"] for row in values] == [1] * 1024 + ["one"] * 1024
    assert values[-1]["w"] == {"k": 1}


@pytest.mark.parametrize("name", ["influence", "influence_rank"])
def test_a_column_of_the_same_name_is_an_error_that_names_the_manifest(tmp_path, corpus, name):
    write_jsonl(corpus / "a.jsonl", [b'{"text": "a 0.5", "%s": 1}' % name.encode()])
    store = scored_store(tmp_path / "lines", corpus)
    with pytest.raises(CorpusError, match=rf"column '{name}' already.*--manifest"):
        select(store, out=tmp_path / "out", top=1.0)
    (corpus / "a.jsonl").unlink()
    write_parquet(corpus / "a.parquet", **{name: range(CORPUS_SIZE)})
    store = scored_store(tmp_path / "table", corpus)
    with pytest.raises(CorpusError, match=rf"column '{name}' already.*--manifest"):
        select(store, out=tmp_path / "out", top=1.0)
    assert select(store, out=tmp_path / "out", top=1.0, manifest=True).documents == CORPUS_SIZE


def test_a_manifest_lists_keys_weights_and_ranks(tmp_path):
    units = [[score_row("x/b", n, n / 10, domain="d") for n in range(5)], [score_row("x/a", 3, 0.35, domain="d")]]
    selection = select(write_store(tmp_path / "s", units), out=tmp_path / "out", top=0.5, manifest=True)
    assert selection.files == ("manifest.parquet",)
    found = pq.read_table(tmp_path / "out" / "manifest.parquet")
    assert found.column_names == ["source", "row", "weight", "domain", "influence", "influence_rank"]
    keys = [(r["source"], r["row"], r["weight"], r["influence_rank"]) for r in found.to_pylist()]
    assert keys == [("x/a", 3, 1.0, 2), ("x/b", 3, 1.0, 3), ("x/b", 4, 1.0, 1)]


def test_another_ranking_keeps_influence_and_names_its_own_columns(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", lines(4))
    source = list_sources([str(corpus)]).sources[0]
    offsets = np.cumsum([0, *(len(line) + 1 for line in lines(4))])
    table = [score_row(source.name, int(offsets[n]), 0.5, loss_base=n / 4) for n in range(4)]
    store = write_store(tmp_path / "s", [table], [source])
    selection = select(store, out=tmp_path / "out", top=0.5, rank_by="loss_base")
    (first, second) = [json.loads(line) for line in read(tmp_path / "out", selection.files[0])]
    assert (first["influence"], first["loss_base"], first["loss_base_rank"], second["loss_base_rank"]) == (
        0.5,
        0.5,
        2,
        1,
    )


def test_the_record_and_the_card_tell_what_was_done(tmp_path):
    rows = [score_row("x/a", n, n / 4, domain="a|b") for n in range(4)] + [score_row("x/a", 9, None, reason="empty")]
    store = write_store(tmp_path / "s", [rows], fingerprint={"weights": "abc"})
    selection = select(store, out=tmp_path / "out", tokens=25, manifest=True)
    record = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert record["rule"] == {
        "top": None,
        "tokens": 25,
        "by": "documents",
        "rank_by": "influence",
        "apply": None,
        "caps": {},
        "floors": {},
        "temperature": None,
        "weight": 1.0,
    }
    assert record["fingerprint"] == {"weights": "abc"}
    assert record["unranked"] == {"empty": 1}
    assert (record["documents"], record["tokens"]) == (selection.documents, selection.tokens) == (2, 20)
    by_domain = {entry["domain"]: entry for entry in record["thresholds"]}
    assert (by_domain["a|b"]["threshold"], by_domain["a|b"]["chosen"], by_domain["web"]["threshold"]) == (0.5, 2, None)
    text = (tmp_path / "out" / "README.md").read_text()
    assert r"| `a\|b` | 4 | 4 | 2 | 40 | 20 | 50.0% | 0.5 |" in text
    assert "**2 of 5 documents**, 20 of 40 tokens" in text


def test_changed_missing_and_unrecorded_inputs_are_refused(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", lines())
    store = scored_store(tmp_path / "s", corpus)
    bare = write_store(tmp_path / "bare", [[score_row("web/a.jsonl", 0, 0.5)]])
    with pytest.raises(StoreError, match=r"does not record where 'web/a\.jsonl' lies"):
        select(bare, out=tmp_path / "out", top=1.0)
    moved = tmp_path / "elsewhere" / "web"
    moved.parent.mkdir()
    os.rename(corpus, moved)
    with pytest.raises(StoreError, match=r"web/a\.jsonl: gone or changed"):
        select(store, out=tmp_path / "out", top=1.0)
    given = list_sources([str(moved)]).sources
    assert select(store, out=tmp_path / "out", sources=given, **QUARTER).documents == 10
    write_jsonl(moved / "a.jsonl", lines()[:-1])
    for manifest in (False, True):
        with pytest.raises(StoreError, match="gone or changed"):
            select(store, out=tmp_path / "no", sources=list_sources([str(moved)]).sources, manifest=manifest, top=1.0)


def test_a_partial_store_needs_leave(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", 0, 0.5)]], complete=False)
    with pytest.raises(StoreError, match="--allow-partial"):
        select(store, out=tmp_path / "out", top=1.0, manifest=True)
    selection = select(store, out=tmp_path / "out", top=1.0, manifest=True, allow_partial=True)
    assert not selection.complete
    assert "**Partial.**" in (tmp_path / "out" / "README.md").read_text()


def test_a_budget_that_nothing_fits_is_a_usage_error(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", 0, 0.5)]])
    with pytest.raises(UsageError, match="no document fits"):
        select(store, out=tmp_path / "out", tokens=9, manifest=True)


def test_what_is_there_is_replaced_only_when_asked_and_only_a_selection(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", 0, 0.5)]])
    out = tmp_path / "out"
    out.mkdir()
    select(store, out=out, top=1.0, manifest=True)
    (out / "extra").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        select(store, out=out, top=1.0, manifest=True)
    select(store, out=out, top=1.0, manifest=True, overwrite=True)
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "manifest.parquet", "selection.json"]
    (out / "selection.json").unlink()
    with pytest.raises(UsageError, match="holds no"):
        select(store, out=out, top=1.0, manifest=True, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="in the way"):
        select(store, out=tmp_path / "file", top=1.0, manifest=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out", "s"]


@pytest.mark.parametrize("options", [{"format": "csv"}, {"shard_bytes": 0}])
def test_outputs_that_mean_nothing_are_usage_errors(tmp_path, options):
    with pytest.raises(UsageError):
        select(tmp_path, out=tmp_path / "out", top=1.0, **options)


def test_an_error_before_any_part_is_finished_leaves_nothing_behind(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", lines())
    write_parquet(corpus / "b.parquet", influence=range(CORPUS_SIZE))
    store = scored_store(tmp_path / "s", corpus)
    with pytest.raises(CorpusError):
        select(store, out=tmp_path / "out", top=1.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "web"]


KILLED = """
import os, sys
from attention_influence.selection import select
from attention_influence.selection.output import staging
store, out = sys.argv[1:]
os.rename = lambda *names: os._exit(9)
select(store, out=out, top=1.0)
"""


def test_a_kill_just_before_the_end_leaves_no_output(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", lines())
    store = scored_store(tmp_path / "s", corpus)
    out = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, str(store), str(out)], check=False).returncode == 9
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["s", "web"]
    assert select(store, out=out, top=1.0).documents == CORPUS_SIZE


def test_equal_scores_give_equal_bytes(tmp_path, corpus):
    write_jsonl(corpus / "a.jsonl", lines(), ".gz")
    write_parquet(corpus / "b.parquet")
    store = scored_store(tmp_path / "s", corpus)
    first = select(store, out=tmp_path / "one", **QUARTER)
    second = select(store, out=tmp_path / "two", **QUARTER)
    for name in (*first.files, "README.md", "selection.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert first.thresholds == second.thresholds


def test_a_selection_is_published_where_folders_cannot_be_renamed(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", 0, 0.5)]])
    memory = fsspec.filesystem("memory")
    for _ in range(2):
        select(str(store), out="memory://bucket/out", top=1.0, manifest=True, overwrite=True)
        names = sorted(memory.find("/bucket"))
        assert names == [f"/bucket/out/{name}" for name in ("README.md", "manifest.parquet", "selection.json")]
    memory.rm("/bucket", recursive=True)


def test_the_weight_is_that_of_every_row_of_the_manifest_and_is_recorded(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 4) for n in range(4)]])
    select(store, out=tmp_path / "out", top=0.5, manifest=True, weight=2.5)
    assert pq.read_table(tmp_path / "out" / "manifest.parquet")["weight"].to_pylist() == [2.5, 2.5]
    assert json.loads((tmp_path / "out" / "selection.json").read_text())["rule"]["weight"] == 2.5
    assert "2.5, where 1 is one copy" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("options", [{"weight": 2.0}, {"weight": 0.0, "manifest": True}, {"weight": float("nan")}])
def test_a_weight_without_a_manifest_or_not_above_zero_is_refused(tmp_path, options):
    store = write_store(tmp_path / "s", [[score_row("x/a", 0, 0.5)]])
    with pytest.raises(UsageError, match="--weight"):
        select(store, out=tmp_path / "out", top=0.5, **options)
