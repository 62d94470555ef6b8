"""How the chosen rows are written, settled before the first of them is: in one schema if one holds all columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from attention_influence.concurrency import in_threads
from attention_influence.corpus.formats import table_format
from attention_influence.corpus.json_lines import column_names
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError
from attention_influence.selection.output.columns import check_free
from attention_influence.selection.output.dataset import LINES, Inferred, folder_of, inferred_schemas, kind_of_schema
from attention_influence.selection.output.json_table import check_json_holds
from attention_influence.selection.output.parts import Output, Part
from attention_influence.selection.output.schemas import conflict, groups_of, merged, unique_names


@dataclass(frozen=True)
class Layout:
    """The output, and what is not as in the input."""

    output: Output
    kinds: tuple[str, ...]
    """Of the shards that are expected, by the number of their folder."""
    warnings: tuple[str, ...]

    def unexpected(self, sets: Mapping[str, Mapping[str, str]]) -> list[str]:
        """A warning for each kind of shards (kind → its files) that only their values made needed."""
        return [
            f"{next(iter(files.values())).partition('/')[0]} is a configuration of its own: some values are beyond "
            "the types that are common to all files"
            for kind, files in sets.items()
            if kind not in self.kinds
        ]


def lay_out(
    sources: Sequence[Source],
    output: Output,
    text_column: str,
    parts: Callable[[], Iterator[Part]],
    spread: Callable[[Callable[[Part], Inferred], Iterator[Part]], Iterator[Inferred]],
) -> Layout:
    """The layout of chosen rows of those sources, given an output without schemas.

    Of JSON lines that become Parquet the chosen rows are read for it: in `parts`, by what calls a function of each.

    Raises CorpusError where columns to be added are there already, or rows cannot be written in the format.
    """
    tables = {source: format_ for source in sources if (format_ := table_format(source)) is not None}
    lines = [source for source in sources if source not in tables]
    of_tables = in_threads(lambda source: tables[source].schema_of(source), tables, 16)
    schemas = dict(zip((source.url for source in tables), of_tables, strict=True))
    keys = list(in_threads(column_names, lines, 16))
    warnings = []
    for source, names in (*((source, schemas[source.url].names) for source in tables), *zip(lines, keys, strict=True)):
        check_free(source, names, output.added)
    for url, schema in schemas.items():
        if (names := unique_names(schema.names)) != schema.names:
            new = next(name for name in names if name not in schema.names)
            warnings.append(f"{url}: two columns of one name; the second is written as {new!r}")
            schemas[url] = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])
    if output.format not in (None, "parquet"):
        for url, schema in schemas.items():
            check_json_holds(schema, text_column, url)
        return Layout(output, (LINES,), tuple(warnings))
    if not tables and output.format is None:
        return Layout(output, (LINES,), ())
    of_files = [*schemas.items()]
    reason = None
    if lines:
        inferred, reason = _all_inferred(spread(inferred_schemas, _with_lines(parts())))
        if reason is None:
            by_url = {source.url: source for source in lines}
            for url, schema in inferred:
                check_free(by_url[url], schema.names, output.added)
            of_files += inferred
            if output.format is None:
                warnings.append("the input is Parquet and JSON lines: all is written as Parquet (or give --format)")
            output = replace(output, format="parquet")
        elif output.format == "parquet":
            raise CorpusError(reason)
    groups = groups_of(schema for _, schema in of_files)
    warnings += _differences(groups, of_files)
    kinds = [kind_of_schema(place) for place in range(len(groups))]
    if reason is not None:
        warnings.append(f"JSON lines are written to {folder_of(len(kinds))}, a configuration of its own: {reason}")
        kinds.append(LINES)
    return Layout(replace(output, schemas=tuple(groups)), tuple(kinds), tuple(warnings))


def _all_inferred(inferred: Iterator[Inferred]) -> Inferred:
    schemas: list[tuple[str, pa.Schema]] = []
    for some, reason in inferred:
        if reason is not None:
            return [], reason
        schemas += some
    return schemas, None


def _with_lines(parts: Iterator[Part]) -> Iterator[Part]:
    return (part for part in parts if any(table_format(source) is None for source in part.sources.values()))


def _differences(groups: Sequence[pa.Schema], of_files: Sequence[tuple[str, pa.Schema]]) -> list[str]:
    """For each schema but the first, whose files it is of, and why."""
    files: list[dict[str, pa.Schema]] = [{} for _ in groups]
    for url, schema in of_files if len(groups) > 1 else ():
        place = next(place for place, group in enumerate(groups) if merged(group, schema) is not None)
        files[place].setdefault(url, schema)
    warnings = []
    for place, of_group in enumerate(files[1:], start=1):
        url, schema = next(iter(of_group.items()))
        more = f" and {len(of_group) - 1:,} more files" if len(of_group) > 1 else ""
        column = conflict(groups[0], schema)
        why = f"{column[0]!r} is {column[2]} there, {column[1]} elsewhere" if column else "its columns are others"
        warnings.append(
            f"{url}{more}: {why}, so its rows are written to {folder_of(place)}, a configuration of its own"
        )
    return warnings
