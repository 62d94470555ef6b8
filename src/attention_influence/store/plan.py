"""The plan of a run: its input files, frozen, cut into units of work of about equal size."""

import hashlib
import io
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.formats import format_of
from attention_influence.corpus.slices import BYTES_PER_TOKEN, Slice
from attention_influence.corpus.sources import Source, is_unchanged
from attention_influence.errors import CorpusError, CorruptFile, UsageError

MOST_UNITS = 200_000
# Tokens × parameters of a unit, and the bounds of its tokens: 50,000 tokens of a model of 135 million on a CPU.
_CPU_UNIT_WORK, _CPU_UNIT_TOKENS = 50_000 * 135_000_000, (2_000, 100_000)
_GPU_UNIT_WORK, _GPU_UNIT_TOKENS = 60_000_000 * 135_000_000, (1_000_000, 60_000_000)
_NO_ENDS: Mapping[str, int] = MappingProxyType({})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """What one worker scores and publishes as one object; a unit done twice is harmless."""

    name: str
    """A number, and a digest of the slices: a file can never be confused with a unit of another plan."""
    slices: tuple[Slice, ...]


def must_be_unchanged(part: Slice) -> None:
    """Raises CorpusError when the slice's file is not the one that was planned."""
    if not is_unchanged(part.source):
        raise CorpusError(
            f"{part.source.url} is gone or has changed since the run was planned. Put it back, or score what it is "
            "now: --rescore-changed"
        )


def make_unit(number: int, slices: Sequence[Slice]) -> Unit:
    """The unit of those slices; equal slices with the same number give the same name everywhere."""
    content = json.dumps([asdict(part) for part in slices]).encode()
    return Unit(f"{number:06d}-{hashlib.sha256(content).hexdigest()[:8]}", tuple(slices))


@dataclass(frozen=True)
class _Piece:
    slice: Slice
    bytes: int


def default_unit_tokens(device: str, parameters: int) -> int:
    """Tokens of one unit where nothing else is asked for; depends on the kind of device and the model's size only.

    On a CPU some two minutes of work for two cores: what an interrupt costs. On a GPU, by its arithmetic, a minute or
    two of a fast one and ten of a slow one: what taking and publishing a unit costs is little beside it.
    """
    work, (least, most) = (_CPU_UNIT_WORK, _CPU_UNIT_TOKENS) if device == "cpu" else (_GPU_UNIT_WORK, _GPU_UNIT_TOKENS)
    return min(max(work // max(parameters, 1), least), most)


def make_plan(
    sources: Sequence[Source],
    unit_tokens: int,
    first: int = 0,
    ends: Mapping[str, int] = _NO_ENDS,
    *,
    may_grow: bool = False,
) -> list[Unit]:
    """Units of about `unit_tokens` tokens (estimated from bytes), the biggest first, numbered from `first`.

    Larger files are cut (Parquet between row groups, and inside a row group only where it alone is too large; JSON
    lines by bytes of the decompressed stream), smaller ones share a unit. `ends`: source → the key before which its
    rows are taken (default: all). Above 200,000 units raises UsageError, or if they `may_grow` makes larger ones, with
    a warning.
    """
    tokens = unit_tokens
    while (groups := _groups(sources, tokens * BYTES_PER_TOKEN, ends)) is None:
        if not may_grow:
            raise UsageError(f"more than {MOST_UNITS:,} units of {unit_tokens:,} tokens; give a larger --unit-tokens")
        tokens *= 2
    if tokens != unit_tokens:
        _log.warning(
            "units are of %s tokens: of %s, the usual size, there would be more than %s",
            *(f"{number:,}" for number in (tokens, unit_tokens, MOST_UNITS)),
        )
    groups.sort(key=lambda group: -sum(piece.bytes for piece in group))
    return [make_unit(number, [piece.slice for piece in group]) for number, group in enumerate(groups, start=first)]


def _groups(sources: Sequence[Source], unit_bytes: int, ends: Mapping[str, int]) -> list[list[_Piece]] | None:
    """The pieces of each unit; None where there are too many units."""
    groups: list[list[_Piece]] = []
    room = 0
    for source in sources:
        for piece in _before(ends.get(source.name), _pieces(source, unit_bytes)):
            if not groups or piece.bytes > room:
                if len(groups) == MOST_UNITS:
                    return None
                groups.append([])
                room = unit_bytes
            groups[-1].append(piece)
            room -= piece.bytes
    return groups


def _before(end: int | None, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """The pieces, of rows whose key is below `end`."""
    for piece in pieces:
        part = piece.slice
        if end is not None and part.start >= end:
            return
        if end is not None and (part.end is None or part.end > end):
            piece = replace(piece, slice=replace(part, end=end))
        yield piece


def _pieces(source: Source, unit_bytes: int) -> Iterator[_Piece]:
    try:
        blocks = format_of(source).blocks(source)
    except CorruptFile:  # costs that file when it is read
        yield _Piece(Slice(source), source.size)
        return
    start, waiting = 0, 0
    for block in blocks:
        if waiting and waiting + block.size > unit_bytes:
            yield _Piece(Slice(source, start, block.start), waiting)
            start, waiting = block.start, 0
        cuts = min(math.ceil(block.size / unit_bytes), block.keys)
        for i in range(1, cuts):
            end = block.start + block.keys * i // cuts
            yield _Piece(Slice(source, start, end), block.size // cuts)
            start = end
        waiting += block.size // max(cuts, 1)
    # Open, for the size of a compressed file is a guess.
    yield _Piece(Slice(source, start, None), waiting)


_PLAN_SCHEMA = pa.schema(
    [
        ("unit", pa.string()),
        ("name", pa.string()),
        ("url", pa.string()),
        ("format", pa.string()),
        ("compression", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("domain", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)


def plan_to_bytes(units: Sequence[Unit]) -> bytes:
    """plan.parquet: one row for each slice of each unit."""
    rows = [
        {"unit": unit.name, **asdict(part.source), "start": part.start, "end": part.end}
        for unit in units
        for part in unit.slices
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, _PLAN_SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def plan_from_bytes(content: bytes) -> list[Unit]:
    """The units of a plan.parquet, in its order."""
    slices: dict[str, list[Slice]] = {}
    # Without Arrow's threads: one that still holds a Python object when the interpreter ends aborts the process.
    with pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        rows = file.read(use_threads=False).to_pylist()
    for row in rows:
        part = Slice(Source.from_json(row), row["start"], row["end"])
        slices.setdefault(row["unit"], []).append(part)
    return [Unit(name, tuple(parts)) for name, parts in slices.items()]
