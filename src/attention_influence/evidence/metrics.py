"""Metrics of tasks with heads masked, compared with the unmasked model's and with random heads'.

Letters: D draws of random heads, I items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.evidence.validity import Change, Excess, change_of, excess_of

NONE = "none"
"""What is masked in a run of the unmodified model."""


@dataclass(frozen=True)
class Metric:
    """What one run gives for one metric of one task."""

    value: float
    stderr: float | None
    """Of the value, over items, as the harness has it."""
    higher_is_better: bool
    items: NDArray[np.float64] | None
    """Of each item, in their order; None where the metric is not their mean (perplexity, a group of tasks)."""


Evaluation = Mapping[tuple[str, str], Metric]
"""(task or group, metric) → what it came to; a metric that is taken after several filters names the filter, too."""


@dataclass(frozen=True)
class MaskedMetric:
    """One metric of one task with heads of one kind masked: a run, or the mean of several draws."""

    value: float
    stderr: float | None
    """Of one run; None for several."""
    change: Change | None
    """From the unmasked model, where that was run."""


@dataclass(frozen=True)
class MetricResult:
    """One metric of one task in all runs."""

    task: str
    metric: str
    higher_is_better: bool
    items: int | None
    """None where the metric is not the mean of its items; there are no intervals then."""
    masked: Mapping[str, MaskedMetric]
    """By kind of heads, "none" included."""
    excess: Excess | None
    """How much worse it is with the chosen heads than with random ones matched by layer; None where one was not run."""


def compare_metrics(kinds: Sequence[str], runs: Sequence[Evaluation], seed: int) -> list[MetricResult]:
    """Every metric of every task; `kinds` says for each run which heads were masked.

    The same items stand in all runs, so changes are paired by item.
    """
    return [_compare(task, metric, kinds, [run[task, metric] for run in runs], seed) for task, metric in runs[0]]


def _compare(task: str, metric: str, kinds: Sequence[str], runs: Sequence[Metric], seed: int) -> MetricResult:
    of_items = [run.items for run in runs if run.items is not None]
    by_item = len(of_items) == len(runs)
    values = np.array(of_items) if by_item else np.array([[run.value] for run in runs])
    kind_of_run = np.array(kinds)
    unmasked = values[kind_of_run == NONE]
    better = 1 if runs[0].higher_is_better else -1
    masked = {}
    for kind in dict.fromkeys(kinds):
        rows_DI = values[kind_of_run == kind]
        own = [run for run, its in zip(runs, kinds, strict=True) if its == kind]
        change = None
        if kind != NONE and len(unmasked):
            change = change_of(rows_DI, better * (unmasked - rows_DI), seed)
        stderr = own[0].stderr if len(own) == 1 else None
        masked[kind] = MaskedMetric(float(np.mean([run.value for run in own])), stderr, change)
    excess = excess_of(-better * values, kind_of_run, seed) if {"chosen", "matched"} <= set(kinds) else None
    items = len(of_items[0]) if by_item else None
    return MetricResult(task, metric, runs[0].higher_is_better, items, masked, excess)
