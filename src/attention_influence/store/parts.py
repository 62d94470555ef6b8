"""The stores of a run: with screening three, of which two lie inside the third and come first; else one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from attention_influence.store.run import RunStore, existing_run, open_run
from attention_influence.store.screening_file import calibration_url, final_plan_digest, provisional_url

LAST = "the rest"
"""The part that is the whole store at the end."""

Work = Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
"""Of each part its name, and the records of its finished units, whose `tokens` are those that the model saw."""


@dataclass(frozen=True)
class Part:
    """One store of a run."""

    name: str
    """What is scored in it; empty where the run is not screened."""
    store: RunStore

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its scores, for the units that were done when first asked."""
        return self.store.records()


def begun_parts(url: str) -> list[Part]:
    """The stores of a run that are begun, in order. Raises StoreError where there is none."""
    whole = open_run(url)
    if whole is not None and final_plan_digest(whole.run) is None:
        return [Part("", whole)]
    stores = {
        "the sample": open_run(calibration_url(url)),
        "above the provisional cut": open_run(provisional_url(url)),
        LAST: whole,
    }
    parts = [Part(name, store) for name, store in stores.items() if store is not None]
    return parts or [Part("", existing_run(url))]


def work_of(parts: Sequence[Part]) -> Work:
    """What was done in each part."""
    work, seen_before = [], dict[str, int]()
    for part in parts:
        records: list[Mapping[str, Any]] = []
        for unit, about in part.records.items():
            seen = about["tokens"] - about.get("screened_out", {"tokens": 0})["tokens"]
            records.append({**about, "tokens": seen - seen_before.get(unit, 0)})
            seen_before[unit] = seen
        work.append((part.name, records))
    return work
