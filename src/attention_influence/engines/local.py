"""Scores the units of a store one after another in this process."""

import time
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
    """Publishes every unit that is not done yet; returns name → error of those that could not be."""
    done = store.published()
    failed: dict[str, CorpusError] = {}
    for unit in store.units:
        if unit.name in done:
            continue
        try:
            began = time.monotonic()
            scores = score_unit(scorer, unit, columns, progress)
            store.publish(unit, scores, {**about, "seconds": round(time.monotonic() - began, 3)})
        except CorpusError as error:
            failed[unit.name] = error
    return failed
