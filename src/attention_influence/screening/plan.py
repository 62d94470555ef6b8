"""What screening does with each domain: a prediction and a cut, or nothing, with the reason.

A provisional plan follows from the sample and its exact scores alone, the final one also from the scores of what lies
above the provisional cut. Each is one file beside the scores, and part of what makes two runs the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import StoreError
from attention_influence.rank_correlation import spearman
from attention_influence.screening.array_files import arrays_from_bytes, arrays_to_bytes
from attention_influence.screening.features import Text
from attention_influence.screening.guarantee import (
    HigherCounts,
    Promise,
    Sizes,
    final_cut,
    interval,
    provisional_cut,
    smallest_sample,
)
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

    texts: Sequence[Text]
    influence: NDArray[np.float64]
    tokens: NDArray[np.int64]
    fits: NDArray[np.bool_]
    """Which fit the prediction; the others choose the cut."""

    def fitted(self) -> tuple[list[Text], NDArray[np.float64]]:
        """Texts and influence of those that fit the prediction."""
        return self._part(self.fits)

    def chose(self) -> tuple[list[Text], NDArray[np.float64]]:
        """Texts and influence of those that choose the cut."""
        return self._part(~self.fits)

    def _part(self, which: NDArray[np.bool_]) -> tuple[list[Text], NDArray[np.float64]]:
        return list(compress(self.texts, which)), self.influence[which]


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
    """Share of the domain's top that is scored, the sample included: an estimate from their own top, not the bound."""
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

    def predict(self, domains: Sequence[str], texts: Sequence[Text]) -> NDArray[np.float64]:
        """The influence that is expected of each text, NaN in domains without a cut."""
        predicted = np.full(len(texts), np.nan)
        of_domain: dict[str, list[int]] = {}
        for at, domain in enumerate(domains):
            of_domain.setdefault(domain, []).append(at)
        for domain, places in of_domain.items():
            if (predictor := self.predictors.get(domain)) is not None:
                predicted[places] = predictor.predict([texts[at] for at in places])
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


def provisional_plan(promise: Promise, sample: Sample, calibrations: Mapping[str, Calibration]) -> ScreeningPlan:
    """The plan by which documents are scored after the sample: its cuts are where the final ones are expected."""
    domains: dict[str, DomainPlan] = {}
    predictors: dict[str, Predictor] = {}
    for name, documents in sorted(sample.documents.items()):
        if (calibration := calibrations.get(name)) is None:
            domains[name] = DomainPlan(documents, refused=f"its {documents:,} documents are too few for a sample")
            continue
        domains[name], predictor = _begin_domain(promise, documents, calibration)
        if predictor is not None:
            predictors[name] = predictor
    return ScreeningPlan(promise, sample, domains, predictors)


def final_plan(
    provisional: ScreeningPlan,
    calibrations: Mapping[str, Calibration],
    scored: Iterable[tuple[str, NDArray[np.float64]]],
) -> ScreeningPlan:
    """The plan whose cuts hold. `scored`: domain and finite influence of all that is scored by the provisional one, the
    sample included, in any number of pieces."""
    chose = {name: calibrations[name].chose() for name in provisional.predictors}
    higher = {name: HigherCounts(influence) for name, (_, influence) in chose.items()}
    for name, influence in scored:
        if name in higher:
            higher[name].add(influence)
    domains, predictors = dict(provisional.domains), dict(provisional.predictors)
    for name, (texts, _) in chose.items():
        plan = provisional.domains[name]
        assert plan.cut is not None
        predicted = predictors[name].predict(texts)
        misses = Sizes(plan.documents, plan.fitted, plan.chose).misses(provisional.promise)
        assert misses is not None
        must_find = provisional.promise.must_find(plan.documents)
        cut = final_cut(plan.cut, predicted, higher[name].counts(), misses, must_find)
        domains[name] = _judged(plan, provisional.promise, calibrations[name], predicted, cut)
        if domains[name].cut is None:
            del predictors[name]
    return ScreeningPlan(provisional.promise, provisional.sample, domains, predictors)


def _begin_domain(promise: Promise, documents: int, of: Calibration) -> tuple[DomainPlan, Predictor | None]:
    (fits, of_fits), (chose, of_chose) = of.fitted(), of.chose()
    bare = DomainPlan(documents, len(fits), len(chose))
    if (predictor := fit_predictor(fits, of_fits)) is None:
        why = f"{len(fits):,} scored documents are too few to fit a prediction; raise --calibration"
        return replace(bare, refused=why), None
    if (misses := Sizes(documents, len(fits), len(chose)).misses(promise)) is None:
        needed = smallest_sample(documents, len(fits), promise)
        why = f"{len(chose):,} scored documents are too few to choose a cut: {needed:,} are needed; raise --calibration"
        return replace(bare, refused=why), None
    predicted = predictor.predict(chose)
    cut = provisional_cut(predicted[np.argsort(-of_chose, kind="stable")], misses, promise)
    plan = _judged(bare, promise, of, predicted, cut)
    return plan, None if plan.cut is None else predictor


def _judged(
    plan: DomainPlan, promise: Promise, of: Calibration, predicted: NDArray[np.float64], cut: float
) -> DomainPlan:
    """What the documents that chose a cut, in order, say of it; refused where it spares too little."""
    influence, tokens = of.influence[~of.fits], of.tokens[~of.fits]
    top = np.argsort(-influence, kind="stable")[: count_in(promise.top, len(influence))]
    lost, saved = int((predicted[top] < cut).sum()), predicted < cut
    outside = 1 - (plan.fitted + plan.chose) / plan.documents
    low, high = interval(lost, len(top), 0.95)
    saved_tokens = float(tokens[saved].sum() / tokens.sum())
    refused = saved_tokens < LEAST_SAVED
    return replace(
        plan,
        cut=None if refused else cut,
        refused=f"it would save only {saved_tokens:.0%} of the tokens that are left" if refused else None,
        spearman=spearman(predicted, influence),
        recall=1 - outside * lost / len(top),
        recall_interval=(1 - outside * high, 1 - outside * low),
        saved_documents=float(saved.mean()),
        saved_tokens=saved_tokens,
    )
