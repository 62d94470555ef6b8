"""Which files of a folder, glob or link are corpus, and that every other is counted."""

import json
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import json_lines, rows

from attention_influence.corpus import is_unchanged, list_sources
from attention_influence.corpus.sources import left_out_line
from attention_influence.errors import CorpusError, NoDocuments
from attention_influence.storage.filesystems import open_filesystem

LINE = b'{"text": "a"}\n'


def write(path: Path, content: bytes = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(*inputs: object, **options: str) -> list[str]:
    return [source.name for source in list_sources([str(given) for given in inputs], **options).sources]


def left_out(*inputs: object, **options: str) -> dict[str, list[str]]:
    listing = list_sources([str(given) for given in inputs], **options)
    assert all(about["count"] >= len(about["names"]) for about in listing.left_out.values())
    return {reason: about["names"] for reason, about in listing.left_out.items()}


@pytest.fixture
def linked(tmp_path):
    """corpus/books is a folder; corpus/web and corpus/deep/far are links to folders elsewhere."""
    write(tmp_path / "corpus" / "books" / "0.jsonl")
    write(tmp_path / "disk2" / "web" / "0.jsonl")
    write(tmp_path / "disk2" / "web" / "more" / "1.jsonl")
    write(tmp_path / "disk3" / "2.jsonl")
    (tmp_path / "corpus" / "web").symlink_to("../disk2/web")
    (tmp_path / "corpus" / "deep").mkdir()
    (tmp_path / "corpus" / "deep" / "far").symlink_to(tmp_path / "disk3")
    return tmp_path / "corpus"


ALL = ["corpus/books/0.jsonl", "corpus/deep/far/2.jsonl", "corpus/web/0.jsonl", "corpus/web/more/1.jsonl"]


@pytest.mark.parametrize("end", ["", "/", "/*", "/**/*.jsonl", "/**"])
def test_linked_folders_are_followed_in_folders_and_globs(linked, end):
    assert names(f"{linked}{end}") == ALL


def test_a_glob_stays_at_its_depth_behind_links_too(linked):
    assert names(f"{linked}/*/*.jsonl") == ["corpus/books/0.jsonl", "corpus/web/0.jsonl"]
    assert names(linked / "web") == ["web/0.jsonl", "web/more/1.jsonl"]


@pytest.mark.parametrize("end", ["", "/**/*.jsonl"])
def test_links_in_a_circle_end_and_are_counted(linked, end):
    (linked / "books" / "up").symlink_to(linked)
    (linked / "deep" / "far" / "back").symlink_to(linked / "deep")
    (linked / "self.jsonl").symlink_to("self.jsonl")
    assert names(f"{linked}{end}") == ALL
    found = left_out(f"{linked}{end}")
    assert found["link that leads nowhere"] == ["self.jsonl"]
    if not end:
        assert sorted(found["link to a folder that it lies in"]) == ["books/up", "deep/far/back"]


def test_a_file_reached_twice_is_read_once_by_its_own_name(linked):
    (linked / "a-link.jsonl").symlink_to("books/0.jsonl")
    (linked / "another").symlink_to("books")
    (linked / "twin").symlink_to("../disk2/web")
    assert names(linked) == [*ALL[:2], "corpus/twin/0.jsonl", "corpus/twin/more/1.jsonl"]
    assert sorted(left_out(linked)["reached twice"]) == ["a-link.jsonl", "another", "web"]
    assert names(linked / "a-link.jsonl", linked / "books") == ["corpus/a-link.jsonl"]


def test_a_change_of_what_a_link_names_is_noticed(tmp_path):
    write(tmp_path / "blobs" / "x", b"12345")
    (tmp_path / "a.jsonl").symlink_to("blobs/x")
    (source,) = list_sources([str(tmp_path / "a.jsonl")]).sources
    assert (source.size, is_unchanged(source)) == (5, True)
    os.utime(tmp_path / "blobs" / "x", (1, 1))
    assert not is_unchanged(source)


ODD = ["web::2026.jsonl", "a[1].jsonl", "50%20.jsonl", "x#1?y=2*.jsonl", "~z.jsonl", "a b.jsonl", "back\\slash.jsonl"]
ODD += ["\\xe9.jsonl", "caf\udce9.jsonl", "\udcff::[é].jsonl", "s3:x.jsonl", "~", "new\nline.jsonl"]


def test_names_of_any_characters_are_read_and_told_apart(tmp_path, monkeypatch):
    for number, name in enumerate(ODD):
        write(tmp_path / "odd" / name / "in.jsonl" if name == "~" else tmp_path / "odd" / name, LINE * (number + 1))
    listing = list_sources([str(tmp_path / "odd")])
    assert sorted(len(rows(source)) for source in listing.sources) == list(range(1, len(ODD) + 1))
    json.dumps(listing.roots).encode()
    for source in listing.sources:
        assert source.url.encode()
        assert source.name.encode()
        assert is_unchanged(source)
        (again,) = list_sources([source.url]).sources
        assert again.url == source.url
    monkeypatch.chdir(tmp_path / "odd")
    for number, name in enumerate(ODD):
        (source,) = list_sources([name if name != "~" else "./~"]).sources
        assert len(rows(source)) == number + 1
    assert len(names("*")) == len(ODD)


def test_parquet_under_a_name_that_is_not_utf8_is_read(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"]}), pa.OSFile(os.fsencode(folder / "x.parquet"), "wb"))
    (source,) = list_sources([str(folder)]).sources
    assert source.name == "caf\\xe9/x.parquet"
    assert [row.text for row in rows(source)] == ["a"]


def test_a_folder_whose_name_has_wildcards_may_begin_a_glob(tmp_path):
    write(tmp_path / "data[1]" / "a.jsonl")
    write(tmp_path / "data1" / "b.jsonl")
    assert names(f"{tmp_path}/data[1]/*.jsonl") == ["data[1]/a.jsonl"]


def test_double_colons_in_the_name_of_a_remote_file_are_no_chain():
    assert open_filesystem("s3://bucket/web::2026.jsonl")[1] == "bucket/web::2026.jsonl"
    chained, path = open_filesystem("simplecache::memory://bucket/a.jsonl")
    assert (type(chained).__name__, path) == ("SimpleCacheFileSystem", "/bucket/a.jsonl")


def store_in(folder: Path) -> None:
    for name in (
        "run.json",
        "plan.parquet",
        "scores/0.parquet",
        "leases/0.json",
        "selected/0.jsonl",
        "columns/e/0.json",
    ):
        write(folder / name)


def selection_in(folder: Path) -> None:
    for name in ("selection.json", "README.md", "data/0.jsonl", "manifest.parquet"):
        write(folder / name)


@pytest.mark.parametrize("end", ["", "/**/*.*", "/*"])
def test_stores_and_selections_below_the_root_are_never_corpus(tmp_path, end):
    write(tmp_path / "c" / "0.jsonl")
    store_in(tmp_path / "c" / "scores")
    selection_in(tmp_path / "c" / "deep" / "chosen")
    assert names(f"{tmp_path}/c{end}") == ["c/0.jsonl"]
    found = left_out(f"{tmp_path}/c{end}")
    assert (found["score store"], found["selection"]) == (["scores"], ["deep/chosen"])


def test_a_store_in_the_root_itself_leaves_the_files_beside_it(tmp_path):
    write(tmp_path / "c" / "0.jsonl")
    write(tmp_path / "c" / "more" / "1.jsonl")
    store_in(tmp_path / "c")
    assert names(tmp_path / "c") == ["c/0.jsonl", "c/more/1.jsonl"]


def test_a_selection_may_be_scored_and_a_store_may_not(tmp_path):
    selection_in(tmp_path / "chosen")
    (tmp_path / "chosen" / "manifest.parquet").unlink()
    (tmp_path / "chosen" / "selection.json").write_text(json.dumps({"top": 0.2}, indent=1))
    assert names(tmp_path / "chosen") == ["chosen/data/0.jsonl"]
    store_in(tmp_path / "scores")
    with pytest.raises(CorpusError, match="nothing but a score store"):
        list_sources([str(tmp_path / "scores")])


def test_the_folder_that_is_written_to_is_left_out_before_it_is_a_store(tmp_path):
    write(tmp_path / "c" / "0.jsonl")
    write(tmp_path / "c" / "out" / "plan.parquet")
    assert names(tmp_path / "c", without=str(tmp_path / "c" / "out")) == ["c/0.jsonl"]
    (tmp_path / "link").symlink_to("c/out")
    assert names(tmp_path / "c", without=str(tmp_path / "link")) == ["c/0.jsonl"]


def test_stores_on_a_remote_filesystem_are_left_out():
    memory = fsspec.filesystem("memory")
    for name in ("0.jsonl", "s/run.json", "s/plan.parquet", "s/scores/0.parquet", "s/selected/0.jsonl"):
        memory.pipe_file(f"/bucket/c/{name}", LINE)
    for given in ("memory://bucket/c", "memory://bucket/c/**/*.jsonl", "memory://bucket/c/*"):
        assert names(given) == ["c/0.jsonl"]
    memory.rm("/bucket", recursive=True)


STRAY = {
    "dataset_infos.json": json.dumps({"default": {"features": {"x": 1}}}),
    "long_infos.json": json.dumps({"heads": [[0.1] * 32] * 32}, indent=1),
    "state.json": json.dumps({"_data_files": []}, indent=2),
    "stats.json": json.dumps([{"name": "reader"}], indent=4),
    "array.json": json.dumps([{"text": "a"}, {"text": "b"}]),
    "rows.json": '[\n{"text": "a"},\n{"text": "b"}\n]',
}


def test_json_beside_the_data_is_left_out_and_counted(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), write(tmp_path / "repo" / "data" / "0.parquet"))
    for name, content in STRAY.items():
        write(tmp_path / "repo" / name, content.encode())
    write(tmp_path / "repo" / "dataset_info.json", json.dumps({"a": "x" * 100_000}).encode())
    write(tmp_path / "repo" / "lines.json", json_lines([{"text": "a"}]))
    write(tmp_path / "repo" / "other.json", json_lines([{"body": "a"}, {"body": "b"}]))
    write(tmp_path / "repo" / "broken.json", b"{\n" + LINE * 3)
    write(tmp_path / "repo" / "notes.txt")
    write(tmp_path / "repo" / ".git" / "x.json")
    kept = ["repo/broken.json", "repo/data/0.parquet", "repo/lines.json", "repo/other.json"]
    assert names(tmp_path / "repo") == names(f"{tmp_path}/repo/**") == kept
    listing = list_sources([str(tmp_path / "repo")])
    assert listing.left_out["JSON beside the data"]["count"] == len(STRAY) + 1
    assert listing.left_out["of another kind"] == {"count": 1, "names": ["notes.txt"]}
    assert listing.left_out["hidden"] == {"count": 1, "names": [".git"]}
    line = left_out_line(listing.left_out)
    assert "7 JSON beside the data (array.json, dataset_info.json, dataset_infos.json, …)" in line


def test_a_folder_of_nothing_but_json_that_holds_no_lines_says_what_it_is(tmp_path):
    write(tmp_path / "a" / "a.json", STRAY["array.json"].encode())
    with pytest.raises(NoDocuments, match=r"a\.json is a JSON array, not JSON lines: convert it with `jq"):
        list_sources([str(tmp_path / "a")])
    write(tmp_path / "saved" / "state.json", STRAY["state.json"].encode())
    write(tmp_path / "saved" / "data-00000-of-00001.arrow")
    with pytest.raises(NoDocuments, match=r"\.arrow is an Arrow file.*load_from_disk"):
        list_sources([str(tmp_path / "saved")])


def test_files_that_are_links_to_nowhere_or_no_files_are_counted(tmp_path):
    write(tmp_path / "c" / "0.jsonl")
    (tmp_path / "c" / "gone.jsonl").symlink_to("nowhere.jsonl")
    os.mkfifo(tmp_path / "c" / "pipe.jsonl")
    assert names(tmp_path / "c") == ["c/0.jsonl"]
    assert left_out(tmp_path / "c") == {"link that leads nowhere": ["gone.jsonl"], "not a regular file": ["pipe.jsonl"]}
    with pytest.raises(CorpusError, match=r"gone\.jsonl: a link that leads nowhere \(nowhere\.jsonl\)"):
        list_sources([str(tmp_path / "c" / "gone.jsonl")])
    with pytest.raises(CorpusError, match="not a regular file"):
        list_sources([str(tmp_path / "c" / "pipe.jsonl")])


@pytest.mark.parametrize("given", ["c", "c/*", "c/secret.jsonl", "c/closed", "c/closed/x.jsonl"])
def test_what_may_not_be_read_is_one_error_that_names_it(tmp_path, given):
    write(tmp_path / "c" / "0.jsonl")
    write(tmp_path / "c" / "secret.jsonl").chmod(0)
    if os.access(tmp_path / "c" / "secret.jsonl", os.R_OK):
        pytest.skip("this user may read everything")
    write(tmp_path / "c" / "closed" / "x.jsonl").parent.chmod(0)
    try:
        with pytest.raises(CorpusError, match="no permission to read it"):
            list_sources([str(tmp_path / given)])
    finally:
        (tmp_path / "c" / "closed").chmod(0o700)
