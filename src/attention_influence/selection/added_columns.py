"""What a selection adds to a row: its influence, the score it was ranked by, and its rank in the domain."""

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa

from attention_influence.corpus.json_lines import parse_object
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError

# Hugging Face datasets keeps its own description of the columns in the schema, and refuses a file that differs.
_HUGGING_FACE = b"huggingface"


def added_names(ranked: str) -> list[str]:
    """'influence', `ranked` when it is another column, and '<ranked>_rank'."""
    return [*dict.fromkeys(["influence", ranked]), f"{ranked}_rank"]


def check_free(source: Source, present: Iterable[str], added: Sequence[str]) -> None:
    """Raises CorpusError when the input has a column of a name that is to be added."""
    taken = [name for name in present if name in added]
    if taken:
        raise CorpusError(
            f"{source.url}: the input has a column {taken[0]!r} already, and the selection would add one of that name. "
            "Rename it in the input, or select with --manifest, which leaves the rows where they are."
        )


def with_columns(table: pa.Table, added: pa.Table) -> pa.Table:
    """The table with the added columns at its end."""
    metadata = table.schema.metadata
    for name in added.column_names:
        table = table.append_column(added.schema.field(name), added.column(name))
    return table.replace_schema_metadata(_described(metadata, added.schema))


def with_keys(source: Source, lines: Sequence[bytes], added: pa.Table) -> list[bytes]:
    """The lines with the added keys at the end of each object, every other byte as it was.

    Raises CorpusError when an object has one of the keys already.
    """
    quoted = [f'"{name}"'.encode() for name in added.column_names]
    keys = [json.dumps(name, ensure_ascii=False) for name in added.column_names]
    # NumPy's shortest text of a float32 (0.2, not 0.20000000298023224) reads back as the same float32.
    texts = [[str(value) for value in column.to_numpy()] for column in added.columns]
    extended = []
    for at, line in enumerate(lines):
        if any(name in line for name in quoted):
            check_free(source, parse_object(line)[0] or (), added.column_names)
        extra = ", ".join(f"{key}: {column[at]}" for key, column in zip(keys, texts, strict=True))
        body = line.strip()
        if not body.endswith(b"}"):
            raise CorpusError(f"{source.url}: a chosen line is not a JSON object. Score the file again.")
        extended.append(body[:-1].rstrip() + f", {extra}}}".encode())
    return extended


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
