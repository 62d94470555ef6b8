"""What a file's first bytes say it is, where its name says something else."""

import json
from contextlib import closing
from typing import Any

from attention_influence.storage.filesystems import open_bytes, open_filesystem

HEAD_BYTES = 64 << 10
BOM = b"\xef\xbb\xbf"

_UTF_16 = "UTF-16 text, not UTF-8: convert it with `iconv -f UTF-16 -t UTF-8`"
_HTML = "an HTML page, as a failed download leaves it: fetch the file again"
ARROW = "an Arrow file, as `save_to_disk` writes: convert it with `datasets.load_from_disk(folder).to_parquet(file)`"
_BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
    b"PAR1": "Parquet: give it a name that ends in .parquet",
    b"\x1f\x8b": "gzip data: give it a name that ends in .gz",
    b"\x28\xb5\x2f\xfd": "zstd data: give it a name that ends in .zst",
    b"BZh": "bzip2 data: decompress it",
    b"\xfd7zXZ\0": "xz data: decompress it",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"ARROW1": ARROW,
    b"\xff\xff\xff\xff": ARROW,
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}
_ARRAY = "a JSON array, not JSON lines: convert it with `jq -c '.[]' array.json > lines.jsonl`"
_SPREAD = "one JSON value over several lines, not JSON lines: convert it with `jq -c . spread.json > lines.jsonl`"
_RETURNS = "lines that end with a carriage return alone: convert it with `tr '\\r' '\\n'`"


def head_of(url: str) -> bytes:
    """The first bytes of a file, as stored."""
    filesystem, path = open_filesystem(url)
    with closing(open_bytes(filesystem, path, sequential=False)) as raw:
        return raw.read(HEAD_BYTES)


def other_than_lines(head: bytes) -> str | None:
    """What a file seems to be that is named as JSON lines, and what to do; None where it may be JSON lines."""
    if (what := _by_beginning(head)) is not None:
        return what
    if (head[:1] in b"{[" and head[1:2] == b"\0") or (head[:1] == b"\0" and head[1:2] in (b"{", b"[")):
        return _UTF_16
    return spread(head) or (_RETURNS if _ends_lines_with_returns(head) else None)


def other_than_parquet(head: bytes) -> str | None:
    """What a file seems to be that is named .parquet and is not; None where nothing is known."""
    if (what := _by_beginning(head)) is not None:
        return None if head.startswith(b"PAR1") else what
    return "JSON lines: give it a name that ends in .jsonl" if head.lstrip()[:1] == b"{" else None


def other_than_compressed(head: bytes) -> str | None:
    """What a file seems to be that is named .gz or .zst and is not; None where nothing is known."""
    if (what := _by_beginning(head)) is not None:
        return what
    return "not compressed: take the last ending off its name" if head.lstrip()[:1] == b"{" else None


def spread(head: bytes) -> str | None:
    """Which other kind of JSON than lines of objects a head shows, and what to do; None where it shows none."""
    lines = head.removeprefix(BOM).strip().split(b"\n")
    is_array = lines[0].startswith(b"[") and (len(lines) == 1 or _parsed(lines[0]) is None)
    if not is_array and lines[0].strip() != b"{":
        return None
    # One line of an array may hold an object alone, its last.
    if sum(isinstance(value := _parsed(line), dict) and bool(value) for line in lines[1:]) > is_array:
        return None
    return _ARRAY if is_array else _SPREAD


def is_metadata(head: bytes, size: int, needed: str) -> bool:
    """Whether a .json file beside data is metadata: JSON over several lines, or one object without the needed key."""
    if spread(head) is not None:
        return True
    line = head.removeprefix(BOM).strip()
    if b"\n" in line or len(head) < size:
        return False
    value = _parsed(line)
    return isinstance(value, dict) and needed not in value


def _by_beginning(head: bytes) -> str | None:
    for beginning, what in _BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    text = head.removeprefix(BOM).lstrip()[:100].lower()
    return _HTML if text.startswith((b"<!doctype html", b"<html")) else None


def _ends_lines_with_returns(head: bytes) -> bool:
    first, _, rest = head.removeprefix(BOM).partition(b"\r")
    return b"\n" not in head and rest.lstrip().startswith(b"{") and isinstance(_parsed(first), dict)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
