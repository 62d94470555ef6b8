"""Files that are something else than their names say: refused by name, with what to do."""

import gzip
import json

import pyarrow as pa
import pytest
from corpus_files import json_lines, lines_file, rows

from attention_influence.corpus import list_sources
from attention_influence.corpus.content import other_than_lines
from attention_influence.errors import NoDocuments

LINES = json_lines([{"text": "café"}, {"text": "b"}])
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 1000\n" % 0


def arrow_stream() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"text": ["a"]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "a Git LFS pointer.*git lfs pull"),
        (gzip.compress(LINES, mtime=0), r"gzip data: .*\.gz"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 20, r"zstd data: .*\.zst"),
        (b"PAR1" + b"x" * 20, r"Parquet: .*\.parquet"),
        (b"PK\x03\x04" + b"x" * 20, "a zip archive"),
        (arrow_stream(), "an Arrow file.*load_from_disk"),
        (b"\n <!DOCTYPE html>\n<html>not found</html>", "an HTML page"),
        (LINES.decode().encode("utf-16"), "UTF-16.*iconv"),
        (LINES.decode().encode("utf-16-le"), "UTF-16.*iconv"),
        (json.dumps([{"text": "a"}] * 9).encode(), "a JSON array.*jq"),
        (json.dumps([{"text": "a" * 99}] * 9999).encode(), "a JSON array"),
        (json.dumps([{"text": "a"}] * 9, indent=2).encode(), "a JSON array"),
        (b"[\n" + LINES.replace(b"\n", b",\n") + b'{"text": "c"}\n]', "a JSON array"),
        (b"[]", "a JSON array"),
        (json.dumps({"data": [{"text": "a"}]}, indent=2).encode(), "one JSON value over several lines"),
        (LINES.replace(b"\n", b"\r"), r"carriage return alone.*tr"),
    ],
)
def test_other_files_under_the_name_of_json_lines_are_refused_by_name(tmp_path, content, said):
    for compression in (None, "gzip"):
        with pytest.raises(NoDocuments, match=rf"part\.jsonl.*cannot be read as JSON lines: it is .*{said}"):
            rows(lines_file(tmp_path, content, compression), start=5)


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"",
        b"{\n" + LINES,
        b"[\n" + LINES,
        b"[1]\n[2]\n" + LINES,
        b'{"text": "a"}\r',
        LINES.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + LINES,
        b"plain words\n",
    ],
)
def test_what_may_be_lines_is_read_as_lines(tmp_path, content):
    assert other_than_lines(content) is None
    rows(lines_file(tmp_path, content))


def test_plain_lines_named_as_compressed_and_pointers_named_as_anything_are_refused_by_name(tmp_path):
    for name, content, said in [
        ("a.jsonl.gz", LINES, "cannot be read as gzip data: it is not compressed: take the last ending off"),
        ("a.jsonl.gz", POINTER, "cannot be read as gzip data: it is a Git LFS pointer"),
        ("a.jsonl.zst", gzip.compress(LINES, mtime=0), r"cannot be read as zstd data: it is gzip data: .*\.gz"),
        ("a.parquet", POINTER, "cannot be read as Parquet: it is a Git LFS pointer"),
        ("a.parquet", LINES, r"cannot be read as Parquet: it is JSON lines: .*\.jsonl"),
        ("a.parquet", b"<html></html>", "cannot be read as Parquet: it is an HTML page"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NoDocuments, match=said):
            rows(list_sources([str(tmp_path / name)]).sources[0])


def test_byte_order_marks_within_a_file_of_files_put_together(tmp_path):
    first, second = (b"\xef\xbb\xbf" + json_lines([{"text": text}]) for text in "ab")
    for compression in (None, "gzip"):
        found = rows(lines_file(tmp_path, first + second, compression))
        assert [(row.row, row.text) for row in found] == [(0, "a"), (len(first), "b")]


def test_tokens_beyond_json_and_repeated_keys_are_read_as_python_reads_them(tmp_path):
    content = b'{"text": "a", "x": NaN, "y": -Infinity}\n{"text": NaN}\n{"text": "first", "text": "last"}\n'
    found = rows(lines_file(tmp_path, content))
    assert [(row.text, row.reason) for row in found] == [("a", None), (None, "not_a_string"), ("last", None)]
