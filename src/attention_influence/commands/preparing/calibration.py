"""What `score --screen` does first: it scores a sample, then all above a provisional cut, which tells the final one."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from attention_influence.config import ScoreConfig, ScreenOptions
from attention_influence.corpus import Columns, Listing
from attention_influence.errors import StoreError, UsageError
from attention_influence.progress import stage
from attention_influence.scoring.screened import Screened
from attention_influence.screening.features import in_tokens
from attention_influence.screening.guarantee import Promise
from attention_influence.screening.plan import Calibration, final_plan, plan_from_bytes, provisional_plan
from attention_influence.screening.sample import Sample, draw_sample, sampled_texts
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.failures import forget_failures, quarantined, read_failures
from attention_influence.store.plan import Unit
from attention_influence.store.reader import open_store, read_scores
from attention_influence.store.row_hashes import coded
from attention_influence.store.run import RunStore, open_run
from attention_influence.store.screening_file import (
    calibration_url,
    first_plan,
    provisional_plan_url,
    provisional_url,
    screening_url,
)
from attention_influence.store.unigrams import Unigrams, digest

_log = logging.getLogger(__name__)

# Between looks at units that other workers hold (seconds).
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
    score: Callable[[RunStore, Sample | Screened], None],
    tokens_of: Callable[[Sequence[str]], Sequence[Sequence[int]]],
) -> tuple[Screened, str, RunStore]:
    """The plan of a run, its digest, and the store of the sample's scores, whose units the run has as well.

    The sample is scored by `score`, and then what lies above a provisional cut; it returns when no unit is left that it
    could do. Any number of workers may do this at once, and each plan is that of the first that comes so far. Raises
    StoreError where a unit cannot be scored.
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
    settings = settings_of(config) or {}

    def begun(url: str, screening: Mapping[str, Any], count: Callable[[], Unigrams]) -> RunStore:
        fingerprint = {**record["fingerprint"], "screening": dict(screening)}
        of_store = {**record, "fingerprint": fingerprint, "sample": asdict(sample)}
        return begin_or_resume(url, listing, 1, of_store, Changes(), count, lambda *_: units)

    store = begun(url, settings, count)
    _score_all(config, store, lambda: score(store, sample))

    @cache
    def calibrations() -> dict[str, Calibration]:
        return _calibrations(store, sample, columns, tokens_of)

    def provisionally() -> bytes:
        with stage("choosing what the model must see"):
            return provisional_plan(check_screening(config), sample, calibrations()).to_bytes()

    content = first_plan(provisional_plan_url(config.out), provisionally)
    screened = Screened(plan_from_bytes(content, provisional_plan_url(config.out)), store.scores, provisional=True)
    above = store
    if screened.plan.predictors:
        unigrams = store.unigrams()
        assert unigrams is not None
        above = begun(provisional_url(config.out), {**settings, "provisional_plan": digest(content)}, lambda: unigrams)
        _score_all(config, above, lambda: score(above, screened))

    def finally_() -> bytes:
        with stage("checking the cut"):
            return final_plan(screened.plan, calibrations(), _influence_by_domain(above.url)).to_bytes()

    content = first_plan(screening_url(config.out), finally_)
    return Screened(plan_from_bytes(content, screening_url(config.out)), above.scores), digest(content), store


def _score_all(config: ScoreConfig, store: RunStore, score: Callable[[], None]) -> None:
    """Calls `score` until no unit is left. Raises StoreError where one cannot be scored."""
    if config.retry_failed:
        for unit in quarantined(read_failures(store.url)):
            forget_failures(store.url, unit)
    while len(store.published()) < len(store.units):
        score()
        if stuck := quarantined(read_failures(store.url)):
            name, error = next(iter(stuck.items()))
            raise StoreError(f"{store.url}: unit {name} cannot be scored ({error}). Try again with --retry-failed")
        if len(store.published()) < len(store.units):
            time.sleep(_POLL_SECONDS)  # another worker is at the last of them


def _calibrations(
    store: RunStore,
    sample: Sample,
    columns: Columns,
    tokens_of: Callable[[Sequence[str]], Sequence[Sequence[int]]],
) -> dict[str, Calibration]:
    contents = sampled_texts(store.units, columns, sample)
    scores = read_scores(store.url, ["source", "row", "domain", "influence", "n_tokens"])
    scores = scores.filter(pc.is_finite(scores["influence"]))
    rows_of_domain: dict[str, list[dict[str, Any]]] = {}
    for row in scores.to_pylist():
        rows_of_domain.setdefault(row["domain"], []).append(row)
    calibrations = {}
    for domain, rows in rows_of_domain.items():
        of_rows = [contents[row["source"], row["row"]] for row in rows]
        tokens = tokens_of([content.decode() for content in of_rows])
        calibrations[domain] = Calibration(
            [in_tokens(content, its) for content, its in zip(of_rows, tokens, strict=True)],
            np.array([row["influence"] for row in rows], dtype=np.float64),
            np.array([row["n_tokens"] for row in rows]),
            np.array([sample.fits(domain, row["source"], row["row"]) for row in rows], dtype=np.bool_),
        )
    return calibrations


def _influence_by_domain(store: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for batch in open_store(store).batches(["domain", "influence"]):
        rows = pa.Table.from_batches([batch]).filter(pc.is_finite(batch.column("influence")))
        names, codes = coded(rows["domain"])
        influence = rows["influence"].to_numpy().astype(np.float64)
        for number, name in enumerate(names):
            yield name, influence[codes == number]
