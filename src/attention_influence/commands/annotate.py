"""`annotate`: one more column of a score store: of the corpus, of other files, by a student or a quality classifier."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import AnnotateConfig
from attention_influence.corpus import Columns, list_sources
from attention_influence.errors import CorpusError, StoreError, UsageError
from attention_influence.evidence.examples import read_examples
from attention_influence.evidence.quality_classifier import load_classifier, record_of, train
from attention_influence.progress import progress
from attention_influence.screening.student import load_student
from attention_influence.selection.ranking.ranking import COMPUTED
from attention_influence.storage.atomic_files import remove_unfinished
from attention_influence.storage.preflight import check_writable_folder
from attention_influence.store.columns.added import AddedColumn, added_columns, check_name, define, drop
from attention_influence.store.columns.corpus_values import (
    NumbersOf,
    UnitNumbers,
    annotate_unit,
    column_numbers,
    text_numbers,
)
from attention_influence.store.columns.joining import joined
from attention_influence.store.columns.number_files import NumberFiles
from attention_influence.store.plan import Unit
from attention_influence.store.reader import ScoreStore, open_store
from attention_influence.store.run import RunStore, existing_run
from attention_influence.store.summary import total_by_domain

_CLASSIFIER = "classifier.npz"
_EXAMPLES = "training_examples"
_STUDENT = "student.safetensors"
_SOURCES = "--column C; --student FILE; --join FILES and --column C; or --positive FILES and --negative FILES"


def annotate(config: AnnotateConfig) -> Result:
    check_name(config.name, COMPUTED)
    source = _source(config)
    store = existing_run(config.store)
    check_writable_folder(store.url)
    column = _begin(config, store, source)
    remove_unfinished(column.folder)
    refused = _complete(store, column)
    data, lines = _statistics(open_store(store.url), column.name)
    data |= {"definition": dict(column.definition), "refused": refused, "units_planned": len(store.units)}
    lines = [*_of_classifier(column.definition.get("classifier")), *lines]
    if data["units"] < len(store.units):
        lines.append(
            f"{data['units']:,} of {len(store.units):,} units have the column. When the others are scored: "
            f"attention-influence annotate {store.url} {column.name}"
        )
    elif not data["with_value"]:
        refused = {
            **refused,
            column.name: "no row has a number. Check the names of the column and of the id; replace: --overwrite",
        }
    lines += [f"error: {name}: {why}" for name, why in refused.items()]
    return Result("\n".join(lines), data, exit_code=1 if refused else 0)


def _source(config: AnnotateConfig) -> dict[str, Any] | None:
    """Where the numbers come from, as it is recorded; None when it is to be what is recorded already."""
    if config.student is not None and not (config.column or config.join or config.positive or config.negative):
        return {"student": load_student(config.student).digest}
    if config.student is None and config.column is not None and not (config.positive or config.negative):
        if not config.join:
            return {"column": config.column}
        files = list_sources(config.join, needed="source" if config.join_on == "key" else config.id_column).sources
        return NumberFiles(files, config.column, config.join_on, config.id_column).to_json()
    one_kind = config.column is None and not config.join and config.student is None
    if config.positive and config.negative and one_kind:
        return {
            "positive": _identities(config.positive, config.text_column),
            "negative": _identities(config.negative, config.text_column),
            "text_column": config.text_column,
            "max_examples": config.max_examples,
            "seed": config.seed,
        }
    if one_kind and not (config.positive or config.negative or config.overwrite):
        return None
    raise UsageError(f"Say where the numbers come from: {_SOURCES}; none of them, to resume a column that was begun.")


def _identities(inputs: Sequence[str], text_column: str) -> list[dict[str, Any]]:
    sources = list_sources(inputs, needed=text_column).sources
    return [{"name": source.name, "size": source.size, "version": source.version} for source in sources]


def _begin(config: AnnotateConfig, store: RunStore, source: Mapping[str, Any] | None) -> AddedColumn:
    """The column as it is there, or a new one; of a classifier, trained."""
    there = added_columns(store.url).get(config.name)
    if there is not None and not config.overwrite:
        if source is not None and there.definition.get("source") != source:
            raise StoreError(
                f"{there.folder} was made from something else, or its files have changed since. Choose another name, "
                "resume it by naming no source, or replace it: --overwrite"
            )
        return there
    if source is None:
        raise StoreError(
            f"{store.url} has no added column {config.name!r} yet. Say where its numbers come from: {_SOURCES}."
        )
    definition: dict[str, Any] = {"name": config.name, "source": source}
    if "column" in source:
        if there is not None:
            drop(there)
        return define(store.url, config.name, definition)
    if "student" in source:
        student = load_student(str(config.student))
        if there is not None:
            drop(there)
        student.save(f"{store.url}/columns/{config.name}/{_STUDENT}")
        return define(store.url, config.name, definition)
    positive, negative = (
        list_sources(given, needed=config.text_column).sources for given in (config.positive, config.negative)
    )
    examples = read_examples(positive, negative, Columns(config.text_column), config.max_examples, config.seed)
    classifier, held_out = train(examples, config.seed)
    if there is not None:
        drop(there)
    classifier.save(f"{store.url}/columns/{config.name}/{_CLASSIFIER}")
    return define(store.url, config.name, definition | {"classifier": record_of(examples, held_out)})


def _complete(store: RunStore, column: AddedColumn) -> dict[str, str]:
    """Gives the column to the finished units that lack it; unit → why it could not have it."""
    counts: Counter[str] = Counter()
    done = store.published()
    lacking = set(column.missing(done))
    left = [unit for unit in store.units if unit.name in lacking]
    refused: dict[str, str] = {}
    if not left:
        return refused
    with (
        _numbers_by_unit(store, column, left, counts) as numbers,
        progress("annotating", len(left), "units") as advance,
    ):
        for unit in left:
            counts.clear()
            try:
                found = numbers(unit)
            except CorpusError as error:
                refused[unit.name] = str(error)
            else:
                column.publish(unit.name, found.values, {"without": dict(found.reasons), **counts})
            advance(1)
    return refused


@contextmanager
def _numbers_by_unit(
    store: RunStore, column: AddedColumn, units: Sequence[Unit], counts: Counter[str]
) -> Iterator[Callable[[Unit], UnitNumbers]]:
    if "join" in column.definition["source"]:
        with joined(store.url, units, NumberFiles.from_json(column.definition["source"])) as of_unit:
            yield of_unit
        return
    numbers_of = _numbers_of(store, column, counts)
    yield lambda unit: annotate_unit(store.url, unit, numbers_of)


def _numbers_of(store: RunStore, column: AddedColumn, counts: Counter[str]) -> NumbersOf:
    source = column.definition["source"]
    if "column" in source:
        return column_numbers(source["column"])
    if "student" in source:
        student = load_student(f"{column.folder}/{_STUDENT}")
        return text_numbers(Columns.from_json(store.run["columns"]), lambda texts: student.predict(texts).tolist())
    classifier = load_classifier(f"{column.folder}/{_CLASSIFIER}")

    def probabilities(texts: list[str]) -> Sequence[float]:
        counts[_EXAMPLES] += classifier.trained_on(texts)
        return list(classifier.probabilities(texts))

    return text_numbers(Columns.from_json(store.run["columns"]), probabilities)


def _statistics(store: ScoreStore, name: str) -> tuple[dict[str, Any], list[str]]:
    """What the column holds by domain, and rows without a number by reason, of the units that have it."""
    column = store.added[name]
    having = replace(store, units=tuple(unit for unit in store.units if unit in column.units))
    domains = total_by_domain(
        map(_counted, having.batches(["domain", name])),
        {"documents": "sum", "with_value": "sum", "mean": "sum", "lowest": "min", "highest": "max"},
    )
    for of_domain in domains:
        of_domain["mean"] = of_domain["mean"] / of_domain["with_value"] if of_domain["with_value"] else None
    without: Counter[str] = Counter()
    examples = 0
    records = column.records()
    for about in (records[unit] for unit in having.units):
        without.update(about["without"])
        examples += about.get(_EXAMPLES, 0)
    data: dict[str, Any] = {
        "column": name,
        "units": len(having.units),
        "with_value": sum(of_domain["with_value"] for of_domain in domains),
        "without": dict(without),
        "domains": domains,
    }
    headings = ("domain", "documents", "with a number", "mean", "lowest", "highest")
    lines = [table(headings, [tuple(of_domain.values()) for of_domain in domains])]
    if without:
        lines.append("rows without a number: " + ", ".join(f"{count:,} {reason}" for reason, count in without.items()))
    if "classifier" in column.definition:
        data[_EXAMPLES] = examples
        lines.append(f"{examples:,} documents are training examples of the classifier; their scores are optimistic")
    return data, lines


def _counted(batch: pa.RecordBatch) -> pa.Table:
    domain, values = batch.columns
    with_value = values.is_valid().cast(pa.int64())
    columns = {"documents": pa.array(np.ones(len(batch), np.int64)), "with_value": with_value}
    return pa.table({"domain": domain, **columns, **dict.fromkeys(("mean", "lowest", "highest"), values)})


def _of_classifier(made: Mapping[str, Any] | None) -> list[str]:
    if made is None:
        return []
    held_out = made["result"]
    return [
        f"trained on {made['positive']:,} positive and {made['negative']:,} negative examples; "
        f"{made['on_both_sides']:,} texts were on both sides, and left out",
        "on {examples:,} held-out examples: AUC {auc:.4f} ({0:.4f} to {1:.4f}), accuracy {accuracy:.4f} "
        "({2:.4f} to {3:.4f}); in brackets: 95% intervals".format(
            *held_out["auc_interval"], *held_out["accuracy_interval"], **held_out
        ),
    ]
