"""The section on the score: its distribution in each domain, what correlates with it, kept against dropped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from attention_influence.evidence.statistics import Overlap
from attention_influence.rank_correlation import spearman
from attention_influence.report.figures.plots import histogram_svg
from attention_influence.report.figures.scatter import scatter_svg
from attention_influence.report.sample import Sample
from attention_influence.report.store_statistics import Domain
from attention_influence.report.visible import label
from attention_influence.selection.record import SelectionRecord

DRIVERS = {
    "n_tokens": "tokens",
    "loss_base": "base loss",
    "copy_share": "copied",
    "repeat_share": "repeated",
    "compression": "compression",
    "controlled": "controlled influence",
}
"""Statistic → what it is called; each is set against influence."""
_DRAWN = ("n_tokens", "loss_base", "copy_share", "controlled")
_COMPARED = ("influence", "n_tokens", "loss_base", "copy_share", "repeat_share", "compression")

MOST_HISTOGRAMS = 24
MOST_SCATTERED = 8
"""Domains that are drawn; of more, the largest."""


@dataclass(frozen=True)
class Distribution:
    domain: Domain
    plot: Markup | None
    """None where no document has an influence."""


@dataclass(frozen=True)
class DomainDrivers:
    """Of the sampled documents of a domain."""

    name: str
    documents: int
    correlations: tuple[float | None, ...]
    """Spearman's, of influence with each of `DRIVERS`."""
    explained: float | None
    """Share of the variance of influence that length, loss and repetition explain."""
    plots: tuple[Markup, ...]


@dataclass(frozen=True)
class Means:
    """Of one statistic, over the sampled documents."""

    statistic: str
    kept: float | None
    dropped: float | None


@dataclass(frozen=True)
class Agreed:
    """What a baseline would have kept instead, over all domains."""

    ranking: str
    top: Overlap


@dataclass(frozen=True)
class Score:
    distributions: tuple[Distribution, ...]
    left_out: int
    drivers: tuple[DomainDrivers, ...]
    names: tuple[str, ...]
    """Of the correlations."""
    means: tuple[tuple[str, tuple[Means, ...]], ...]
    """Domain → statistics."""
    agreed: tuple[Agreed, ...]
    documents: int
    is_all: bool
    is_preview: bool


def score_section(domains: Sequence[Domain], selected: SelectionRecord | None, sample: Sample) -> Score:
    """The section, out of the store's statistics by domain and the sample."""
    largest = sorted(domains, key=lambda domain: (-domain.ranked, domain.name))
    shown = sorted(largest[:MOST_HISTOGRAMS], key=lambda domain: domain.name)
    drawn = {domain.name for domain in largest[:MOST_SCATTERED]}
    parts = sample.parts()
    names = [domain.name for domain in shown if domain.name in parts]
    return Score(
        tuple(_distribution(domain, selected) for domain in shown),
        len(largest) - len(shown),
        tuple(_drivers(name, parts[name], sample, name in drawn) for name in names),
        tuple(DRIVERS.values()),
        tuple((name, tuple(_means(sample, parts[name]))) for name in names),
        tuple(_agreed(sample)),
        len(sample),
        sample.is_all,
        sample.is_preview,
    )


def _distribution(domain: Domain, selected: SelectionRecord | None) -> Distribution:
    if domain.histogram is None:
        return Distribution(domain, None)
    threshold = selected.influence_threshold(domain.name) if selected else None
    line = f", threshold {threshold:.4f}" if threshold is not None else ""
    described = f"Influence of {domain.ranked} documents of {label(domain.name)}{line}"
    histogram = domain.histogram
    return Distribution(domain, Markup(histogram_svg(histogram.edges, histogram.counts, threshold, described)))


def _drivers(name: str, part: slice, sample: Sample, is_drawn: bool) -> DomainDrivers:
    influence = sample.statistics["influence"][part]
    correlations, plots = [], []
    for statistic, called in DRIVERS.items():
        values = sample.statistics[statistic][part]
        known = np.isfinite(values)
        correlations.append(spearman(influence[known], values[known]) if known.any() else None)
        if is_drawn and statistic in _DRAWN and known.any():
            described = f"Influence against {called}, {int(known.sum())} documents of {label(name)}"
            is_log = statistic == "n_tokens"
            plots.append(
                Markup(scatter_svg(values, influence, sample.kept[part], (called, "influence"), described, is_log))
            )
    control = sample.controls.get(name)
    explained = control.explained if control and control.documents else None
    return DomainDrivers(name, len(influence), tuple(correlations), explained, tuple(plots))


def _means(sample: Sample, part: slice) -> Iterator[Means]:
    for statistic in _COMPARED:
        values, kept = sample.statistics[statistic][part], sample.kept[part]
        yield Means(statistic, *(_mean(values[side]) for side in (kept, ~kept)))


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _agreed(sample: Sample) -> Iterator[Agreed]:
    if sample.kept.any():
        for name in sample.baselines:
            yield Agreed(name, sample.agreement(name))


Choices = Mapping[str, npt.NDArray[np.bool_]]
"""Name → which sampled documents are chosen."""


def choices(sample: Sample) -> Choices:
    """What was kept, what was dropped, and what each baseline would have kept."""
    return {
        "kept": sample.kept,
        "dropped": ~sample.kept,
        **{name: sample.chosen_by(name) for name in sample.baselines},
    }
