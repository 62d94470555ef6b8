"""One unit, from rows to a table of scores."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from attention_influence.corpus.read import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.scoring.document_score import DocumentScore
from attention_influence.scoring.plan import Slice, Unit
from attention_influence.scoring.schema import SCORE_SCHEMA
from attention_influence.scoring.scorer import Scorer

# Characters scored together, for each token of a pack: enough packs (about 16) that the last, part-filled one costs
# little; few enough that a slice's tokens stay small in memory.
_CHARS_PER_PACK_TOKEN = 64

_OF_ROW = ("row", "id", "domain")
_OF_SCORE = [name for name in SCORE_SCHEMA.names if name not in ("source", *_OF_ROW)]


def score_unit(
    scorer: Scorer, unit: Unit, columns: Columns, progress: Callable[[int, int], None] = lambda rows, tokens: None
) -> pa.Table:
    """The scores of a unit: SCORE_SCHEMA, one row per input row in source order, bad rows included.

    `progress(rows, tokens)` is called with what was added each time some documents are done. Raises CorpusError.
    """
    tables = []
    for part in unit.slices:
        for rows in _together(part, columns, scorer.pack_tokens * _CHARS_PER_PACK_TOKEN):
            scores = scorer.score([row.text for row in rows])
            for row, score in zip(rows, scores, strict=True):
                score.reason = row.reason or score.reason
            tables.append(_table(part.source.name, rows, scores))
            progress(len(rows), sum(score.n_tokens or 0 for score in scores))
    return pa.concat_tables(tables) if tables else SCORE_SCHEMA.empty_table()


def _together(part: Slice, columns: Columns, chars: int) -> Iterator[list[Row]]:
    """Rows of a slice in lists of about `chars` characters: a function of the rows, so that packs are."""
    held: list[Row] = []
    waiting = 0
    for row in _each(read_rows(part.source, columns, part.start, part.end)):
        held.append(row)
        waiting += len(row.text or "")
        if waiting >= chars:
            yield held
            held, waiting = [], 0
    if held:
        yield held


def _each(batches: Iterable[Sequence[Row]]) -> Iterator[Row]:
    for batch in batches:
        yield from batch


def _table(source: str, rows: Sequence[Row], scores: Sequence[DocumentScore]) -> pa.Table:
    values: dict[str, list[object]] = {"source": [source] * len(rows)}
    values |= {name: [getattr(row, name) for row in rows] for name in _OF_ROW}
    values |= {name: [getattr(score, name) for score in scores] for name in _OF_SCORE}
    return pa.table(values, schema=SCORE_SCHEMA)
