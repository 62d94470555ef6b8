import gzip
import json
from itertools import pairwise

import fsspec
import pytest
import zstandard
from corpus_files import encode, json_lines, lines_file, read_into, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attention_influence.corpus import Columns, byte_streams, list_sources
from attention_influence.corpus.json_lines import json_lines_at, rows_in, split_lines
from attention_influence.errors import CorpusError, CorruptFile

COMPRESSIONS = [None, "gzip", "zstd"]
same_folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def reasons(rows):
    return [(row.row, row.reason) for row in rows]


def test_each_bad_line_is_a_row_with_its_key_and_reason(tmp_path):
    lines = [
        (b'{"text": "good"}', None),
        (b'{"text": null}', "null_text"),
        (b'{"text": 7}', "not_a_string"),
        (b'{"text": ""}', "empty"),
        (b'{"text": " \\n\\t"}', "whitespace"),
        (b'{"text": "\xff"}', "invalid_utf8"),
        (b'{"text": "\\ud800"}', "invalid_utf8"),
        (b'{"text": "cut', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'["text"]', "not_an_object"),
        (b'{"other": 1}', "missing_text"),
        (b'{"text": "a\\u0000b\x00c"}', None),
    ]
    expected, offset = [], 0
    for line, reason in lines:
        expected.append((offset, reason))
        offset += len(line) + 1
    found = rows(lines_file(tmp_path, b"\n".join(line for line, _ in lines)))
    assert reasons(found) == expected
    assert found[-1].text == "a\0b\0c"


def test_line_ends_blank_lines_and_byte_order_mark(tmp_path):
    data = b'\xef\xbb\xbf{"text": "a"}\r\n \t\r\n\n{"text": "b"}'
    assert [(r.row, r.text) for r in rows(lines_file(tmp_path, data))] == [(0, "a"), (23, "b")]


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf\n"])
def test_files_without_lines_have_no_rows(tmp_path, data):
    assert rows(lines_file(tmp_path, data)) == []


def test_a_line_above_the_limit_is_a_row_and_the_next_one_is_read(tmp_path):
    long = json.dumps({"text": "x" * 3_000_000}).encode()
    data = b'{"text": "a"}\n' + long + b'\n{"text": "b"}\n' + long
    found = reasons(rows_in(lines_file(tmp_path, data), Columns(), max_line_bytes=1000))
    assert found == [(0, None), (14, "too_long"), (15 + len(long), None), (29 + len(long), "too_long")]


def test_ids_and_domains_become_strings_and_columns_outrank_the_source(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        json_lines(
            [
                {"text": "a", "key": 5, "site": "w"},
                {"text": "b", "key": True, "site": None},
                {"text": "c", "key": [1]},
                {"text": "d", "key": None, "site": 3},
            ]
        )
    )
    source = list_sources([str(tmp_path)], ["given"]).sources[0]
    assert [(r.id, r.domain) for r in rows(source, Columns(id="key", domain="site"))] == [
        ("5", "w"),
        ("True", "unknown"),
        ("[1]", "unknown"),
        (None, "3"),
    ]
    assert {r.domain for r in rows(source)} == {"given"}
    assert {r.domain for r in rows(list_sources([str(tmp_path)]).sources[0])} == {"default"}


@pytest.mark.parametrize(
    ("columns", "option"),
    [(Columns("body"), "text"), (Columns(id="nr"), "id"), (Columns(domain="site"), "domain")],
)
@pytest.mark.parametrize("start", [0, 40])
def test_a_column_missing_from_the_first_objects_is_an_error_in_every_range(tmp_path, columns, option, start):
    source = lines_file(tmp_path, json_lines([{"text": "a", "extra": 1}] * 150))
    with pytest.raises(CorpusError, match=rf"there are: 'text', 'extra'.*--{option}-column"):
        rows(source, columns, start)


def test_a_column_that_a_later_object_has_is_no_error(tmp_path):
    source = lines_file(tmp_path, json_lines([{"other": 1}] * 99 + [{"text": "a"}]))
    assert [row.reason for row in rows(source)] == ["missing_text"] * 99 + [None]


line = st.one_of(
    st.builds(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(), st.text("aé𝄞 ", max_size=9)),
    st.sampled_from([b"", b" ", b"{", b"\xff", b'{"text": 1}']),
)


@same_folder
@given(
    lines=st.lists(line, max_size=12),
    end=st.sampled_from([b"", b"\n", b"\r\n"]),
    mark=st.booleans(),
    compression=st.sampled_from(COMPRESSIONS),
    parts=st.integers(1, 3),
    data=st.data(),
)
def test_any_partition_of_the_bytes_gives_the_whole_file(tmp_path, lines, end, mark, compression, parts, data):
    first = [b'{"text": "first"}']
    content = (b"\xef\xbb\xbf" if mark else b"") + b"\n".join(first + lines) + end
    source = lines_file(tmp_path, content, compression, parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content) + 2), max_size=6)))
    bounds = [0, *cuts, None]
    pieces = [row for a, b in pairwise(bounds) for row in rows(source, start=a, end=b)]
    whole = rows(source)
    assert pieces == whole
    not_blank = [text for text in (first + lines) if text.strip()]
    assert len(whole) == len(not_blank)
    for row in whole:
        assert content[row.row :].removeprefix(b"\xef\xbb\xbf").startswith(not_blank.pop(0))


@same_folder
@given(compression=st.sampled_from(COMPRESSIONS), chosen=st.sets(st.integers(0, 29)), gap=st.sampled_from([3, 90_000]))
def test_chosen_offsets_give_their_lines(tmp_path, compression, chosen, gap):
    content = json_lines([{"text": "é" * gap, "n": n, "x": 1.10} for n in range(30)])
    source = lines_file(tmp_path, content, compression, 3)
    keys = [row.row for row in rows(source)]
    wanted = [keys[n] for n in sorted(chosen)]
    found = list(json_lines_at(source, wanted))
    assert [offset for offset, _ in found] == wanted
    assert [json.loads(text)["n"] for _, text in found] == sorted(chosen)
    assert all(content[offset:].startswith(text + b"\n") for offset, text in found)


def test_an_offset_at_which_no_line_begins_is_an_error(tmp_path):
    source = lines_file(tmp_path, json_lines([{"text": "a"}] * 3))
    with pytest.raises(CorpusError, match="no line begins at byte 15"):
        list(json_lines_at(source, [14, 15]))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("parts", [1, 4])
def test_a_stream_cut_short_gives_what_is_readable_then_an_error(tmp_path, compression, parts):
    whole = json_lines([{"text": f"{n} " + "word " * (n % 7)} for n in range(20_000)])
    source = lines_file(tmp_path, whole, compression, parts)
    path = source.url.removeprefix("file://")
    packed = encode(whole, compression, parts)
    for length in (len(packed) - 1, len(packed) * 9 // 10, 3):
        with open(path, "wb") as file:
            file.write(packed[:length])
        seen = []
        with pytest.raises(CorruptFile, match=r"part\.jsonl.*ends in the middle.*near byte .*Fetch or write"):
            read_into(seen, source)
        assert len(seen) > 10_000 or length == 3


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage_in_the_middle_and_foreign_bytes_are_errors(tmp_path, compression):
    whole = json_lines([{"text": f"{n} " + "word " * (n % 7)} for n in range(20_000)])
    source = lines_file(tmp_path, whole, compression, 3)
    path = source.url.removeprefix("file://")
    packed = bytearray(encode(whole, compression, 3))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = b"\xff" * 200
    for content in (bytes(packed), whole, b"", encode(whole, compression) + b"garbage!"):
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(CorruptFile):
            rows(source)


def test_padding_after_gzip_and_skippable_zstd_frames_are_no_damage(tmp_path):
    data = json_lines([{"text": "a"}])
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data) + b"\0" * 10_000 + gzip.compress(data) + b"\0" * 512)
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    frame = zstandard.ZstdCompressor().compress(data)
    (tmp_path / "b.jsonl.zst").write_bytes(skippable + frame + skippable + frame)
    for source in list_sources([str(tmp_path)]).sources:
        assert [row.row for row in rows(source)] == [0, 14]


def test_rows_come_from_a_memory_filesystem():
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/lines/a.jsonl", json_lines([{"text": "a"}, {"text": "b"}]))
    assert [r.text for r in rows(list_sources(["memory://lines/a.jsonl"]).sources[0], start=14)] == ["b"]
    memory.rm("/lines", recursive=True)


def test_a_file_that_is_gone_says_so(tmp_path):
    source = lines_file(tmp_path, b"{}")
    (tmp_path / "part.jsonl").unlink()
    with pytest.raises(CorpusError, match="gone since it was listed"):
        rows(source)


def test_long_lines_are_skipped_without_being_held():
    chunks = (b"x" * 1000 for _ in range(1000))
    assert list(split_lines(chunks, 0, 10)) == [(0, None)]


def test_a_range_without_the_beginning_of_a_line_is_not_read_beyond_its_end(tmp_path, monkeypatch):
    source = lines_file(tmp_path, json_lines([{"text": "a"}, {"text": "b" * (8 << 20)}, {"text": "c"}]))
    read = []
    taken = byte_streams._chunks

    def counted(raw):
        for chunk in taken(raw):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(byte_streams, "_chunks", counted)
    assert rows(source, start=1 << 20, end=2 << 20) == []
    assert sum(read) <= 3 << 20
