"""The first part of `score --screen`: a sample is scored exactly, and decides what the rest of the corpus costs."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from attention_influence.config import ScoreConfig, ScreenOptions
from attention_influence.corpus import Columns, Listing
from attention_influence.errors import StoreError, UsageError
from attention_influence.progress import stage
from attention_influence.scoring.screened import Screened
from attention_influence.screening.guarantee import Promise
from attention_influence.screening.plan import Calibration, ScreeningPlan, plan_from_bytes, plan_screening
from attention_influence.screening.sample import Sample, draw_sample, fits, sampled_texts
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.failures import forget_failures, quarantined, read_failures
from attention_influence.store.plan import Unit
from attention_influence.store.reader import read_scores
from attention_influence.store.row_hashes import tie_hashes
from attention_influence.store.run import RunStore, open_run
from attention_influence.store.screening_file import calibration_url, first_plan, screening_url
from attention_influence.store.unigrams import Unigrams, digest

_log = logging.getLogger(__name__)

# Between looks at units of the sample that other workers hold (seconds).
_POLL_SECONDS = 5.0


def promise_of(options: ScreenOptions, option: str, top: float) -> Promise:
    """What --screen must keep of the top share, which that option gives. Raises UsageError for what cannot be."""
    shares = {option: top, "keep-recall": options.keep_recall, "confidence": options.confidence}
    for name, value in shares.items():
        if not 0 < value < 1:
            raise UsageError(f"--{name} {value:g}: give a share above 0 and below 1")
    return Promise(top, options.keep_recall, options.confidence)


def check_screening(config: ScoreConfig) -> Promise:
    """What a screened run must keep. Raises UsageError for what cannot be, or is not what such a run does."""
    if config.screen and config.granularity == "step":
        raise UsageError("--screen scores some documents only, and --granularity step is for all of them: omit one")
    if config.screen and (config.extend or config.rescore_changed):
        raise UsageError(
            "--extend and --rescore-changed change the corpus that the sample was drawn from: with --screen, use a "
            "new --out"
        )
    return promise_of(config, "keep-top", config.keep_top)


def settings_of(config: ScoreConfig) -> dict[str, Any] | None:
    """What a screened run's fingerprint holds of its options; None without --screen."""
    if not config.screen:
        return None
    promise = check_screening(config)
    return {
        "keep_top": promise.top,
        "keep_recall": promise.keep_recall,
        "confidence": promise.confidence,
        "calibration": config.calibration,
    }


def screening_of(
    config: ScoreConfig,
    listing: Listing,
    columns: Columns,
    plan: Callable[[], list[Unit]],
    record: Mapping[str, Any],
    count: Callable[[], Unigrams],
    score: Callable[[RunStore, Sample], None],
) -> tuple[Screened, str, RunStore]:
    """The plan of a run, its digest, and the store of the sample's scores, whose units the run has as well.

    The sample is scored by `score`, which returns when no unit is left that it could do; any number of workers may do
    this at once, and the plan is that of the first that comes to the end. Raises StoreError where a unit of the sample
    cannot be scored.
    """
    url = calibration_url(config.out)
    began = open_run(url)
    if began is None:
        units = plan()
        sample = draw_sample(units, columns, config.calibration)
        _log.info("scoring a sample of %s documents first, into %s", f"{sample.size * len(sample.highest):,}", url)
    else:
        units = list(began.units)
        sample = Sample(**began.run["sample"])
    fingerprint = {**record["fingerprint"], "screening": settings_of(config)}
    store = begin_or_resume(
        url,
        listing,
        1,
        {**record, "fingerprint": fingerprint, "sample": asdict(sample)},
        Changes(),
        count,
        lambda *_: units,
    )
    if config.retry_failed:
        for unit in quarantined(read_failures(store.url)):
            forget_failures(store.url, unit)
    while len(store.published()) < len(store.units):
        score(store, sample)
        if stuck := quarantined(read_failures(store.url)):
            name, error = next(iter(stuck.items()))
            raise StoreError(f"{store.url}: unit {name} cannot be scored ({error}). Try again with --retry-failed")
        if len(store.published()) < len(store.units):
            time.sleep(_POLL_SECONDS)  # another worker is at the last of them
    content = first_plan(config.out, lambda: _plan(config, store, sample, columns).to_bytes())
    screened = Screened(plan_from_bytes(content, screening_url(config.out)), store.scores)
    return screened, digest(content), store


@stage("choosing what the model must see")
def _plan(config: ScoreConfig, store: RunStore, sample: Sample, columns: Columns) -> ScreeningPlan:
    texts = sampled_texts(store.units, columns, sample)
    scores = read_scores(store.url, ["source", "row", "domain", "influence", "n_tokens"])
    ties = tie_hashes(scores["source"], scores["row"].to_numpy())
    calibrations = {
        domain: _calibration(texts, scores, ties, places) for domain, places in _ranked_by_domain(scores).items()
    }
    return plan_screening(check_screening(config), sample, calibrations)


def _ranked_by_domain(scores: pa.Table) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for at, (domain, influence) in enumerate(
        zip(scores["domain"].to_pylist(), scores["influence"].to_pylist(), strict=True)
    ):
        if influence is not None and np.isfinite(influence):
            places.setdefault(domain, []).append(at)
    return places


def _calibration(
    texts: Mapping[tuple[str, int], bytes], scores: pa.Table, ties: Any, places: Sequence[int]
) -> Calibration:
    of_domain = scores.take(places)
    keys = list(zip(of_domain["source"].to_pylist(), of_domain["row"].to_pylist(), strict=True))
    return Calibration(
        [texts[key] for key in keys],
        of_domain["influence"].to_numpy().astype(np.float64),
        of_domain["n_tokens"].to_numpy(),
        ties[places],
        np.array([fits(*key) for key in keys], dtype=np.bool_),
    )
