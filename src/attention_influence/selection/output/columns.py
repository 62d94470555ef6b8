"""What a selection adds to a row: its influence, the score it was ranked by, and its rank in the domain."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from attention_influence.concurrency import in_threads
from attention_influence.corpus.formats import format_of
from attention_influence.corpus.json_lines import parse_object
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError
from attention_influence.selection.output.json_table import strict_line
from attention_influence.selection.output.schemas import unique_names

# Hugging Face datasets keeps its own description of the columns in the schema, and refuses a file that differs.
_HUGGING_FACE = b"huggingface"
_FILES_LOOKED_AT = 1000


def added_names(ranked: str, prefix: str = "") -> list[str]:
    """'influence', `ranked` when it is another column, and '<ranked>_rank'; each with the prefix in front."""
    return [f"{prefix}{name}" for name in (*dict.fromkeys(["influence", ranked]), f"{ranked}_rank")]


def taken(present: Iterable[str], added: Sequence[str]) -> str | None:
    """The first column whose name, in any letter case, is to be added: DuckDB and others tell no case apart."""
    folded = {name.casefold() for name in added}
    return next((name for name in present if name.casefold() in folded), None)


def check_free(source: Source, present: Iterable[str], added: Sequence[str]) -> None:
    """Raises CorpusError when the input has a column of a name that is to be added."""
    if (name := taken(present, added)) is not None:
        raise CorpusError(
            f"{source.url}: the input has a column {name!r} already, and the selection would add one of that name (in "
            "some letter case). Name the added columns otherwise, with --column-prefix new_, or select with "
            "--manifest, which leaves the rows where they are."
        )


def warnings_of_columns(sources: Sequence[Source]) -> list[str]:
    """Warnings of column names that a later selection by influence cannot use as they are; of at most 1,000 files."""
    some = sources[:: -(-len(sources) // _FILES_LOOKED_AT) or 1]
    adds = added_names("influence")
    warnings: dict[str, str] = {}
    for source, names in zip(some, in_threads(_names, some, 16), strict=True):
        if (name := taken(names, adds)) is not None:
            warnings.setdefault(
                name, f"{source.url}: there is a column {name!r}, and `select` adds one: it will need --column-prefix"
            )
        if (unique := unique_names(names)) != names:
            new = next(name for name in unique if name not in names)
            warnings.setdefault(new, f"{source.url}: two columns of one name; `select` writes the second as {new!r}")
    return [*warnings.values()]


def with_columns(table: pa.Table, added: pa.Table) -> pa.Table:
    """The table with the added columns at its end."""
    schema = with_fields(table.schema, added.schema)
    return pa.Table.from_arrays([*table.columns, *added.columns], schema=schema)


def with_fields(schema: pa.Schema, added: pa.Schema) -> pa.Schema:
    """The schema with the added columns at its end, and in its own description where it has one."""
    return pa.schema([*schema, *added], _described(schema.metadata, added))


def with_keys(source: Source, lines: Sequence[bytes], added: pa.Table) -> list[bytes]:
    """The lines with the added keys at the end of each object, every other byte as it was where it is strict JSON.

    Raises CorpusError when an object has one of the keys already.
    """
    quoted = [f'"{name}"'.casefold().encode() for name in added.column_names]
    keys = [json.dumps(name, ensure_ascii=False) for name in added.column_names]
    texts = [_texts(column) for column in added.columns]
    extended = []
    for at, line in enumerate(lines):
        folded = line.lower()
        if any(name in folded for name in quoted):
            check_free(source, parse_object(line)[0] or (), added.column_names)
        extra = ", ".join(f"{key}: {column[at]}" for key, column in zip(keys, texts, strict=True))
        body = strict_line(line.strip())
        if not body.endswith(b"}"):
            raise CorpusError(f"{source.url}: a chosen line is not a JSON object. Score the file again.")
        extended.append(body[:-1].rstrip() + f", {extra}}}".encode())
    return extended


def _names(source: Source) -> list[str]:
    try:
        return format_of(source).column_names(source)
    except CorpusError:  # said when the file is scored
        return []


def _texts(column: pa.ChunkedArray) -> list[str]:
    """The numbers as JSON."""
    # NumPy's shortest text of a float32 (0.2, not 0.20000000298023224) reads back as the same float32.
    return [str(value) if np.isfinite(value) else "null" for value in column.to_numpy()]


def _described(metadata: dict[bytes, bytes] | None, added: pa.Schema) -> dict[bytes, bytes] | None:
    if not metadata or _HUGGING_FACE not in metadata:
        return metadata
    kept = {key: value for key, value in metadata.items() if key != _HUGGING_FACE}
    try:
        described = json.loads(metadata[_HUGGING_FACE])
        for field in added:
            dtype = {"float": "float32", "double": "float64"}.get(str(field.type), str(field.type))
            described["info"]["features"][field.name] = {"dtype": dtype, "_type": "Value"}
    except (ValueError, KeyError, TypeError):
        # Without a description the types of the columns speak for themselves.
        return kept
    return kept | {_HUGGING_FACE: json.dumps(described).encode()}
