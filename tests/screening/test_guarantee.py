"""The bound by simulation: as often as it says and no more, also against predictions made to break it."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import hypergeom

from attention_influence.screening.guarantee import (
    HigherCounts,
    Promise,
    Sizes,
    final_cut,
    interval,
    provisional_cut,
    smallest_sample,
)
from attention_influence.shares import count_in

PROMISE = Promise(top=0.2, keep_recall=0.95, confidence=0.9)
Population = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def correlated(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    influence = rng.normal(size=n)
    return influence, 0.9 * influence + 0.4 * rng.normal(size=n)


def unrelated(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=n), rng.normal(size=n)


def tied(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    influence, predicted = correlated(rng, n)
    return np.round(2 * influence), np.round(2 * predicted)


def adversarial(misses: int, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Those that must not be lost are the last of the top, and all others are predicted higher."""
    influence = -np.arange(n, dtype=float)
    top = count_in(PROMISE.top, n)
    must = top - PROMISE.must_find(n) + 1 + misses
    predicted = rng.normal(size=n) + 100
    predicted[top - must : top] -= 200
    return influence, predicted


def broken(population: Population, n: int, fitted: int, chose: int, repeats: int, promise: Promise = PROMISE) -> float:
    """The share of draws in which too many of the top are not scored."""
    rng = np.random.default_rng(0)
    influence, predicted = population(rng, n)
    order = np.lexsort((rng.permutation(n), -influence))
    top = order[: count_in(promise.top, n)]
    misses = Sizes(n, fitted, chose).misses(promise)
    assert misses is not None
    times = 0
    for _ in range(repeats):
        drawn = rng.choice(n, fitted + chose, replace=False)
        chooses = drawn[fitted:]
        by_influence = chooses[np.argsort(-influence[chooses], kind="stable")]
        provisional = provisional_cut(predicted[by_influence], misses, promise)
        scored = predicted >= provisional
        scored[drawn] = True
        higher = HigherCounts(influence[chooses])
        higher.add(influence[scored])
        cut = final_cut(provisional, predicted[chooses], higher.counts(), misses, promise.must_find(n))
        scored |= predicted >= cut
        times += scored[top].sum() < promise.must_find(n)
    return times / repeats


@pytest.mark.parametrize("population", [correlated, unrelated, tied])
@pytest.mark.parametrize("sizes", [(3000, 180, 540), (1500, 180, 540), (3000, 80, 240)])
def test_the_promise_is_kept(population: Population, sizes: tuple[int, int, int]) -> None:
    assert broken(population, *sizes, repeats=400) <= 1 - PROMISE.confidence


@pytest.mark.parametrize(("sizes", "misses"), [((20_000, 0, 230), 0), ((20_000, 0, 540), 2), ((1500, 0, 540), 4)])
def test_the_promise_is_kept_against_predictions_made_to_break_it_and_not_by_far(
    sizes: tuple[int, int, int], misses: int
) -> None:
    """By the bound, 0.086 to 0.100 of the draws may fail: they do, within three errors."""
    repeats = 1600
    failed = broken(functools.partial(adversarial, misses), *sizes, repeats=repeats)
    error = math.sqrt(PROMISE.confidence * (1 - PROMISE.confidence) / repeats)
    assert 0.085 - 3 * error < failed <= 1 - PROMISE.confidence + 3 * error


@pytest.mark.parametrize("promise", [Promise(0.1, 0.9, 0.95), Promise(0.5, 0.99, 0.8), Promise(0.2, 0.8, 0.99)])
def test_other_promises_are_kept(promise: Promise) -> None:
    chose, repeats, allowed = smallest_sample(3000, 100, promise), 1000, 1 - promise.confidence
    error = math.sqrt(allowed * promise.confidence / repeats)
    assert broken(correlated, 3000, 100, chose, repeats, promise) <= allowed + 3 * error


@pytest.mark.parametrize(("documents", "fitted", "chose"), [(300, 50, 150), (6000, 180, 540), (10**9, 180, 540)])
def test_misses_are_the_most_for_which_so_few_are_too_improbable(documents: int, fitted: int, chose: int) -> None:
    misses = Sizes(documents, fitted, chose).misses(PROMISE)
    assert misses is not None
    lost = count_in(PROMISE.top, documents) - PROMISE.must_find(documents)
    tails = [hypergeom.cdf(c, documents - fitted, lost + 1 + c, chose) for c in range(misses + 2)]
    assert max(tails[:-1]) <= 0.1 < tails[-1]


@pytest.mark.parametrize(("top", "recall", "documents", "found"), [(0.2, 0.95, 6000, 1140), (0.2, 0.95, 19, 4)])
def test_what_must_be_found_is_counted_in_whole_documents(
    top: float, recall: float, documents: int, found: int
) -> None:
    assert Promise(top, recall).must_find(documents) == found


def test_the_final_cut_is_the_provisional_one_or_as_low_as_it_must_be() -> None:
    predicted = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    higher = np.array([0, 3, 5, 7, 11])
    assert final_cut(2.5, predicted, higher, misses=1, must_find=8) == 2.0
    assert final_cut(1.5, predicted, higher, misses=1, must_find=8) == 1.5
    assert final_cut(4.5, predicted, higher, misses=1, must_find=7) == 4.0
    assert final_cut(4.5, predicted, higher, misses=3, must_find=7) == 4.5, "fewer candidates than misses"


def test_higher_counts_are_those_of_looking_at_each() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 20, 50).astype(float), rng.integers(0, 20, 1000).astype(float)
    higher = HigherCounts(few)
    for part in np.array_split(many, 7):
        higher.add(part)
    assert higher.counts().tolist() == [int((many > one).sum()) for one in few]


def test_a_sample_that_is_too_small_gives_no_cut() -> None:
    least = smallest_sample(6000, 180, PROMISE)
    assert Sizes(6000, 180, least - 1).misses(PROMISE) is None
    assert Sizes(6000, 180, least).misses(PROMISE) == 0
    assert Sizes(6000, 180, 0).misses(PROMISE) is None


def test_a_stronger_promise_needs_a_larger_sample() -> None:
    sizes = [smallest_sample(6000, 180, Promise(0.2, recall, 0.9)) for recall in (0.8, 0.9, 0.95, 0.99)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_intervals_of_a_share_are_exact() -> None:
    assert interval(0, 10, 0.95) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert interval(10, 10, 0.95) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert interval(5, 10, 0.95) == pytest.approx((0.1871, 0.8129), abs=1e-4)
