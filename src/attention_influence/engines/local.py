"""Scores the units of a store one after another in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from attention_influence.corpus.rows import Columns
from attention_influence.errors import CorpusError
from attention_influence.scoring.run_store import RunStore
from attention_influence.scoring.scorer import Scorer
from attention_influence.scoring.worker import score_unit


def score_locally(
    store: RunStore,
    scorer: Scorer,
    columns: Columns,
    about: Mapping[str, Any],
    progress: Callable[[int, int], None] = lambda rows, tokens: None,
) -> dict[str, CorpusError]:
    """Publishes every unit that is not done yet, and returns what went wrong in those that could not be: name → error."""
    done = store.published()
    failed: dict[str, CorpusError] = {}
    for unit in store.units:
        if unit.name in done:
            continue
        try:
            store.publish(unit, score_unit(scorer, unit, columns, progress), about)
        except CorpusError as error:
            failed[unit.name] = error
    return failed

