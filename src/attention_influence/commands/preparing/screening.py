"""What `score --screen` does first: it scores a sample, then all above a provisional cut, which tells the final one."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from attention_influence.commands.preparing.calibration import calibrations_of, influence_by_domain
from attention_influence.config import ScoreConfig, ScreenOptions
from attention_influence.corpus import Columns, Listing
from attention_influence.errors import StoreError, UsageError
from attention_influence.progress import stage
from attention_influence.scoring.screened import Screened
from attention_influence.screening.guarantee import Promise
from attention_influence.screening.plan import Calibration, final_plan, plan_from_bytes, provisional_plan
from attention_influence.screening.sample import Sample, draw_sample
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.failures import forget_quarantined, quarantined, read_failures
from attention_influence.store.plan import Unit
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


def check_begun_so(config: ScoreConfig, began_as: Mapping[str, Any] | None) -> None:
    """Raises StoreError when the store was begun with other options of screening, as its fingerprint has them."""
    settings = settings_of(config)
    if began_as != (settings and {**settings, "plan": (began_as or {}).get("plan")}):
        raise StoreError(
            f"{config.out} was begun {_given(began_as)}, and is now to be resumed {_given(settings)}. Give the same, "
            "or a new --out"
        )


def _given(settings: Mapping[str, Any] | None) -> str:
    if settings is None:
        return "without --screen"
    return "with --screen " + " ".join(
        f"--{name.replace('_', '-')} {value:g}" for name, value in settings.items() if name != "plan"
    )


@dataclass(frozen=True)
class Screening:
    """The parts of a screened run that come before its own store.

    Any number of workers may do this at once, and each plan is that of the first that comes so far.
    """

    config: ScoreConfig
    listing: Listing
    columns: Columns
    record: Mapping[str, Any]
    """The run.json of the store itself."""
    score: Callable[[RunStore, Sample | Screened], None]
    """Scores what is left of a store, as far as no other worker does it."""
    tokens_of: Callable[[Sequence[str]], Sequence[Sequence[int]]]

    def sample(self, plan: Callable[[], list[Unit]], count: Callable[[], Unigrams]) -> RunStore:
        """The store of the sample's scores, whose units and unigrams the run has as well.

        Raises StoreError where a unit cannot be scored.
        """
        url = calibration_url(self.config.out)
        if (began := open_run(url)) is not None:
            units, sample = list(began.units), sample_of(began)
        else:
            units = plan()
            sample = draw_sample(units, self.columns, self.config.calibration)
            _log.info("scoring a sample of %s documents first, into %s", f"{sample.size * len(sample.highest):,}", url)
        store = self._begin(url, units, count, {"sample": asdict(sample)}, {})
        self._finish(store, sample)
        return store

    def cut(self, sampled: RunStore) -> tuple[Screened, str]:
        """The final plan, with what is scored by then, and the plan's digest; `sampled` is what `sample` gave.

        Raises StoreError where a unit cannot be scored.
        """
        sample = sample_of(sampled)

        @cache
        def calibrations() -> dict[str, Calibration]:
            return calibrations_of(sampled, sample, self.columns, self.tokens_of)

        def first() -> bytes:
            with stage("choosing what the model must see"):
                return provisional_plan(check_screening(self.config), sample, calibrations()).to_bytes()

        def last() -> bytes:
            with stage("checking the cut"):
                return final_plan(plan, calibrations(), influence_by_domain(scored.url)).to_bytes()

        url = provisional_plan_url(self.config.out)
        content = first_plan(url, first)
        plan, scored = plan_from_bytes(content, url), sampled
        if plan.predictors:
            unigrams = sampled.unigrams()
            assert unigrams is not None
            named = {"provisional_plan": digest(content)}
            scored = self._begin(provisional_url(self.config.out), sampled.units, lambda: unigrams, {}, named)
            self._finish(scored, Screened(plan, sampled.scores, provisional=True))
        url = screening_url(self.config.out)
        content = first_plan(url, last)
        return Screened(plan_from_bytes(content, url), scored.scores), digest(content)

    def _begin(
        self,
        url: str,
        units: Sequence[Unit],
        count: Callable[[], Unigrams],
        more: Mapping[str, Any],
        named: Mapping[str, str],
    ) -> RunStore:
        """A store of a part, with `more` in its run.json and `named` in the fingerprint."""
        fingerprint = {**self.record["fingerprint"], "screening": {**(settings_of(self.config) or {}), **named}}
        record = {**self.record, "fingerprint": fingerprint, **more}
        return begin_or_resume(url, self.listing, 1, record, Changes(), count, lambda *_: list(units))

    def _finish(self, store: RunStore, which: Sample | Screened) -> None:
        """Returns when no unit is left."""
        if self.config.retry_failed:
            forget_quarantined(store.url)
        while len(store.published()) < len(store.units):
            self.score(store, which)
            if stuck := quarantined(read_failures(store.url)):
                name, error = next(iter(stuck.items()))
                raise StoreError(f"{store.url}: unit {name} cannot be scored ({error}). Try again with --retry-failed")
            if len(store.published()) < len(store.units):
                time.sleep(_POLL_SECONDS)  # another worker is at the last of them


def sample_of(store: RunStore) -> Sample:
    """What the store of a sample was drawn as. Raises StoreError for one of an older version."""
    try:
        return Sample(**store.run["sample"])
    except (KeyError, TypeError) as error:
        raise StoreError(f"{store.url} was begun by another version ({error}). Use a new --out") from error
