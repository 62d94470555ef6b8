"""The decompressed bytes of a file from an offset on; a truncated or damaged stream is an error, not the end."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, BinaryIO

import zstandard

from attention_influence.corpus.content import other_than_compressed
from attention_influence.corpus.kinds import Compression
from attention_influence.corpus.sources import Source, open_source
from attention_influence.errors import CorruptFile, NoDocuments

CHUNK_BYTES = 1 << 20
_DECOMPRESSORS: dict[Compression, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    # 2 GiB windows: what `zstd --long=31` writes, usual for large text archives.
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
}
# Decompressors get this much at a time: 4 KiB cannot grow beyond 4 MiB in gzip or 128 MiB in zstd, whatever it holds,
# and what was readable before a break is lost by at most this much.
_SLICE_BYTES = 4 << 10


def read_bytes(source: Source, start: int = 0) -> Iterator[bytes]:
    """Chunks of the source's (decompressed) bytes from `start` on.

    A plain file is sought in; a compressed one is decompressed from its beginning. Raises CorruptFile, after what
    could be read, when the stream is damaged or ends early; CorpusError when the file is gone.
    """
    with closing(open_source(source)) as raw:
        if source.compression is None:
            raw.seek(start)
            yield from _chunks(raw)
            return
        for data in _decompressed(_chunks(raw), source):
            if start < len(data):
                yield data[start:]
                start = 0
            else:
                start -= len(data)


def _chunks(raw: BinaryIO) -> Iterator[bytes]:
    while chunk := raw.read(CHUNK_BYTES):
        yield chunk


def _decompressed(chunks: Iterator[bytes], source: Source) -> Iterator[bytes]:
    """What the members (gzip) or frames (zstd) of a stream hold, one after the other."""
    assert source.compression is not None
    begin = _DECOMPRESSORS[source.compression]
    member: Any = None
    members = 0
    position = 0
    head = b""
    is_read = False
    for chunk in chunks:
        head = chunk if not position else head
        for at in range(0, len(chunk), _SLICE_BYTES):
            data = chunk[at : at + _SLICE_BYTES]
            position += len(data)
            while data:
                if member is None:
                    # Tapes and block devices pad gzip files with zeros between and after members.
                    data = data.lstrip(b"\0") if source.compression == "gzip" and members else data
                    if not data:
                        break
                    member = begin()
                    members += 1
                try:
                    plain = member.decompress(data)
                except (zlib.error, zstandard.ZstdError) as error:
                    if not is_read and (what := other_than_compressed(head)) is not None:
                        raise NoDocuments(
                            f"{source.url}: cannot be read as {source.compression} data: it is {what}."
                        ) from error
                    raise _corrupt(source, position, f"is not valid {source.compression} data ({error})") from error
                if plain:
                    is_read = True
                    yield plain
                if not member.eof:
                    break
                data = member.unused_data
                member = None
    if member is not None or not members:
        raise _corrupt(source, position, f"ends in the middle of its {source.compression} stream")


def _corrupt(source: Source, position: int, what: str) -> CorruptFile:
    return CorruptFile(
        f"{source.url}: {what} near byte {position:,} of the stored file. "
        "Fetch or write the file again; the other files are unaffected."
    )


def expansion(source: Source) -> float:
    """Decompressed over stored size, judged by the file's first megabyte; 1.0 for a plain or empty file."""
    if source.compression is None:
        return 1.0
    with closing(open_source(source)) as raw:
        stored = raw.read(CHUNK_BYTES)
    plain = 0
    try:
        for data in _decompressed(iter([stored]), source):
            plain += len(data)
    except CorruptFile:
        pass  # it was cut on purpose; real damage shows when the file is read
    return plain / len(stored) if plain else 1.0
