"""The section on training: whether networks trained on what a ranking picks do better, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from attention_influence.experiment.analysis import BETTER, NOT_SHOWN, WORSE
from attention_influence.report.figures.plots import curves_svg
from attention_influence.report.visible import label
from attention_influence.store.reader import ScoreStore

MOST_METRICS = 40
_ARM_CHARACTERS = 30  # in a legend


@dataclass(frozen=True)
class MetricRow:
    """One metric of all arms."""

    name: str
    unit: str
    means: Sequence[Mapping[str, Any] | None]
    """By arm, as `experiment` writes them."""


@dataclass(frozen=True)
class Comparison:
    """All arms against one of them."""

    baseline: str
    rows: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    """Of verdicts."""


@dataclass(frozen=True)
class Training:
    """Without a record, nothing is known."""

    record: Mapping[str, Any] | None
    """As `experiment` writes it."""
    of_other_scores: bool
    """Whether it ranked by a store of another fingerprint than this one."""
    metrics: tuple[MetricRow, ...]
    comparisons: tuple[Comparison, ...]
    left_out: int
    """Metrics that are not shown."""
    curves: Markup | None


def training_section(record: Mapping[str, Any] | None, store: ScoreStore) -> Training:
    """The section, beside the scores of a store."""
    if record is None:
        return Training(None, False, (), (), 0, None)
    names = list(dict.fromkeys(one["metric"] for one in record["means"]))
    shown = names[:MOST_METRICS]
    scores = (record.get("plan") or {}).get("identity", {}).get("store") or {}
    fingerprint = scores.get("fingerprint")
    return Training(
        record,
        fingerprint is not None and fingerprint != store.run.get("fingerprint"),
        tuple(_metric(name, record) for name in shown),
        tuple(
            _comparison(baseline, [one for one in record["differences"] if one["metric"] in set(shown)])
            for baseline in dict.fromkeys(one["baseline"] for one in record["differences"])
        ),
        len(names) - len(shown),
        _curves(record),
    )


def _metric(name: str, record: Mapping[str, Any]) -> MetricRow:
    of_arm = {one["arm"]: one for one in record["means"] if one["metric"] == name}
    unit = next(iter(of_arm.values()))["unit"]
    return MetricRow(name, unit, [of_arm.get(arm) for arm in record["arms"]])


def _comparison(baseline: str, differences: Sequence[Mapping[str, Any]]) -> Comparison:
    rows = [one for one in differences if one["baseline"] == baseline]
    verdicts = [one["verdict"] for one in rows]
    return Comparison(baseline, rows, {name: verdicts.count(name) for name in (BETTER, WORSE, NOT_SHOWN)})


def _curves(record: Mapping[str, Any]) -> Markup | None:
    drawn = [one for one in record["curves"] if one["runs"]]
    return (
        Markup(curves_svg({label(one["arm"])[:_ARM_CHARACTERS]: (one["tokens"], one["mean"]) for one in drawn}))
        if drawn
        else None
    )
