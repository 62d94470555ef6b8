"""What the results of arms and seeds show: means, differences paired by seed, and what may not be concluded.

All arms share what a seed decides (initial weights, order), so arms are compared seed by seed. With fewer than 10 seeds
a percentile bootstrap is too narrow (of 3 seeds it covers the true mean about 75% of the time), so intervals are
Student's t then. p is always that of the paired t-test, and is corrected for the number of metrics by Holm's method
within each pair of arms.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from attention_influence.evidence.statistics import Interval, mean_interval

BASELINES = ("corpus", "random")
"""The questions: better than the corpus alone, and better than as many random extra tokens?"""
BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"
_ALPHA = 0.05
_FEWEST_TO_RESAMPLE = 10
_SAME = 1e-9
"""Values are equal where they differ by less, as a share of the largest: by rounding alone."""
_CURVE_POINTS = 50

Losses = Sequence[tuple[int, float]]
"""(tokens, loss) of a run, tokens ascending."""


@dataclass(frozen=True)
class Mean:
    """A metric of an arm over its seeds."""

    metric: str
    unit: str
    lower_is_better: bool
    arm: str
    seeds: int
    mean: float
    deviation: float | None
    """Standard deviation over seeds."""
    interval: Interval
    """95%, of the mean."""
    method: str | None
    """Of the interval: "t" or "bootstrap"."""


@dataclass(frozen=True)
class Difference:
    """A metric of an arm minus that of a baseline, paired by seed."""

    metric: str
    unit: str
    lower_is_better: bool
    arm: str
    baseline: str
    seeds: int
    """That both arms have."""
    mean: float
    interval: Interval
    """95%, not corrected for the number of metrics."""
    method: str | None
    p: float | None
    """None where all differences are equal, or there are fewer than two."""
    p_corrected: float | None
    verdict: str
    """By the corrected p."""


def analyse(
    results: Sequence[Mapping[str, Any]],
    arms: Sequence[str],
    seeds: Sequence[int],
    baselines: Sequence[str] = BASELINES,
    seed: int = 0,
    planted: Mapping[str, str] | None = None,
    losses: Mapping[tuple[str, int], Losses] | None = None,
) -> dict[str, Any]:
    """What experiment.json holds, out of the records of whole runs (`result.json`).

    `planted` names an effect that is there by construction, {"arm", "baseline", "metric"}: what follows from finding
    or missing it is said. `losses` are the training losses of runs, for curves. `seed` is that of resampling.
    """
    whole = {(one["arm"], one["seed"]): one for one in results if one["arm"] in arms and one["seed"] in seeds}
    kinds = {m["name"]: m for one in whole.values() for m in one["metrics"]}
    values: dict[tuple[str, str], dict[int, float]] = {}
    notes = []
    for (arm, number), one in whole.items():
        for metric in one["metrics"]:
            if metric["value"] is None or not math.isfinite(metric["value"]):
                notes.append(f"{metric['name']} of arm {arm}, seed {number}, is not a number: left out")
            else:
                values.setdefault((arm, metric["name"]), {})[number] = metric["value"]
    means = [
        _mean(kind, arm, list(values[arm, name].values()), seed)
        for name, kind in kinds.items()
        for arm in arms
        if (arm, name) in values
    ]
    differences: list[Difference] = []
    pairs = [(arm, baseline) for baseline in baselines if baseline in arms for arm in arms if arm != baseline]
    for number, pair in enumerate(pairs):
        if pair[::-1] not in pairs[:number] or (planted and pair == (planted["arm"], planted["baseline"])):
            differences += _compare(*pair, kinds, values, seed)
    missing = [[arm, number] for arm in arms for number in seeds if (arm, number) not in whole]
    notes += [
        f"there is no arm {name!r}, so nothing is compared with it" for name in baselines if name not in arms
    ] + _few_seeds(differences)
    found: dict[str, Any] = {
        "arms": list(arms),
        "seeds": list(seeds),
        "whole": [list(run) for run in whole],
        "missing": missing,
        "means": [asdict(one) for one in means],
        "differences": [asdict(one) for one in differences],
        "curves": [_curve(arm, [of for (its, _), of in (losses or {}).items() if its == arm]) for arm in arms],
        "notes": notes,
    }
    if planted is not None:
        found["planted"] = planted_effect(differences, **planted)
    return found


def planted_effect(differences: Sequence[Difference], arm: str, baseline: str, metric: str) -> dict[str, Any]:
    """Whether an effect that is there by construction was found: its 95% interval lies on the better side of 0."""
    about = {"arm": arm, "baseline": baseline, "metric": metric}
    one = next((d for d in differences if (d.arm, d.baseline, d.metric) == (arm, baseline, metric)), None)
    if one is None or one.interval is None:
        return about | {
            "found": None,
            "sentence": f"planted effect not known: {metric} of {arm} and {baseline} needs at least two whole seeds",
        }
    low, high = one.interval
    found = high < 0 if one.lower_is_better else low > 0
    figures = (
        f"{metric}, {arm} minus {baseline}: {_signed(one.mean)} {one.unit}, 95% interval {_signed(low)} to "
        f"{_signed(high)}, {one.seeds} seeds"
    )
    sentence = f"planted effect {'found' if found else 'missed'}: {figures}"
    if not found:
        sentence += ". It is in the data, so what this experiment does not find proves nothing"
    return about | {"found": found, "mean": one.mean, "interval": [low, high], "sentence": sentence}


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's step-down method (Holm 1979), in their order."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def _mean(kind: Mapping[str, Any], arm: str, values: Sequence[float], seed: int) -> Mean:
    interval, method, _ = _uncertainty(values, seed)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Mean(*_named(kind), arm, len(values), float(np.mean(values)), deviation, interval, method)


def _compare(
    arm: str,
    baseline: str,
    kinds: Mapping[str, Mapping[str, Any]],
    values: Mapping[tuple[str, str], Mapping[int, float]],
    seed: int,
) -> list[Difference]:
    pairs: dict[str, list[float]] = {}
    for name in kinds:
        ours, theirs = values.get((arm, name), {}), values.get((baseline, name), {})
        if shared := sorted(set(ours) & set(theirs)):
            pairs[name] = [ours[number] - theirs[number] for number in shared]
    uncertain = {name: _uncertainty(of, seed) for name, of in pairs.items()}
    p_values = {name: p for name, (_, _, p) in uncertain.items() if p is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    found = []
    for name, of in pairs.items():
        mean = float(np.mean(of))
        verdict = NOT_SHOWN
        if corrected.get(name, 1.0) < _ALPHA:
            verdict = BETTER if (mean < 0) == kinds[name]["lower_is_better"] else WORSE
        found.append(
            Difference(
                *_named(kinds[name]), arm, baseline, len(of), mean, *uncertain[name], corrected.get(name), verdict
            )
        )
    return found


def _named(kind: Mapping[str, Any]) -> tuple[str, str, bool]:
    return kind["name"], kind["unit"], kind["lower_is_better"]


def _uncertainty(values: Sequence[float], seed: int) -> tuple[Interval, str | None, float | None]:
    """The 95% interval of the mean, its method, and p that the mean is 0; None for fewer than two different values."""
    if len(values) < 2 or np.ptp(values) <= _SAME * np.max(np.abs(values)):
        return None, None, None
    by_t = ttest_1samp(values, 0.0)
    if len(values) >= _FEWEST_TO_RESAMPLE:
        return mean_interval(values, seed), "bootstrap", float(by_t.pvalue)
    interval = by_t.confidence_interval(1 - _ALPHA)
    return (float(interval.low), float(interval.high)), "t", float(by_t.pvalue)


def _few_seeds(differences: Sequence[Difference]) -> list[str]:
    fewest = min((one.seeds for one in differences), default=0)
    if not differences or fewest >= _FEWEST_TO_RESAMPLE:
        return []
    if fewest < 2:
        return ["some arms share fewer than two whole seeds with a baseline: nothing can be said of their differences"]
    return [
        f"with {fewest} seeds, intervals are Student's t: they are wide, because {fewest} runs tell little about how "
        "much seeds vary"
    ]


def _curve(arm: str, runs: Sequence[Losses]) -> dict[str, Any]:
    """The mean training loss over runs, and its range, at numbers of tokens that all of them reached."""
    runs = [run for run in runs if run]
    if not runs:
        return {"arm": arm, "runs": 0, "tokens": [], "mean": [], "low": [], "high": []}
    first, last = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
    tokens = np.linspace(first, max(first, last), _CURVE_POINTS)
    losses = np.array([np.interp(tokens, [at for at, _ in run], [loss for _, loss in run]) for run in runs])
    sides = {"mean": losses.mean(0), "low": losses.min(0), "high": losses.max(0)}
    return {
        "arm": arm,
        "runs": len(runs),
        "tokens": [round(at) for at in tokens],
        **{k: v.tolist() for k, v in sides.items()},
    }


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
