"""The files of units: what readers see of a store, on a disk and on an object store, and files that are damaged."""

import pickle
from pathlib import Path

import pytest

from annotated_stores import annotated_store, write_lines
from attention_influence.cli import main
from attention_influence.errors import StoreError
from attention_influence.report.store_statistics import read_store
from attention_influence.storage.atomic_files import write_atomically
from attention_influence.store.reader import open_store
from attention_influence.store.run import RunStore, open_run
from s3_server import BUCKET, s3_server


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Units of three rows and one without, with an added column."""
    texts = [{"text": f"row {n} of the corpus", "score": n} for n in range(21)]
    write_lines(tmp_path / "corpus" / "a.jsonl", texts)
    write_lines(tmp_path / "corpus" / "b.jsonl", [b" " * 40])
    made = annotated_store(tmp_path / "s", tmp_path / "corpus")
    assert main(["annotate", made.url, "edu", "--column", "score"]) == 0
    assert len(made.units) > 5
    return made


def everything(url: str) -> tuple[object, ...]:
    """What readers see of a store."""
    run, opened = open_run(url), open_store(url)
    assert run is not None
    rows = [row for batch in opened.batches([*opened.schema.names]) for row in batch.to_pylist()]
    return rows, run.published(), run.records(), opened.added["edu"].records(), read_store(opened, {}), opened.schema


def test_a_store_on_s3_reads_like_that_on_a_disk(store: RunStore) -> None:
    with s3_server():
        there = f"s3://{BUCKET}/s"
        for file in Path(store.url).rglob("*.*"):
            write_atomically(f"{there}/{file.relative_to(store.url)}", file.read_bytes())
        assert everything(there) == everything(store.url)
    assert [row["edu"] for row in everything(store.url)[0]] == list(range(21))


@pytest.mark.parametrize("folder", ["scores", "columns/edu"])
def test_a_file_that_is_damaged_or_gone_is_named_with_what_to_do(store: RunStore, folder: str) -> None:
    opened = pickle.loads(pickle.dumps(open_store(store.url)))
    file = Path(store.url) / folder / f"{store.units[1].name}.parquet"
    redo = "resume scoring" if folder == "scores" else f"run `annotate {store.url} edu`"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(StoreError, match=rf"{file}: this unit cannot be read .* {redo}: only what it holds"):
        list(opened.batches(["row", "edu"]))
    file.unlink()
    with pytest.raises(StoreError, match=f"{file} is gone. To have it again, {redo}"):
        list(opened.batches(["row", "edu"]))


def test_replacing_a_column_leaves_nothing_of_the_old_one(store: RunStore) -> None:
    assert main(["annotate", store.url, "edu", "--column", "text", "--overwrite"]) == 1
    assert all(row["edu"] is None for row in everything(store.url)[0])
