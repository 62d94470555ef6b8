"""Bootstrap intervals of means, against what is known of them."""

import numpy as np
import pytest

from attention_influence.evidence.statistics import mean_interval


def test_the_interval_of_many_items_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 2000)
    low, high = mean_interval(values, 0) or (0, 0)
    half = 1.96 * values.std() / len(values) ** 0.5
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    found = [mean_interval(rng.exponential(1, 60), i) or (0, 0) for i in range(300)]
    covered = np.mean([low <= 1 <= high for low, high in found])
    assert 0.88 <= covered <= 0.99


def test_draws_that_differ_widen_the_interval() -> None:
    items = np.random.default_rng(2).normal(0, 1, 50)
    alike = mean_interval([items] * 5, 0) or (0, 0)
    apart = mean_interval([items + shift for shift in (-2, -1, 0, 1, 2)], 0) or (0, 0)
    assert alike == pytest.approx(mean_interval(items, 0), abs=0.1)
    assert apart[1] - apart[0] > 1.5 * (alike[1] - alike[0])


def test_a_constant_has_no_width_and_a_seed_gives_the_same_again() -> None:
    assert mean_interval([0.5] * 12, 0) == (0.5, 0.5)
    values = np.arange(20.0)
    assert mean_interval(values, 4) == mean_interval(values, 4)


def test_fewer_than_ten_items_have_no_interval() -> None:
    assert mean_interval(np.arange(9.0), 0) is None
