"""Shares of a judge's verdicts, with cases computed by hand."""

import numpy as np
import pytest

from attention_influence.evidence.judged import (
    Judged,
    agreement,
    length_shares,
    one_sided,
    order_effects,
    ranking_shares,
)
from attention_influence.evidence.statistics import share_difference_interval, share_interval
from attention_influence.judging.verdicts import Verdict


def verdict(educational: bool | None, reasoning: bool = False, first: str = "educational", p: float | None = None):
    if educational is None:
        return Verdict("malformed", first)
    probabilities = None if p is None else {"educational": p, "reasoning": 0.5}
    return Verdict("answered", first, {"educational": educational, "reasoning": reasoning}, probabilities)


def judged(*verdicts: Verdict, rankings=("influence",), domain="web", characters=100) -> Judged:
    return Judged(domain, rankings, characters, verdicts)


def test_intervals_are_those_of_the_literature() -> None:
    # Newcombe (1998), the tables' examples (a) 56/70 and 48/80, method 10, and 81/263 alone, Wilson's.
    assert share_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert share_difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert share_difference_interval(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert share_difference_interval(10, 10, 0, 10) == pytest.approx((0.6075, 1.0), abs=5e-5)
    assert share_interval(0, 0) is None
    assert share_difference_interval(1, 2, 0, 0) is None


def test_shares_are_those_of_each_domain_and_ranking_beside_the_random_choice() -> None:
    documents = [
        *(judged(verdict(True)) for _ in range(3)),
        judged(verdict(False), rankings=("influence", "random")),
        *(judged(verdict(False), rankings=("random",)) for _ in range(2)),
        judged(verdict(None), rankings=("random",)),
        judged(verdict(True), rankings=("random",), domain="code"),
    ]
    found = {
        (one.domain, one.ranking): one
        for one in ranking_shares(documents, ["influence", "random"])
        if one.share.question == "educational"
    }
    web, random = found["web", "influence"], found["web", "random"]
    assert (web.share.documents, web.share.share, web.share.unanswered) == (4, 0.75, 0)
    assert (random.share.documents, random.share.share, random.share.unanswered) == (3, 0.0, 1)
    assert web.more_than_random.share == 0.75
    assert web.more_than_random.interval == share_difference_interval(3, 4, 0, 3)
    assert random.more_than_random is None
    assert found[None, "random"].share.share == 0.25
    assert found["code", "influence"].share.share is None
    assert found["code", "influence"].more_than_random.interval is None


def test_without_a_random_choice_there_is_no_difference() -> None:
    assert all(one.more_than_random is None for one in ranking_shares([judged(verdict(True))], ["influence"]))


def test_thirds_by_length_are_those_of_each_domain() -> None:
    """A judge that takes the longest third for educational; domains differ in length a hundredfold."""
    documents = [
        judged(verdict(number >= 6), domain=domain, characters=(1 + number) * size)
        for domain, size in (("web", 10), ("code", 1000))
        for number in range(9)
    ]
    found = [one for one in length_shares(documents, ["influence"]) if one.share.question == "educational"]
    assert [(one.length, one.share.share, one.share.documents) for one in found] == [
        ("short", 0.0, 6),
        ("middle", 0.0, 6),
        ("long", 1.0, 6),
    ]


def test_a_judge_that_says_true_to_what_comes_first_shows() -> None:
    documents = [judged(verdict(True, False, "educational")) for _ in range(20)]
    documents += [judged(verdict(False, True, "reasoning")) for _ in range(20)]
    for effect in order_effects(documents):
        assert (effect.first.share, effect.second.share, effect.difference.share) == (1.0, 0.0, 1.0)
        assert effect.difference.interval[0] > 0.7


def test_a_probability_is_the_mean_of_repeats_but_its_order_effect_that_of_the_first() -> None:
    documents = [
        judged(verdict(True, first=first, p=p), verdict(True, first=second, p=other))
        for first, second, p, other in [("educational", "reasoning", 0.8, 0.6), ("reasoning", "educational", 0.6, 0.8)]
        for _ in range(3)
    ]
    assert ranking_shares(documents, ["influence"])[0].share.probability == pytest.approx(0.7)
    effect = order_effects(documents)[0]
    assert (effect.first.probability, effect.second.probability) == (pytest.approx(0.8), pytest.approx(0.6))


def test_agreement_is_cohens_kappa() -> None:
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    documents = [judged(verdict(a), verdict(b, first="reasoning")) for a, b in pairs]
    educational, reasoning = agreement([*documents, judged(verdict(True), verdict(None))])
    assert (educational.documents, educational.same) == (50, 0.7)
    assert educational.kappa == pytest.approx(0.4)  # observed 0.7, by chance 0.5
    assert (reasoning.same, reasoning.kappa) == (1.0, None)
    assert agreement([judged(verdict(True))]) == []


def test_probabilities_have_means_and_welchs_interval() -> None:
    documents = [judged(verdict(False, p=p)) for p in (0.1, 0.2, 0.3)]
    documents += [judged(verdict(False, p=p), rankings=("random",)) for p in (0.1, 0.1, 0.2, 0.2)]
    found = ranking_shares(documents, ["influence", "random"])[0]
    assert found.share.probability == pytest.approx(0.2)
    assert found.more_than_random.probability == pytest.approx(0.05)
    low, high = found.more_than_random.probability_interval
    # Half-width t(0.975, ν) · s with s² = 0.01/3 + 0.01/12, ν = s⁴ / ((0.01/3)²/2 + (0.01/12)²·(4/4)/3).
    assert (low + high) / 2 == pytest.approx(0.05)
    variances = np.array([0.01 / 3, (0.01 / 3) / 4])
    freedom = variances.sum() ** 2 / (variances**2 / np.array([2, 3])).sum()
    from scipy.stats import t

    assert high - low == pytest.approx(2 * t.ppf(0.975, freedom) * variances.sum() ** 0.5)


def test_a_judge_that_always_says_the_same_is_named() -> None:
    documents = [judged(verdict(True, number % 2 == 0)) for number in range(40)]
    assert one_sided(documents) == ["educational"]
    assert one_sided([judged(verdict(None))]) == []
