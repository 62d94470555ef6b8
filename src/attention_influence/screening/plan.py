"""What screening does with each domain: a prediction and a cut, or nothing, with the reason.

A plan follows from the sample and its exact scores alone. It is one file beside the scores, and part of what makes two
runs the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import StoreError
from attention_influence.screening.array_files import arrays_from_bytes, arrays_to_bytes
from attention_influence.screening.guarantee import Promise, choose_cut, interval, smallest_sample
from attention_influence.screening.predictor import Predictor, fit_predictor, predictor_from_arrays
from attention_influence.screening.sample import Sample
from attention_influence.shares import count_in

SCREENED_OUT = "screened_out"
"""The reason of rows that the model did not see."""

LEAST_SAVED = 0.1
"""Share of the tokens; below it a domain is scored in full."""


@dataclass(frozen=True)
class Calibration:
    """Documents of one domain that were drawn and scored; those with a finite influence."""

    contents: Sequence[bytes]
    influence: NDArray[np.float64]
    tokens: NDArray[np.int64]
    ties: NDArray[np.uint64]
    """Which of equal influence comes first: the lowest."""
    fits: NDArray[np.bool_]
    """Which fit the prediction; the others choose the cut."""


@dataclass(frozen=True)
class DomainPlan:
    """What is done with one domain, and what the documents that chose the cut say of it."""

    documents: int
    fitted: int = 0
    """Documents of the sample that the prediction was fitted to …"""
    chose: int = 0
    """… and those that chose the cut, of which all below are."""
    cut: float | None = None
    """Documents with a lower prediction are not scored; None where all are."""
    refused: str | None = None
    """Why all are."""
    spearman: float | None = None
    """Of prediction and influence."""
    recall: float | None = None
    """Share of their own top with a prediction at or above the cut: an estimate, not the bound."""
    recall_interval: tuple[float, float] | None = None
    """Clopper-Pearson, 95%, as if the cut had been chosen elsewhere."""
    saved_documents: float | None = None
    saved_tokens: float | None = None
    """Shares below the cut."""


@dataclass(frozen=True)
class ScreeningPlan:
    """A plan for every domain that has documents."""

    promise: Promise
    sample: Sample
    domains: Mapping[str, DomainPlan]
    predictors: Mapping[str, Predictor]
    """Of the domains with a cut."""

    def predict(self, domains: Sequence[str], contents: Sequence[bytes]) -> NDArray[np.float64]:
        """The influence that is expected of each text, NaN in domains without a cut."""
        predicted = np.full(len(contents), np.nan)
        of_domain: dict[str, list[int]] = {}
        for at, domain in enumerate(domains):
            of_domain.setdefault(domain, []).append(at)
        for domain, places in of_domain.items():
            if (predictor := self.predictors.get(domain)) is not None:
                predicted[places] = predictor.predict([contents[at] for at in places])
        return predicted

    def is_kept(self, domain: str, predicted: float) -> bool:
        """Whether a document is scored exactly."""
        plan = self.domains.get(domain)
        return plan is None or plan.cut is None or not predicted < plan.cut

    def to_bytes(self) -> bytes:
        """One file; equal plans give equal bytes."""
        names = sorted(self.predictors)
        arrays = {
            f"{number}/{name}": values
            for number, domain in enumerate(names)
            for name, values in self.predictors[domain].to_arrays().items()
        }
        record = {
            "promise": asdict(self.promise),
            "sample": asdict(self.sample),
            "domains": {name: asdict(plan) for name, plan in self.domains.items()},
            "predictors": names,
        }
        return arrays_to_bytes(arrays, record)


def plan_from_bytes(content: bytes, where: str) -> ScreeningPlan:
    """What `to_bytes` wrote. Raises StoreError, naming `where`, for anything else."""
    arrays, record = arrays_from_bytes(content, where)

    def arrays_of(number: int) -> dict[str, NDArray[Any]]:
        start = f"{number}/"
        return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}

    try:
        return ScreeningPlan(
            Promise(**record["promise"]),
            Sample(**record["sample"]),
            {name: DomainPlan(**of_domain) for name, of_domain in record["domains"].items()},
            {name: predictor_from_arrays(arrays_of(number)) for number, name in enumerate(record["predictors"])},
        )
    except (KeyError, TypeError) as error:
        raise StoreError(f"{where} is no plan of screening ({error})") from error


def plan_screening(promise: Promise, sample: Sample, calibrations: Mapping[str, Calibration]) -> ScreeningPlan:
    """The plan that follows from what was scored of the sample."""
    domains: dict[str, DomainPlan] = {}
    predictors: dict[str, Predictor] = {}
    for name, documents in sorted(sample.documents.items()):
        if (calibration := calibrations.get(name)) is None:
            domains[name] = DomainPlan(documents, refused=f"its {documents:,} documents are too few for a sample")
            continue
        domains[name], predictor = _plan_domain(promise, documents, calibration)
        if predictor is not None:
            predictors[name] = predictor
    return ScreeningPlan(promise, sample, domains, predictors)


def _plan_domain(promise: Promise, documents: int, of: Calibration) -> tuple[DomainPlan, Predictor | None]:
    from scipy.stats import spearmanr  # takes a second, and most runs plan nothing

    fitted, chose = np.flatnonzero(of.fits), np.flatnonzero(~of.fits)
    bare = DomainPlan(documents, len(fitted), len(chose))
    predictor = fit_predictor([of.contents[int(at)] for at in fitted], of.influence[fitted])
    if predictor is None or len(chose) < (needed := smallest_sample(promise)):
        why = (
            f"{len(fitted):,} scored documents are too few to fit a prediction"
            if predictor is None
            else f"{len(chose):,} scored documents are too few to choose a cut: {needed:,} are needed"
        )
        return replace(bare, refused=f"{why}; raise --calibration"), None
    first = chose[np.lexsort((of.ties[chose], -of.influence[chose]))]
    predicted = predictor.predict([of.contents[int(at)] for at in first])
    cut = choose_cut(predicted, promise)
    assert cut is not None
    top = count_in(promise.top, len(first))
    kept, saved = int((predicted[:top] >= cut).sum()), predicted < cut
    saved_tokens = float(of.tokens[first][saved].sum() / of.tokens[first].sum())
    plan = replace(
        bare,
        cut=cut,
        spearman=float(spearmanr(predicted, of.influence[first]).statistic),
        recall=kept / top,
        recall_interval=interval(kept, top, 0.95),
        saved_documents=float(saved.mean()),
        saved_tokens=saved_tokens,
    )
    if saved_tokens < LEAST_SAVED:
        why = f"it would save only {saved_tokens:.0%} of the tokens that are left"
        return replace(plan, cut=None, refused=why), None
    return plan, predictor
