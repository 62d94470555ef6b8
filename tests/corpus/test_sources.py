import os

import fsspec
import pytest

from attention_influence.corpus import Source, is_unchanged, list_sources
from attention_influence.errors import CorpusError, UsageError


@pytest.fixture
def corpus(tmp_path):
    for name in ("b.jsonl", "a.parquet", "deep/c.ndjson.gz", "deep/d.json.zst", "deep/notes.txt", "_meta/e.jsonl"):
        path = tmp_path / "web" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in (".hidden.jsonl", "_SUCCESS.jsonl"):
        (tmp_path / "web" / name).write_bytes(b"x")
    return tmp_path / "web"


def names(listing):
    return [source.name for source in listing.sources]


def test_folder_lists_readable_files_by_name_and_passes_over_the_rest(corpus):
    listing = list_sources([str(corpus)])
    assert names(listing) == ["web/a.parquet", "web/b.jsonl", "web/deep/c.ndjson.gz", "web/deep/d.json.zst"]
    assert [(s.format, s.compression) for s in listing.sources] == [
        ("parquet", None),
        ("jsonl", None),
        ("jsonl", "gzip"),
        ("jsonl", "zstd"),
    ]
    assert listing.roots == {"web": f"file://{corpus}"}
    assert all(source.size == 1 and source.version for source in listing.sources)


def test_single_file_and_glob_take_their_folder_as_root(corpus):
    assert names(list_sources([str(corpus / "deep" / "c.ndjson.gz")])) == ["deep/c.ndjson.gz"]
    assert names(list_sources([f"{corpus}/**/*.gz"])) == ["web/deep/c.ndjson.gz"]
    assert names(list_sources([f"{corpus}/d*"])) == ["web/deep/c.ndjson.gz", "web/deep/d.json.zst"]


def test_a_file_whose_name_has_wildcards_is_taken_as_it_is(tmp_path):
    (tmp_path / "x[1].jsonl").write_bytes(b"")
    assert names(list_sources([str(tmp_path / "x[1].jsonl")])) == [f"{tmp_path.name}/x[1].jsonl"]


def test_roots_of_equal_name_are_numbered_in_input_order(tmp_path):
    for parent in ("one", "two", "three"):
        (tmp_path / parent / "data").mkdir(parents=True)
        (tmp_path / parent / "data" / "a.jsonl").write_bytes(b"")
    listing = list_sources([str(tmp_path / parent / "data") for parent in ("two", "one", "three")])
    assert names(listing) == ["data-2/a.jsonl", "data-3/a.jsonl", "data/a.jsonl"]
    assert listing.roots["data-2"] == f"file://{tmp_path}/one/data"


def test_a_file_reached_twice_is_listed_once_with_its_first_domain(corpus):
    listing = list_sources([str(corpus), str(corpus / "deep" / "*"), str(corpus)], ["first", "second", "third"])
    assert len(listing.sources) == 4
    assert {source.domain for source in listing.sources} == {"first"}
    assert set(listing.roots) == {"web"}


def test_domains_are_none_one_or_one_for_each_input(corpus):
    inputs = [str(corpus / "b.jsonl"), str(corpus / "deep")]
    assert {s.domain for s in list_sources(inputs).sources} == {None}
    assert {s.domain for s in list_sources(inputs, ["web"]).sources} == {"web"}
    assert [s.domain for s in list_sources(inputs, ["x", "y"]).sources] == ["y", "y", "x"]
    with pytest.raises(UsageError, match="3 domains for 2 inputs"):
        list_sources(inputs, ["x", "y", "z"])


def test_memory_filesystem_lists_like_a_folder():
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/part/a.jsonl", b"{}")
    source = list_sources(["memory://bucket/part"]).sources[0]
    assert (source.name, source.url, source.size) == ("part/a.jsonl", "memory:///bucket/part/a.jsonl", 2)
    assert is_unchanged(source)
    memory.pipe_file("/bucket/part/a.jsonl", b"[]")
    assert not is_unchanged(source)
    memory.rm("/bucket", recursive=True)
    assert not is_unchanged(source)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: str(c / "nowhere"), "no such file or folder"),
        (lambda c: str(c / "deep" / "notes.txt"), r"Known: \.parquet, \.jsonl, \.ndjson"),
        (lambda c: str(c / "_meta" / "*.txt"), "0 files found"),
        (lambda c: str(c / "empty"), "none that can be read"),
    ],
)
def test_inputs_that_hold_nothing_say_what_to_do(corpus, make, message):
    (corpus / "empty").mkdir()
    with pytest.raises(CorpusError, match=message):
        list_sources([make(corpus)])


def test_no_input_and_unknown_protocols_are_usage_errors():
    with pytest.raises(UsageError, match="No input"):
        list_sources([])
    with pytest.raises(UsageError, match="Install the driver"):
        list_sources(["nosuch://bucket/a.jsonl"])


def test_a_source_survives_json_and_notices_a_changed_file(corpus):
    source = list_sources([str(corpus / "b.jsonl")], ["web"]).sources[0]
    assert Source.from_json(source.to_json()) == source
    assert is_unchanged(source)
    os.utime(corpus / "b.jsonl", (1, 1))
    assert not is_unchanged(source)
