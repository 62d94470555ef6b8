"""The chosen rows in parts: what one worker reads out of the corpus and writes as files of its own.

A part is some gigabytes of consecutive rows, by source and row, and is a function of the selection alone, never of the
workers. Its name carries a digest of all that its files depend on; so a part that is finished is finished for every
later run that would write the same, and for no other.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from attention_influence.corpus.slices import BYTES_PER_TOKEN
from attention_influence.corpus.sources import Source
from attention_influence.selection.cutting.chosen import ChosenRows
from attention_influence.selection.output.staging import StagedFolder
from attention_influence.storage.atomic_files import write_result
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.store.row_hashes import coded

OutputFormat = Literal["parquet", "jsonl", "jsonl.gz", "jsonl.zst"]

# Shards of text in a part: enough that its last, smaller shard matters little.
_SHARDS = 4
# Memory: more rows than this are never held, nor looked up in one reading of a file.
_MOST_ROWS = 4 << 20
_COLUMNS = ("row", "influence", "value", "rank")


@dataclass(frozen=True)
class Output:
    """How the dataset is written."""

    added: tuple[str, ...]
    """Names of the added columns: influence, what ranked when it is another, the rank."""
    format: OutputFormat | None
    """None: Parquet as Parquet, lines as the lines that they are."""
    shard_bytes: int
    schemas: tuple[pa.Schema, ...] = ()
    """Of the Parquet files, one for each configuration of the dataset, without what is added."""

    def to_json(self) -> dict[str, Any]:
        schemas = [base64.b64encode(schema.serialize()).decode() for schema in self.schemas]
        return {"added": self.added, "format": self.format, "shard_bytes": self.shard_bytes, "schemas": schemas}


@dataclass(frozen=True)
class WrittenPart:
    """The files of a finished part."""

    name: str
    documents: int
    files: list[tuple[str, str]]
    """(kind, name under the part's folder); files of one kind fit together: they have one Parquet schema, or lines."""


@dataclass(frozen=True)
class Part:
    """Some chosen rows, where they lie, and where their files go; pickles."""

    name: str
    staging: str
    """URL of the folder in which all parts are written."""
    sources: dict[str, Source]
    rows: pa.Table
    """source, by its place in `sources`, row, influence, value and rank; by source and row."""
    output: Output

    def folder(self) -> StagedFolder:
        """Where its files are written."""
        return StagedFolder(*open_filesystem(f"{self.staging}/{self.name}"))

    def finished(self) -> WrittenPart | None:
        """What was written of it, None if it is not finished."""
        filesystem, path = open_filesystem(f"{self.staging}/{self.name}.json")
        try:
            return WrittenPart(self.name, len(self.rows), json.loads(filesystem.cat_file(path)))
        except FileNotFoundError:
            return None

    def finish(self, files: list[tuple[str, str]]) -> WrittenPart:
        """Marks it as finished, its files (kind, name) on disk."""
        self.folder().flush()
        write_result(f"{self.staging}/{self.name}.json", json.dumps(files).encode())
        return WrittenPart(self.name, len(self.rows), files)


def parts_of(chosen: ChosenRows, sources: Mapping[str, Source], output: Output, staging: str) -> Iterator[Part]:
    """All chosen rows, part by part."""
    batches: list[pa.RecordBatch] = []
    number = rows = size = 0
    last = None
    for batch in chosen.batches():
        names, codes = coded(batch.column("source"))
        # A compressed file is read from its beginning by every part that holds rows of it, so it is kept whole.
        may_end = np.array([sources[name].compression is None for name in names])[codes]
        may_end |= np.diff(codes, prepend=codes[0] if names[codes[0]] == last else -1) != 0
        sizes = batch.column("n_tokens").to_numpy() * BYTES_PER_TOKEN
        last = names[codes[-1]]
        start = 0
        while start < batch.num_rows:
            before = np.cumsum(sizes[start:]) - sizes[start:] + size
            full = (before >= _SHARDS * output.shard_bytes) & may_end[start:]
            full |= np.arange(rows, rows + len(full)) >= _MOST_ROWS
            ends = bool(full.any())
            count = int(np.argmax(full)) if ends else len(full)
            batches.append(batch.slice(start, count))
            rows, size, start = rows + count, size + int(sizes[start : start + count].sum()), start + count
            if ends:
                yield _part(number, batches, sources, output, staging)
                batches, number, rows, size = [], number + 1, 0, 0
    if batches:
        yield _part(number, batches, sources, output, staging)


def _part(
    number: int, batches: list[pa.RecordBatch], sources: Mapping[str, Source], output: Output, staging: str
) -> Part:
    names = list(dict.fromkeys(name for batch in batches for name in _in_order(batch.column("source"))))
    place = {name: at for at, name in enumerate(names)}
    indices = [
        np.array([place.get(name, 0) for name in some], np.int32)[codes]
        for some, codes in (coded(batch.column("source")) for batch in batches)
    ]
    columns = {name: np.concatenate([batch.column(name).to_numpy() for batch in batches]) for name in _COLUMNS}
    columns = {"source": np.concatenate(indices)} | columns
    of_part = {name: sources[name] for name in names}
    about = {"sources": [source.to_json() for source in of_part.values()], "output": output.to_json()}
    digest = hashlib.blake2b(json.dumps(about).encode(), digest_size=16)
    for column in columns.values():
        digest.update(np.ascontiguousarray(column).data)
    return Part(f"{number:06d}-{digest.hexdigest()}", staging, of_part, pa.table(columns), output)


def _in_order(encoded: pa.DictionaryArray) -> list[str]:
    """The used entries of the dictionary, in order of first use."""
    used = pa.DictionaryArray.from_arrays(encoded.indices.unique(), encoded.dictionary)
    return used.to_pylist()  # type: ignore[no-any-return]
