"""Metrics with heads masked: means over draws, changes paired by item, signs by what is better."""

import numpy as np
import pytest

from attention_influence.evidence.metrics import Metric, compare_metrics

KINDS = ("none", "chosen", "matched", "matched")
RNG = np.random.default_rng(0)
NONE = RNG.random(40) < 0.8
CHOSEN = NONE & (RNG.random(40) < 0.3)
DRAWS = [NONE & (RNG.random(40) < 0.9) for _ in range(2)]


def metric(items: object, higher: bool = True) -> Metric:
    values = np.asarray(items, dtype=np.float64)
    return Metric(float(values.mean()), 0.1, higher, values)


def test_a_change_is_paired_by_item_and_several_draws_are_averaged() -> None:
    runs = [{("t", "acc"): metric(values)} for values in (NONE, CHOSEN, *DRAWS)]
    (found,) = compare_metrics(KINDS, runs, seed=0)
    assert (found.task, found.metric, found.items) == ("t", "acc", 40)
    assert list(found.masked) == ["none", "chosen", "matched"]
    none, chosen, matched = found.masked.values()
    assert (none.change, none.stderr, chosen.stderr, matched.stderr) == (None, 0.1, 0.1, None)
    assert chosen.change is not None
    assert matched.change is not None
    assert chosen.value == CHOSEN.mean()
    assert chosen.change.worse == pytest.approx(NONE.mean() - CHOSEN.mean())
    assert matched.value == pytest.approx(np.mean(DRAWS))
    assert matched.change.draws == pytest.approx([NONE.mean() - draw.mean() for draw in DRAWS])
    assert found.excess is not None
    assert found.excess.mean == pytest.approx(np.mean(DRAWS) - CHOSEN.mean())
    assert found.excess.interval is not None
    # Items are the same in all runs: the interval is narrower than that of two independent samples.
    low, high = found.excess.interval
    independent = 2 * 1.96 * np.sqrt((NONE.var() + CHOSEN.var()) / 40)
    assert 0 < low < found.excess.mean < high < low + independent


def test_where_lower_is_better_a_rise_is_worse() -> None:
    runs = [{("t", "loss"): metric(values, higher=False)} for values in (NONE, CHOSEN)]
    (found,) = compare_metrics(("none", "chosen"), runs, seed=0)
    assert found.masked["chosen"].change is not None
    assert found.masked["chosen"].change.worse == pytest.approx(CHOSEN.mean() - NONE.mean())
    assert found.excess is None


def test_a_metric_that_is_no_mean_of_items_has_a_change_and_no_interval() -> None:
    values = (20.0, 31.0, 22.0, 23.0)
    runs = [{("t", "perplexity"): Metric(value, None, False, None)} for value in values]
    (found,) = compare_metrics(KINDS, runs, seed=0)
    assert found.items is None
    assert found.masked["chosen"].change is not None
    assert (found.masked["chosen"].change.worse, found.masked["chosen"].change.interval) == (11.0, None)
    assert found.excess is not None
    assert (found.excess.mean, found.excess.interval) == (8.5, None)


def test_without_an_unmasked_run_there_are_values_and_no_changes() -> None:
    (found,) = compare_metrics(("chosen",), [{("t", "acc"): metric(CHOSEN)}], seed=0)
    assert found.masked["chosen"].value == CHOSEN.mean()
    assert found.masked["chosen"].change is None
