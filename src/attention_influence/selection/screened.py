"""What may be said and chosen of a store that was screened: documents that the model did not see count, and are never
chosen; those that it saw are no random choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.errors import UsageError
from attention_influence.screening.plan import SCREENED_OUT, ScreeningPlan, plan_from_bytes
from attention_influence.screening.sample import hashes_to_draw
from attention_influence.selection.cutting.count import Counts
from attention_influence.selection.record import Threshold
from attention_influence.selection.rule import Rule
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import coded
from attention_influence.store.screening_file import (
    calibration_url,
    final_plan_digest,
    read_plan,
    screened_url,
    screening_url,
    settings_of_screening,
)


@dataclass(frozen=True)
class Representatives:
    """The rows of a store that stand for their domains: all that are scored; but in a screened domain only the sample,
    which is uniform, for the others were scored because of their text."""

    highest: Mapping[str, int]
    """Screened domain → the highest hash that is in the sample."""
    size: int
    """Of the sample of each of these domains."""

    def counts(self, ranked: Mapping[str, int]) -> dict[str, int]:
        """How many there are of each domain, at most; `ranked` counts those that are scored."""
        return {name: min(count, self.size) if name in self.highest else count for name, count in ranked.items()}

    def among(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which rows of a batch of the store are."""
        if not self.highest:
            return np.ones(batch.num_rows, dtype=np.bool_)
        names, codes = coded(batch.column("domain"))
        highest = np.array([self.highest.get(name, 2**64 - 1) for name in names], dtype=np.uint64)
        hashes = hashes_to_draw(batch.column("source"), batch.column("row").to_numpy())
        return np.asarray(hashes <= highest[codes])


def representatives(store: ScoreStore) -> Representatives:
    """Those of a store. Raises StoreError where the plan that it was screened by is gone."""
    plan = read_final_plan(store.url, store.run)
    if plan is None:
        return Representatives({}, 0)
    return Representatives({name: plan.sample.highest[name] for name in plan.predictors}, plan.sample.size)


def read_final_plan(url: str, run: Mapping[str, Any]) -> ScreeningPlan | None:
    """The plan by which the store with that run.json was screened; None where it was not, or is a part of such a run.

    Raises StoreError when it is gone, or another.
    """
    expected = final_plan_digest(run)
    return None if expected is None else plan_from_bytes(read_plan(url, expected), screening_url(url))


def screening_of(url: str, run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the store with that run.json was screened by; None where all of its rows were to be scored: without
    --screen, where screening was refused for every domain, and in the store of a sample."""
    settings = settings_of_screening(run)
    plan = read_final_plan(url, run)
    return None if plan is not None and not plan.predictors else settings


def check_rankable(store: ScoreStore, ranking: str) -> None:
    """Raises UsageError where a screened store is to be ranked by anything but influence: the documents that the model
    did not see would be missing, and the others are no random choice."""
    if ranking != "influence" and screening_of(store.url, store.run) is not None:
        raise UsageError(
            f"{store.url} was scored with --screen, so it cannot be ranked by {ranking}: only documents that may be of "
            f"the top by influence have a score. Its sample is a random choice of each screened domain: give "
            f"{calibration_url(screened_url(store.url))}, or score without --screen."
        )


def check_screened(store: ScoreStore, rule: Rule) -> list[str]:
    """What to beware of. Raises UsageError where a rule needs scores that a screened store does not have."""
    settings = screening_of(store.url, store.run)
    if settings is None:
        return []
    if "provisional_plan" in settings:
        raise UsageError(f"{store.url} holds a part of a screened store. Select from {screened_url(store.url)}")
    others = {
        "--rank-by": rule.rank_by != "influence",
        "--by tokens": rule.by == "tokens",
        "--tokens": rule.tokens is not None,
        "--apply": rule.apply is not None,
        "--cap": bool(rule.caps),
        "--floor": bool(rule.floors),
        "--temperature": rule.temperature is not None,
    }
    if given := [option for option, is_given in others.items() if is_given]:
        raise UsageError(
            f"{given[0]}: {store.url} was scored with --screen, so that only its top {settings['keep_top']:g} by "
            "influence can be selected. Omit it, or score without --screen."
        )
    if rule.top is not None and rule.top > settings["keep_top"]:
        raise UsageError(
            f"--top {rule.top:g}: {store.url} was scored with --screen --keep-top {settings['keep_top']:g}, and below "
            "that documents have no exact score. Give at most that, or score without --screen."
        )
    if rule.top is not None and rule.top < settings["keep_top"]:
        return [
            f"the store was screened for the top {settings['keep_top']:g}: what is promised holds for that share, not "
            f"for {rule.top:g}"
        ]
    return []


def any_screened_out(thresholds: Sequence[Threshold]) -> bool:
    """Whether the ranked documents of a selection do not stand for all."""
    return any(SCREENED_OUT in of_domain.unranked for of_domain in thresholds)


def screened_out(counts: Counts) -> list[int]:
    """Documents of each domain that have a text, but that the model did not see."""
    return [counts.unranked.get(name, {}).get(SCREENED_OUT, 0) for name in counts.domains]


def check_enough(domains: Sequence[str], wanted: Sequence[int], has: Sequence[int]) -> None:
    """Raises UsageError where more documents are to be chosen than were scored exactly."""
    for name, documents, scored in zip(domains, wanted, has, strict=True):
        if documents > scored:
            raise UsageError(
                f"domain {name}: {documents:,} documents are to be selected, and only {scored:,} were scored; the "
                "others were screened out. Lower --top, or score without --screen."
            )
