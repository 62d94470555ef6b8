"""The corpus as tokens on disk: which documents are trained on, which are held out, and where each lies.

A folder of `tokens.bin` (token ids, uint16 or uint32), `documents.parquet` (source, row, domain, offset and tokens of
each training document, by source and row), `heldout.parquet` (domain and text) and, written last, `data.json`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError
from attention_influence.progress import progress
from attention_influence.storage.atomic_files import write_json, written_whole
from attention_influence.store.row_hashes import hashes_of_rows, salted, source_seeds

Integers = npt.NDArray[np.int64]
Key = tuple[str, int]

_FLUSH_TOKENS = 1 << 22
_SCHEMA = pa.schema(
    [
        pa.field("source", pa.dictionary(pa.int32(), pa.string())),
        pa.field("row", pa.int64()),
        pa.field("domain", pa.dictionary(pa.int32(), pa.string())),
        pa.field("offset", pa.int64()),
        pa.field("tokens", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Documents:
    """The training documents, by source and row; arrays have one entry for each."""

    sources: tuple[str, ...]
    """Names, sorted."""
    source: Integers
    """Place in `sources`."""
    row: Integers
    domains: tuple[str, ...]
    domain: Integers
    offset: Integers
    """Of the first token, in the token file."""
    tokens: Integers
    hashes: npt.NDArray[np.uint64]
    """Of the keys."""

    def __len__(self) -> int:
        return len(self.row)

    def of_domains(self, tokens: Integers | None = None) -> Integers:
        """[domains]: tokens of all documents, or of those that have `tokens` [documents]."""
        counted = self.tokens if tokens is None else tokens
        return np.bincount(self.domain, counted, minlength=len(self.domains)).astype(np.int64)

    def places(self, sources: Sequence[str], codes: npt.NDArray[np.integer], rows: Integers) -> Integers:
        """The documents with those keys, −1 where there is none; `codes` are places in the given `sources`."""
        numbers = {name: number for number, name in enumerate(self.sources)}
        places = np.full(len(rows), -1, dtype=np.int64)
        bounds = np.searchsorted(self.source, np.arange(len(self.sources) + 1))
        for code, name in enumerate(sources):
            number = numbers.get(name)
            asked = np.flatnonzero(codes == code)
            if number is None or not len(asked):
                continue
            first, last = bounds[number], bounds[number + 1]
            of_source = self.row[first:last]
            at = np.minimum(np.searchsorted(of_source, rows[asked]), len(of_source) - 1)
            places[asked] = np.where(of_source[at] == rows[asked], first + at, -1)
        return places


@dataclass(frozen=True)
class Corpus:
    """What to read."""

    sources: tuple[Source, ...]
    columns: Columns
    heldout: float
    """Share of the keys' hashes that are held out."""
    leave_out: Callable[[Key, str], str | None]
    """The reason for which a training document is left out, None where it is not; from its key and text."""

    def documents(self) -> Iterator[tuple[Source, Row, bool]]:
        """Every readable document that is not left out, and whether it is held out."""
        for source, row, held_out, reason in self.rows():
            if reason is None:
                yield source, row, held_out

    def rows(self) -> Iterator[tuple[Source, Row, bool, str | None]]:
        """Every row: (source, row, whether it is held out, the reason for which it is left out)."""
        below = round(self.heldout * 2.0**64)
        for source in self.sources:
            seeds = source_seeds([source.name])
            for rows in read_rows(source, self.columns):
                keys = np.array([row.row for row in rows], dtype=np.int64)
                hashes = salted(hashes_of_rows(np.repeat(seeds, len(keys)), keys), "held out")
                for row, drawn in zip(rows, hashes.tolist(), strict=True):
                    held_out = drawn < below
                    reason = row.reason
                    if row.text is not None and not held_out:
                        reason = self.leave_out((source.name, row.row), row.text)
                    yield source, row, held_out, reason


def write_tokens(
    corpus: Corpus, encode: Callable[[list[str]], Iterator[list[int]]], vocabulary: int, folder: Path, fingerprint: str
) -> None:
    """Writes the folder.

    Raises CorpusError when no document is left to train on, or none to hold out where some are asked for.
    """
    kind = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
    table: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    left_out: Counter[str] = Counter()
    held_out: list[tuple[str, str]] = []
    offset = 0
    with (
        progress("tokenizing", None, "documents") as advance,
        written_whole(str(folder / "tokens.bin")) as file,
    ):
        for rows in _in_lists(corpus.rows()):
            training = []
            for source, row, is_held_out, reason in rows:
                if reason is not None:
                    left_out[reason] += 1
                elif is_held_out:
                    held_out.append((row.domain, row.text or ""))
                else:
                    training.append((source, row))
            for (source, row), ids in zip(training, encode([row.text or "" for _, row in training]), strict=True):
                file.write(np.array(ids, dtype=kind).tobytes())
                for name, value in zip(
                    _SCHEMA.names, (source.name, row.row, row.domain, offset, len(ids)), strict=True
                ):
                    table[name].append(value)
                offset += len(ids)
            advance(len(rows))
    if not offset:
        raise CorpusError(
            f"no document is left to train on ({_counted(left_out)}). Look at the corpus and the text column"
        )
    if corpus.heldout and not held_out:
        raise CorpusError(
            f"heldout: {corpus.heldout} of {len(table['row']):,} documents holds none out. Raise it, or set it to 0"
        )
    _write_parquet(pa.table(table, schema=_SCHEMA), folder / "documents.parquet")
    names, texts = (list(column) for column in zip(*held_out, strict=True)) if held_out else ([], [])
    _write_parquet(
        pa.table({"domain": pa.array(names, pa.string()), "text": pa.array(texts, pa.string())}),
        folder / "heldout.parquet",
    )
    record = {
        "fingerprint": fingerprint,
        "documents": len(table["row"]),
        "tokens": offset,
        "held_out": len(held_out),
        "left_out": dict(left_out),
        "vocabulary": vocabulary,
        "type": kind.name,
    }
    write_json(str(folder / "data.json"), record)


def read_record(folder: Path) -> dict[str, Any] | None:
    """data.json of a folder that is whole, None where there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / "data.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return record


def read_documents(folder: Path) -> Documents:
    table = pq.read_table(folder / "documents.parquet")
    (sources, source), (domains, domain) = (_sorted_codes(table.column(name)) for name in ("source", "domain"))
    row = table.column("row").to_numpy().astype(np.int64)
    hashes = hashes_of_rows(source_seeds(sources)[source], row)
    offset, tokens = (table.column(name).to_numpy().astype(np.int64) for name in ("offset", "tokens"))
    return Documents(sources, source, row, domains, domain, offset, tokens, hashes)


def open_tokens(folder: Path) -> npt.NDArray[np.integer]:
    """The token ids of all training documents, mapped from disk."""
    record = read_record(folder)
    assert record is not None
    return np.memmap(folder / "tokens.bin", dtype=np.dtype(record["type"]), mode="r")


def read_held_out(folder: Path) -> dict[str, list[str]]:
    """Domain → texts."""
    texts: dict[str, list[str]] = {}
    for row in pq.read_table(folder / "heldout.parquet").to_pylist():
        texts.setdefault(row["domain"], []).append(row["text"])
    return dict(sorted(texts.items()))


def _in_lists(rows: Iterator[Any], most: int = 1024) -> Iterator[list[Any]]:
    held: list[Any] = []
    for row in rows:
        held.append(row)
        if len(held) == most:
            yield held
            held = []
    if held:
        yield held


def _sorted_codes(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Integers]:
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = np.argsort(np.array(names, dtype=object)) if names else np.zeros(0, dtype=np.int64)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    return tuple(names[at] for at in order.tolist()), place[encoded.indices.to_numpy()]


def _write_parquet(table: pa.Table, path: Path) -> None:
    with written_whole(str(path)) as file:
        pq.write_table(table, file)


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items())) or "the corpus has no rows"
