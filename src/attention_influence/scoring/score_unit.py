"""One unit, from rows to a table of scores."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, groupby
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.concurrency import Begun
from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.slices import Slice
from attention_influence.errors import CorpusError, TooManyBadRows
from attention_influence.scoring.document_score import DocumentScore
from attention_influence.scoring.lots import in_lots
from attention_influence.scoring.scorer import Prepared, Scorer
from attention_influence.scoring.screened import Known, Screened
from attention_influence.screening.plan import SCREENED_OUT
from attention_influence.screening.sample import Sample
from attention_influence.store.plan import Unit, must_be_unchanged
from attention_influence.store.schema import SCORE_SCHEMA, score_schema
from attention_influence.store.unigrams import Unigrams

_OF_ROW = ("row", "id", "domain")
_OF_SCORE = [name for name in SCORE_SCHEMA.names if name not in ("source", *_OF_ROW, "unigram_surprisal")]
# Column → what it holds of each step.
_OF_STEPS = {"step_ends": "end", "step_n_scored": "n_scored", "step_rise": "rise"}

_Item = tuple[Slice, Row]
_Lot = tuple[list[_Item], list[Prepared], dict[str, Sequence[float | None]]]
"""Rows, what the model is to see of them, and the columns that need no model."""

Progress = Callable[[int, int, int], None]
"""Called with how many more rows, bad rows and tokens are done: tokens pack by pack, rows when all of a lot are."""


@dataclass(frozen=True)
class Reading:
    """What is read of the corpus, what a row without a score means, and what tokens are rare in it."""

    columns: Columns
    on_bad_row: Literal["keep", "error"] = "keep"
    unigrams: Unigrams | None = None
    """None leaves `unigram_surprisal` null."""
    steps: tuple[str, ...] = ()
    """What ends a step (see `step_rule`); without it, rows have no steps."""
    sample: Sample | None = None
    """The rows that are scored, where not all are; the others are left out."""
    screened: Screened | None = None
    """What spares documents the model; without it, it sees all."""

    @property
    def schema(self) -> pa.Schema:
        """Of the rows that are written."""
        return score_schema(self.steps, screened=self.screened is not None)


@dataclass
class UnitScores:
    """A unit's rows, and what is recorded with them."""

    table: pa.Table
    failed_files: dict[str, str]
    """Source → why its rows in this unit are missing."""
    rows: int = 0
    tokens: int = 0
    duplicate_ids: int = 0
    """Rows whose id another row of the unit has, too."""
    memory_ran_out: int = 0
    """How often; see `Shortage`."""
    reasons: Counter[str] = field(default_factory=Counter)
    steps: int | None = None
    """Of all rows; None where there are no columns of steps."""
    screened_out: dict[str, int] | None = None
    """`documents` and `tokens` that the model did not see, in a store that is screened."""

    def about(self) -> dict[str, Any]:
        """The record that goes into the unit's metadata."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "reasons": dict(self.reasons),
            "duplicate_ids": self.duplicate_ids,
            "memory_ran_out": self.memory_ran_out,
            "failed_files": self.failed_files,
            **({} if self.steps is None else {"steps": self.steps}),
            **({} if self.screened_out is None else {"screened_out": self.screened_out}),
        }


class UnitTexts:
    """A unit's rows in lots: a thread makes the first at once, and each other while the one before is scored."""

    def __init__(self, scorer: Scorer, unit: Unit, reading: Reading) -> None:
        self.unit = unit
        self.reading = reading
        self.failed_files: dict[str, str] = {}
        """Source → why its rows are missing; as far as the lots have been read."""
        self.lots = Begun(self._lots(scorer))

    def _lots(self, scorer: Scorer) -> Iterator[_Lot]:
        reading = self.reading
        known = reading.screened.known(self.unit) if reading.screened else {}
        rows = _rows(self.unit, reading, self.failed_files)
        # Lots go beyond files, so that packs of many small ones are full.
        for items in in_lots(rows, lambda item: item[1].text, scorer.pack_tokens):
            yield _prepare(scorer, items, reading, known)


def score_unit(scorer: Scorer, texts: UnitTexts, progress: Progress = lambda rows, bad, tokens: None) -> UnitScores:
    """The scores of a unit: `reading.schema`, one row per input row in source order, bad rows included.

    A file that is damaged, gone, changed or of another schema costs its own rows in this unit, and is recorded.
    Raises TooManyBadRows where a bad row is an error.
    """
    shortages = (scorer.shortage, scorer.model.output.shortage)
    shortages_before = sum(shortage.times for shortage in shortages)
    reading, failed_files = texts.reading, texts.failed_files
    tables: list[tuple[Slice, pa.Table]] = []
    for items, documents, beside in texts.lots:
        table = _score_lot(scorer, items, documents, beside, reading, progress)
        start = 0
        for part, of_part in groupby(part for part, _ in items):
            rows = len(list(of_part))
            tables.append((part, table.slice(start, rows)))
            start += rows
    whole = [table for part, table in tables if part.source.name not in failed_files]
    scores = UnitScores(pa.concat_tables([reading.schema.empty_table(), *whole]), failed_files)
    if reading.screened and reading.screened.provisional:
        seen = pc.fill_null(pc.not_equal(scores.table["reason"], SCREENED_OUT), True)
        scores.table = scores.table.filter(seen)
    scores.memory_ran_out = sum(shortage.times for shortage in shortages) - shortages_before
    scores.rows = scores.table.num_rows
    scores.tokens = sum(n or 0 for n in scores.table["n_tokens"].to_pylist())
    scores.reasons.update(reason for reason in scores.table["reason"].to_pylist() if reason is not None)
    if reading.screened:
        unseen = scores.table["n_tokens"].filter(pc.equal(scores.table["reason"], SCREENED_OUT))
        tokens = pc.sum(unseen).as_py() or 0
        scores.screened_out = {"documents": scores.reasons.pop(SCREENED_OUT, 0), "tokens": tokens}
    if reading.steps:
        scores.steps = pc.sum(pc.list_value_length(scores.table["step_ends"])).as_py() or 0
    ids = [identity for identity in scores.table["id"].to_pylist() if identity is not None]
    scores.duplicate_ids = len(ids) - len(set(ids))
    return scores


def _rows(unit: Unit, reading: Reading, failed_files: dict[str, str]) -> Iterator[list[_Item]]:
    """The rows of all slices; a slice that cannot be read to its end, unchanged, is put into `failed_files`."""
    for part in unit.slices:
        try:
            must_be_unchanged(part)
            for rows in read_rows(part.source, reading.columns, part.start, part.end):
                if (sample := reading.sample) is not None:
                    rows = list(compress(rows, sample.holds(part.source.name, rows)))
                yield [(part, row) for row in rows]
            must_be_unchanged(part)
        except CorpusError as error:
            failed_files[part.source.name] = str(error)


def _prepare(scorer: Scorer, items: list[_Item], reading: Reading, known: Known) -> _Lot:
    documents = scorer.prepare([row.text for _, row in items], reading.steps)
    beside: dict[str, Sequence[float | None]] = {"unigram_surprisal": [None] * len(items)}
    if (unigrams := reading.unigrams) is not None:
        beside["unigram_surprisal"] = [
            unigrams.surprisal(document.tokens, unigrams.holds(part.source, row.row))
            for (part, row), document in zip(items, documents, strict=True)
        ]
    if reading.screened is not None:
        beside["predicted_influence"] = reading.screened.screen(
            [(part.source.name, row) for part, row in items], documents, known
        )
    return items, documents, beside


def _score_lot(
    scorer: Scorer,
    items: Sequence[_Item],
    documents: Sequence[Prepared],
    beside: Mapping[str, Sequence[object]],
    reading: Reading,
    progress: Progress,
) -> pa.Table:
    seen = [document for document in documents if document.tokens]
    scorer.score_prepared(seen, progress=lambda tokens: progress(0, 0, tokens))
    bad = 0
    for (part, row), document in zip(items, documents, strict=True):
        score = document.score
        score.reason = row.reason or score.reason
        bad += score.reason not in (None, SCREENED_OUT)
        if bad and reading.on_bad_row == "error":
            raise TooManyBadRows(
                f"{part.source.url}, row {row.row:,}: {score.reason}. Fix the corpus, or keep such rows without a "
                "score: --on-bad-row keep"
            )
    unscored = sum(document.score.n_tokens or 0 for document in documents if not document.tokens)
    progress(len(items), bad, unscored)
    return _table(items, [document.score for document in documents], beside, reading.schema)


def _table(
    items: Sequence[_Item],
    scores: Sequence[DocumentScore],
    beside: Mapping[str, Sequence[object]],
    schema: pa.Schema,
) -> pa.Table:
    values: dict[str, list[object]] = {"source": [part.source.name for part, _ in items]}
    values |= {name: [getattr(row, name) for _, row in items] for name in _OF_ROW}
    values |= {name: [getattr(score, name) for score in scores] for name in _OF_SCORE}
    values |= {name: list(column) for name, column in beside.items()}
    for column, of_step in _OF_STEPS.items():
        if column in schema.names:
            values[column] = [score.steps and [getattr(step, of_step) for step in score.steps] for score in scores]
    return pa.table(values, schema=schema)
