"""What results show, against scipy, published examples and simulated experiments."""

import json

import numpy as np
import pytest
from scipy import stats

from attention_influence.experiment.analysis import analyse, holm
from attention_influence.storage.atomic_files import write_json

CORPUS = [1.02, 0.98, 1.05, 1.00, 0.97]
SELECTED = [0.93, 0.91, 0.98, 0.89, 0.92]
RANDOM = [1.01, 0.99, 1.04, 0.98, 0.99]
ARMS = ("corpus", "random", "selected")


def metric(name: str, value: float, lower: bool = True) -> dict[str, object]:
    return {"name": name, "value": value, "unit": "nats/token", "lower_is_better": lower}


def results(**arms: list[float]) -> list[dict[str, object]]:
    return [
        {"arm": arm, "seed": seed, "metrics": [metric("probe loss", value)]}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def difference(found, arm: str, baseline: str, name: str = "probe loss"):
    return next(d for d in found["differences"] if (d["arm"], d["baseline"], d["metric"]) == (arm, baseline, name))


def test_differences_are_paired_by_seed_with_the_t_interval_of_scipy() -> None:
    shuffled = results(corpus=CORPUS, random=RANDOM, selected=SELECTED)[::-1]
    one = difference(analyse(shuffled, ARMS, range(5)), "selected", "random")
    expected = stats.ttest_rel(SELECTED, RANDOM)
    assert one["interval"] == pytest.approx(tuple(expected.confidence_interval()))
    assert one["p"] == one["p_corrected"] == pytest.approx(expected.pvalue)
    assert one["mean"] == pytest.approx(np.mean(SELECTED) - np.mean(RANDOM))
    assert (one["seeds"], one["method"], one["verdict"]) == (5, "t", "better")


def test_a_mean_has_the_t_interval_over_its_seeds() -> None:
    found = analyse(results(corpus=CORPUS), ["corpus"], range(5))
    mean = found["means"][0]
    half = stats.t.ppf(0.975, 4) * np.std(CORPUS, ddof=1) / 5**0.5
    assert mean["interval"] == pytest.approx((np.mean(CORPUS) - half, np.mean(CORPUS) + half))
    assert mean["deviation"] == pytest.approx(np.std(CORPUS, ddof=1))
    assert found["differences"] == []
    assert "there is no arm 'random', so nothing is compared with it" in found["notes"]


def test_two_baselines_are_compared_with_each_other_once_unless_the_planted_effect_is_the_other_way_round() -> None:
    given = results(corpus=CORPUS, random=RANDOM, selected=SELECTED)
    pairs = [("random", "corpus"), ("selected", "corpus"), ("selected", "random")]
    assert [(d["arm"], d["baseline"]) for d in analyse(given, ARMS, range(5))["differences"]] == pairs
    planted = {"arm": "corpus", "baseline": "random", "metric": "probe loss"}
    found = analyse(given, ARMS, range(5), planted=planted)
    assert [(d["arm"], d["baseline"]) for d in found["differences"]] == [*pairs[:2], ("corpus", "random"), pairs[2]]
    assert found["planted"]["interval"] is not None


def test_verdicts_go_by_what_is_better_and_are_reversed_where_more_is_better() -> None:
    found = analyse(results(corpus=SELECTED, random=RANDOM, selected=CORPUS), ARMS, range(5))
    assert difference(found, "selected", "corpus")["verdict"] == "worse"
    assert difference(found, "selected", "random")["verdict"] == "no difference shown"
    more = [
        {"arm": arm, "seed": seed, "metrics": [metric("accuracy", value, lower=False)]}
        for arm, values in (("corpus", CORPUS), ("selected", SELECTED))
        for seed, value in enumerate(values)
    ]
    assert difference(analyse(more, ARMS, range(5)), "selected", "corpus", "accuracy")["verdict"] == "worse"


def test_ten_seeds_have_a_bootstrap_interval_and_fewer_a_wider_one() -> None:
    rng = np.random.default_rng(0)
    many = analyse(results(corpus=rng.normal(1, 0.1, 10).tolist()), ["corpus"], range(10))["means"][0]
    assert many["method"] == "bootstrap"
    low, high = many["interval"]
    half = 1.96 * many["deviation"] * (9 / 10) ** 0.5 / 10**0.5
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_intervals_of_three_seeds_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        of_seeds = rng.normal(0, 1, 3)
        arms = {name: (rng.normal(0, 0.1, 3) + of_seeds).tolist() for name in ("corpus", "selected")}
        low, high = difference(analyse(results(**arms), ARMS, range(3)), "selected", "corpus")["interval"]
        covered.append(low <= 0 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_holm_is_that_of_the_literature() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm"); and Wikipedia's example of the method.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_of_many_metrics_without_an_effect_hardly_any_experiment_calls_one_better() -> None:
    rng = np.random.default_rng(2)

    def experiment() -> bool:
        runs = [
            {
                "arm": arm,
                "seed": seed,
                "metrics": [metric(f"m{i}", value) for i, value in enumerate(rng.normal(size=20))],
            }
            for arm in ("corpus", "selected")
            for seed in range(5)
        ]
        found = analyse(runs, ("corpus", "selected"), range(5), ("corpus",))["differences"]
        uncorrected.append(any(one["p"] < 0.05 for one in found))
        return any(one["verdict"] != "no difference shown" for one in found)

    uncorrected: list[bool] = []
    wrong = np.mean([experiment() for _ in range(30)])
    assert wrong <= 0.2  # 0.05 is meant
    assert np.mean(uncorrected) > 0.5


def test_missing_runs_are_named_and_only_seeds_of_both_arms_are_paired() -> None:
    runs = [*results(corpus=CORPUS, selected=SELECTED[:3]), {"arm": "old", "seed": 0, "metrics": []}]
    found = analyse(runs, ("corpus", "selected"), range(5), ("corpus",))
    assert found["missing"] == [["selected", 3], ["selected", 4]]
    one = difference(found, "selected", "corpus")
    assert one["seeds"] == 3
    assert one["interval"] == pytest.approx(tuple(stats.ttest_rel(SELECTED[:3], CORPUS[:3]).confidence_interval()))
    assert "with 3 seeds, intervals are Student's t" in " ".join(found["notes"])


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [1.5, 1.5, 1.5], [1.5, 1.5 + 1e-15, 1.5]])
def test_what_has_no_spread_has_no_interval_and_shows_nothing(values: list[float]) -> None:
    found = analyse(results(corpus=[0.5] * len(values), selected=values), ("corpus", "selected"), range(3), ("corpus",))
    one = difference(found, "selected", "corpus")
    assert (one["interval"], one["p"], one["verdict"]) == (None, None, "no difference shown")


def test_a_run_that_diverged_is_named_and_left_out(tmp_path) -> None:
    runs = results(corpus=CORPUS, selected=[float("nan"), *SELECTED[1:4]])
    runs.append({"arm": "selected", "seed": 4, "metrics": [metric("probe loss", None)]})
    found = analyse(runs, ("corpus", "selected"), range(5), ("corpus",))
    assert difference(found, "selected", "corpus")["seeds"] == 3
    assert "probe loss of arm selected, seed 0, is not a number: left out" in found["notes"]
    write_json(str(tmp_path / "experiment.json"), found)
    assert json.loads((tmp_path / "experiment.json").read_text())["missing"] == []


PLANTED = {"arm": "selected", "baseline": "random", "metric": "probe loss"}


def test_a_planted_effect_is_found() -> None:
    planted = analyse(results(random=RANDOM, selected=SELECTED), ARMS, range(5), planted=PLANTED)["planted"]
    assert planted["found"] is True
    assert planted["interval"][1] < 0
    assert planted["sentence"].startswith(
        "planted effect found: probe loss, selected minus random: −0.076 nats/token, 95% interval −0.090 to −0.062"
    )


@pytest.mark.parametrize("selected", [CORPUS, [1.2, 1.21, 1.22, 1.2, 1.21]])
def test_a_planted_effect_that_is_missed_or_reversed_makes_the_experiment_prove_nothing(selected) -> None:
    planted = analyse(results(random=RANDOM, selected=selected), ARMS, range(5), planted=PLANTED)["planted"]
    assert planted["found"] is False
    assert planted["sentence"].startswith("planted effect missed: ")
    assert planted["sentence"].endswith("what this experiment does not find proves nothing")


def test_whether_a_planted_effect_is_found_is_not_known_of_one_seed() -> None:
    planted = analyse(results(random=RANDOM[:1], selected=SELECTED), ARMS, range(5), planted=PLANTED)["planted"]
    assert planted["found"] is None
    assert "needs at least two whole seeds" in planted["sentence"]


def test_curves_are_means_over_runs_at_tokens_that_all_have_reached() -> None:
    losses = {
        ("corpus", 0): [(0, 4.0), (100, 2.0)],
        ("corpus", 1): [(0, 6.0), (50, 4.0), (200, 1.0)],
        ("selected", 0): [],
    }
    corpus, selected = analyse([], ("corpus", "selected"), range(2), losses=losses)["curves"]
    assert (corpus["runs"], corpus["tokens"][0], corpus["tokens"][-1]) == (2, 0, 100)
    assert (corpus["mean"][0], corpus["low"][0], corpus["high"][0]) == (5.0, 4.0, 6.0)
    assert (corpus["low"][-1], corpus["high"][-1]) == (2.0, pytest.approx(3.0))
    assert selected == {"arm": "selected", "runs": 0, "tokens": [], "mean": [], "low": [], "high": []}
