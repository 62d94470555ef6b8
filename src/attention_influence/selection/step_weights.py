"""Training data with a loss weight for each step, from a store that was scored in steps.

The layout is that of ms-swift's `messages`: one assistant message for each step, with its weight as `loss_scale`.
ms-swift joins them into one response, whose tokens get the weights of their steps.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from attention_influence.corpus import Columns, read_rows
from attention_influence.errors import CorpusError, StoreError, UsageError
from attention_influence.progress import progress
from attention_influence.selection.cutting.cut import Cut
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.selection.record import read_selection
from attention_influence.storage.atomic_files import written_whole
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.find import Key
from attention_influence.store.plan import Unit, must_be_unchanged
from attention_influence.store.reader import ScoreStore, open_store
from attention_influence.store.run import open_run
from attention_influence.store.schema import STEP_COLUMNS

_AGAIN = "Score its file again: --rescore-changed"
# Decimals: a weight's error is far below that of a loss, and files stay small.
_DECIMALS = 6


class Steps(NamedTuple):
    """A row's steps, as the store has them."""

    ends: list[int]
    n_scored: list[int]
    rises: list[float | None]


@dataclass
class StepWeights:
    """What was written."""

    out: str
    documents: int = 0
    steps: int = 0
    """With a weight: those of prompts have none."""
    zero_steps: int = 0
    """Of these, with a weight of 0."""
    even_documents: int = 0
    """Whose loss no step raises: all their steps weigh 1."""
    largest: float = 0.0
    """Of all weights."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → documents that are not written."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "left_out": dict(self.left_out)}


def step_weights(n_scored: Sequence[int], rises: Sequence[float | None], uniform: float = 0.0) -> list[float]:
    """A weight for each step, proportional to its rise where that is positive, else 0; their mean over tokens is 1.

    n_scored: tokens of each step. `uniform`: the share of every weight that is the same for all steps. Where no rise is
    positive, all weigh 1; so does a step without a rise, which has no tokens.
    """
    counts = np.array(n_scored, dtype=np.float64)
    positive = np.array([max(rise or 0.0, 0.0) for rise in rises])
    if not positive.any():
        return [1.0] * len(rises)
    positive /= positive.max()  # rises may be so small that a quotient of sums is no number
    weights = (1 - uniform) * positive * (counts.sum() / (counts @ positive)) + uniform
    return [
        1.0 if rise is None else round(weight, _DECIMALS) for rise, weight in zip(rises, weights.tolist(), strict=True)
    ]


def messages(
    text: str, steps: Steps, uniform: float = 0.0, prompt_end: str | None = None
) -> list[dict[str, Any]] | None:
    """A document as ms-swift's messages; None without an end of the prompt, or nothing after it.

    Up to the first step that ends with `prompt_end`, white space apart, it is the user's message, on which is not
    trained; the others are messages of the assistant, whose weights have a mean of 1 over their own tokens.
    """
    parts = [text[start:end] for start, end in pairwise([0, *steps.ends])]
    first = 0
    if prompt_end is not None:
        ended = (i for i, part in enumerate(parts) if part.rstrip().endswith(prompt_end.rstrip() or prompt_end))
        first = next(ended, len(parts) - 1) + 1
    if first == len(parts):
        return None
    prompt = [{"role": "user", "content": "".join(parts[:first])}] if first else []
    weights = step_weights(steps.n_scored[first:], steps.rises[first:], uniform)
    return prompt + [
        {"role": "assistant", "content": part, "loss_scale": weight}
        for part, weight in zip(parts[first:], weights, strict=True)
    ]


def write_step_weights(
    store: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    selection: str | os.PathLike[str] | None = None,
    prompt_end: str | None = None,
    uniform: float = 0.0,
    overwrite: bool = False,
    allow_partial: bool = False,
) -> StepWeights:
    """Writes JSON lines, a document each, `messages` with `loss_scale`: see `messages` and `step_weights`.

    Documents: those that have a score, or of these the ones that `selection` (a folder or selection.json) chose; in the
    order of the store's plan. The corpus is read once. `out` appears whole or not at all.

    Raises UsageError for a wrong argument, or when no document can be written; StoreError for a store without steps,
    one that is not complete, or a selection that was made from other scores; CorpusError when a text is not the one
    that was scored.
    """
    out = os.fspath(out)
    if not 0 <= uniform <= 1:
        raise UsageError(f"--uniform is {uniform}; it is a share, from 0 to 1")
    if not out.endswith(".jsonl"):
        raise UsageError(f"--out {out}: JSON lines are written, so give a name that ends in .jsonl")
    if prompt_end == "":
        raise UsageError("--prompt-end is empty; give the text that ends the prompt")
    check_writable_file(out)
    filesystem, path = open_filesystem(out)
    if filesystem.exists(path) and not overwrite:
        raise UsageError(f"{out} is there already. Give another --out, or --overwrite to replace it")
    scores = open_store(os.fspath(store))
    run = open_run(scores.url)
    assert run is not None
    if not set(STEP_COLUMNS) <= set(scores.schema.names):
        raise StoreError(f"{scores.url} holds no steps. Score the corpus with --granularity step, into a new --out")
    if not scores.is_complete and not allow_partial:
        raise StoreError(f"{scores.url}: scoring is not complete. Resume `score`, or give --allow-partial")
    cut = None if selection is None else _cut(scores, selection)
    columns = Columns.from_json(scores.run["columns"])
    written = StepWeights(out)
    units = [unit for unit in run.units if unit.name in scores.units]
    with written_whole(out) as sink, progress("writing", len(units), "units") as advance:
        for unit in units:
            rows = _rows(scores, unit.name, cut, written.left_out)
            for text, steps in _texts(unit, columns, rows):
                if (made := messages(text, steps, uniform, prompt_end)) is None:
                    written.left_out["no_prompt_end"] += 1
                    continue
                sink.write(json.dumps({"messages": made}, ensure_ascii=False).encode() + b"\n")
                _count(written, made)
            advance(1)
        if not written.documents:
            raise UsageError(
                f"no document can be written: {dict(written.left_out)}. Steps end by {_rule(scores)}"
                + (f"; score with --steps {prompt_end!r} as well, to end one there" if prompt_end else "")
            )
    return written


def _cut(scores: ScoreStore, selection: str | os.PathLike[str]) -> Cut:
    """What is inside a selection that was made from these scores, or from others that compare with them."""
    record = read_selection(selection)
    record.check_applies(scores)
    return record.cut(open_ranking(scores, record.rank_by, record.seed))


def _rows(scores: ScoreStore, unit: str, cut: Cut | None, left_out: Counter[str]) -> dict[Key, tuple[int, Steps]]:
    """Of a unit's rows that are to be written: key → characters, steps."""
    ranking = () if cut is None else ("domain", "influence", *cut.ranking.columns)
    names = list(dict.fromkeys(["source", "row", "n_chars", "reason", *STEP_COLUMNS, *ranking]))
    rows: dict[Key, tuple[int, Steps]] = {}
    for batch in scores.unit_batches(unit, names):
        if cut is not None:
            inside = cut.inside(batch)
            left_out["not_selected"] += int(len(inside) - inside.sum())
            batch = batch.filter(pa.array(inside))
        for row in batch.select(["source", "row", "n_chars", "reason", *STEP_COLUMNS]).to_pylist():
            if row["step_ends"] is None:
                left_out[row["reason"]] += 1
            else:
                rows[row["source"], row["row"]] = row["n_chars"], Steps(*(row[name] for name in STEP_COLUMNS))
    return rows


def _texts(unit: Unit, columns: Columns, rows: dict[Key, tuple[int, Steps]]) -> Iterator[tuple[str, Steps]]:
    """The texts of these rows, in the corpus's order. Raises CorpusError where one is not what was scored."""
    sources = {source for source, _ in rows}
    missing = len(rows)
    for part in unit.slices:
        if part.source.name not in sources:
            continue
        must_be_unchanged(part)
        for some in read_rows(part.source, columns, part.start, part.end):
            for row in some:
                if (wanted := rows.get((part.source.name, row.row))) is None:
                    continue
                n_chars, steps = wanted
                if row.text is None or len(row.text) != n_chars:
                    raise CorpusError(f"{part.source.url}, row {row.row:,}: not the text that was scored. {_AGAIN}")
                missing -= 1
                yield row.text, steps
        must_be_unchanged(part)
    if missing:
        raise CorpusError(f"{missing:,} rows of unit {unit.name} that were scored are not in the corpus. {_AGAIN}")


def _rule(scores: ScoreStore) -> str:
    return ", ".join(map(repr, (scores.run.get("fingerprint") or {}).get("steps") or ()))


def _count(written: StepWeights, made: Sequence[dict[str, Any]]) -> None:
    weights = [message["loss_scale"] for message in made if "loss_scale" in message]
    written.documents += 1
    written.steps += len(weights)
    written.zero_steps += sum(weight == 0 for weight in weights)
    written.even_documents += all(weight == 1 for weight in weights)
    written.largest = max(written.largest, *weights)
