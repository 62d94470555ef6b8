"""One unit, from rows to a table of scores."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.concurrency import ahead
from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.slices import Slice
from attention_influence.errors import CorpusError, TooManyBadRows
from attention_influence.scoring.document_score import DocumentScore
from attention_influence.scoring.lots import in_lots
from attention_influence.scoring.scorer import Scorer
from attention_influence.store.plan import Unit, must_be_unchanged
from attention_influence.store.schema import SCORE_SCHEMA, score_schema
from attention_influence.store.unigrams import Unigrams

_OF_ROW = ("row", "id", "domain")
_OF_SCORE = [name for name in SCORE_SCHEMA.names if name not in ("source", *_OF_ROW, "unigram_surprisal")]
# Column → what it holds of each step.
_OF_STEPS = {"step_ends": "end", "step_n_scored": "n_scored", "step_rise": "rise"}

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
        }


def score_unit(
    scorer: Scorer, unit: Unit, reading: Reading, progress: Progress = lambda rows, bad, tokens: None
) -> UnitScores:
    """The scores of a unit: `score_schema(reading.steps)`, one row per input row in source order, bad rows included.

    A file that is damaged, gone, changed or of another schema costs its own rows in this unit, and is recorded.
    Raises TooManyBadRows where a bad row is an error.
    """
    shortages = (scorer.shortage, scorer.model.output.shortage)
    shortages_before = sum(shortage.times for shortage in shortages)
    tables: list[pa.Table] = [score_schema(reading.steps).empty_table()]
    failed_files: dict[str, str] = {}
    for part in unit.slices:
        of_part = []
        try:
            must_be_unchanged(part)
            for table in _score_slice(scorer, part, reading, progress):
                of_part.append(table)
            must_be_unchanged(part)
        except CorpusError as error:
            failed_files[part.source.name] = str(error)
            continue
        tables += of_part
    scores = UnitScores(pa.concat_tables(tables), failed_files)
    scores.memory_ran_out = sum(shortage.times for shortage in shortages) - shortages_before
    scores.rows = scores.table.num_rows
    scores.tokens = sum(n or 0 for n in scores.table["n_tokens"].to_pylist())
    scores.reasons.update(reason for reason in scores.table["reason"].to_pylist() if reason is not None)
    if reading.steps:
        scores.steps = pc.sum(pc.list_value_length(scores.table["step_ends"])).as_py() or 0
    ids = [identity for identity in scores.table["id"].to_pylist() if identity is not None]
    scores.duplicate_ids = len(ids) - len(set(ids))
    return scores


def _score_slice(scorer: Scorer, part: Slice, reading: Reading, progress: Progress) -> Iterator[pa.Table]:
    """Scores of rows, some at a time; rows are read and tokenized ahead while the model runs."""
    read = read_rows(part.source, reading.columns, part.start, part.end)
    prepared = (
        (rows, scorer.prepare([row.text for row in rows], reading.steps))
        for rows in in_lots(read, lambda row: row.text, scorer.pack_tokens)
    )
    for rows, documents in ahead(prepared):
        scores = scorer.score_prepared(documents, progress=lambda tokens: progress(0, 0, tokens))
        for row, score in zip(rows, scores, strict=True):
            score.reason = row.reason or score.reason
            if score.reason is not None and reading.on_bad_row == "error":
                raise TooManyBadRows(
                    f"{part.source.url}, row {row.row:,}: {score.reason}. Fix the corpus, or keep such rows without a "
                    "score: --on-bad-row keep"
                )
        unscored = sum(document.score.n_tokens or 0 for document in documents if not document.tokens)
        progress(len(rows), sum(score.reason is not None for score in scores), unscored)
        surprisals: list[float | None] = [None] * len(rows)
        if (unigrams := reading.unigrams) is not None:
            surprisals = [
                unigrams.surprisal(document.tokens, unigrams.holds(part.source, row.row))
                for row, document in zip(rows, documents, strict=True)
            ]
        yield _table(part.source.name, rows, scores, surprisals, score_schema(reading.steps))


def _table(
    source: str,
    rows: Sequence[Row],
    scores: Sequence[DocumentScore],
    surprisals: Sequence[float | None],
    schema: pa.Schema,
) -> pa.Table:
    values: dict[str, list[object]] = {"source": [source] * len(rows)}
    values |= {name: [getattr(row, name) for row in rows] for name in _OF_ROW}
    values |= {name: [getattr(score, name) for score in scores] for name in _OF_SCORE}
    values["unigram_surprisal"] = list(surprisals)
    for column, of_step in _OF_STEPS.items():
        if column in schema.names:
            values[column] = [score.steps and [getattr(step, of_step) for step in score.steps] for score in scores]
    return pa.table(values, schema=schema)
