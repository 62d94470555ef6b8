"""`score`: every document of a corpus into a score store; an unfinished store is resumed."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from attention_influence.commands.preparing.corpus_checks import check_scored, listed
from attention_influence.commands.preparing.expected_tokens import expected_tokens
from attention_influence.commands.preparing.loading import load
from attention_influence.commands.preparing.screening import Screening, check_begun_so, check_screening, settings_of
from attention_influence.commands.printing.result import Result, some
from attention_influence.commands.printing.screening_text import screening_result
from attention_influence.commands.printing.store_text import domains_and_reasons, failed_files
from attention_influence.config import ScoreConfig, ScorerOptions
from attention_influence.config.options import unescaped
from attention_influence.corpus import Columns
from attention_influence.corpus.first_rows import first_rows
from attention_influence.errors import Interrupted, StoreError, UsageError
from attention_influence.heads.head_set import load_heads
from attention_influence.progress import progress
from attention_influence.runs.canary import canary_losses
from attention_influence.runs.local import Job, run_locally
from attention_influence.runs.ray_actors import Actors, run_on_ray
from attention_influence.runs.shard import own_units
from attention_influence.scoring.count_unigrams import count_unigrams
from attention_influence.scoring.score_unit import Progress, Reading
from attention_influence.scoring.scorer import Scorer
from attention_influence.scoring.screened import Screened
from attention_influence.scoring.steps import SENTENCE, step_rule
from attention_influence.screening.sample import Sample
from attention_influence.selection.output.columns import warnings_of_columns
from attention_influence.storage.preflight import check_writable_folder
from attention_influence.store.begin import SCORING_VERSION, Changes, begin_or_resume, library_versions
from attention_influence.store.failures import forget_quarantined, quarantined, read_failures
from attention_influence.store.plan import Unit, default_unit_tokens, make_plan
from attention_influence.store.run import RunStore, open_run
from attention_influence.store.schema import STEP_COLUMNS
from attention_influence.store.unigrams import Unigrams

_log = logging.getLogger(__name__)


def score(config: ScoreConfig) -> Result:
    rule = _step_rule(config)
    check_screening(config)
    _check_out(config, rule)
    columns = Columns(config.text_column, config.id_column, config.domain_column)
    listing = listed(config.corpus, config.domain, columns, config.out)
    warnings = warnings_of_columns(listing.sources)
    for warning in warnings:
        _log.warning(warning)
    part = None if config.limit is None else first_rows(listing, config.limit, columns)
    if part is not None:
        listing = part.listing
    scorer = make_scorer(config)
    parameters = sum(weights.numel() for weights in scorer.model.network.parameters())
    unit_tokens = config.unit_tokens or default_unit_tokens(scorer.model.device.type, parameters)
    record = _record(config, columns, rule, scorer) | {"left_out": listing.left_out}
    changes = Changes(config.extend, config.rescore_changed)
    plan: Callable[..., list[Unit]] = partial(
        make_plan, ends=part.ends if part else {}, may_grow=config.unit_tokens is None
    )
    began = time.monotonic()

    def count() -> Unigrams:
        return count_unigrams(scorer, listing.sources, columns)

    share = part.share if part else 1.0
    screened = None
    if config.screen:

        def score_part(store: RunStore, which: Sample | Screened) -> None:
            sample, above = (which, None) if isinstance(which, Sample) else (None, which)
            total = expected_tokens(store, listing, scorer, columns, share * (sample.share if sample else 1.0))
            reading = Reading(columns, config.on_bad_row, store.unigrams(), sample=sample, screened=above)
            _score_units(config, store, reading, scorer, "scoring the sample" if sample else "scoring", total)

        def tokens_of(texts: Sequence[str]) -> list[list[int]]:
            return [document.tokens for document in scorer.prepare(texts)]

        screening = Screening(config, listing, columns, record, score_part, tokens_of)
        sampled = screening.sample(lambda: plan(listing.sources, unit_tokens), count)
        screened, plan_digest = screening.cut(sampled)
        record["fingerprint"]["screening"] = {**(settings_of(config) or {}), "plan": plan_digest}
        unigrams = sampled.unigrams()
        assert unigrams is not None
        count, plan = (lambda: unigrams), (lambda *_: list(sampled.units))
    store = begin_or_resume(config.out, listing, unit_tokens, record, changes, count, plan)
    if config.retry_failed:
        forget_quarantined(store.url)
    total = expected_tokens(store, listing, scorer, columns, share)
    reading = Reading(columns, config.on_bad_row, store.unigrams(), rule, screened=screened)
    counted = _score_units(config, store, reading, scorer, "completing" if screened else "scoring", total)
    seconds = round(time.monotonic() - began, 3)
    of_run = {"left_out": listing.left_out, "tokens": counted["tokens"], "seconds": seconds, "warnings": warnings}
    return _result(config, store, scorer, of_run, screened)


def _score_units(
    config: ScoreConfig,
    store: RunStore,
    reading: Reading,
    scorer: Scorer,
    what: str,
    total: tuple[float, float],
) -> Counter[str]:
    """Scores what is left of a store, as far as no other worker does it: rows, bad rows and tokens of this run."""
    counted: Counter[str] = Counter()
    mine = own_units(store.units, config.shard)
    job = Job(
        store,
        reading,
        config.max_bad_rate,
        scorer.model,
        {**_scorer_options(config), "heads": scorer.heads, "tested": scorer.tested},
    )
    expected, before = total
    with progress(what, expected, "tokens", before) as advance:
        lock = threading.Lock()

        def more(rows: int, bad: int, tokens: int) -> None:
            with lock:
                counted.update(rows=rows, bad=bad, tokens=tokens)
                advance(tokens)

        try:
            _run(config, job, mine, scorer, more)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted. Finished units are kept in {store.url}; run the same command again to resume"
            ) from None
    return counted


def _result(
    config: ScoreConfig, store: RunStore, scorer: Scorer, counted: Mapping[str, Any], screened: Screened | None
) -> Result:
    """What is said at the end. Only a run after which nothing is left reads the whole store, not each of many."""
    stuck = quarantined(read_failures(store.url))
    done = store.published()
    held = sum(unit.name not in done and unit.name not in stuck for unit in store.units)
    records = {} if held else store.records()
    check_scored(store.url, records, config.max_bad_rate)
    data: dict[str, Any] = {
        "store": store.url,
        "units": len(store.units),
        "units_done": len(done),
        "quarantined": stuck,
        "failed_files": failed_files(records),
        **counted,
        "noise_floor": scorer.tested.noise,
        "window": scorer.window,
    }
    tokens, seconds = counted["tokens"], counted["seconds"]
    lines = []
    if done and not held:
        figures, text = domains_and_reasons(store.url)
        data |= figures
        lines.append(text)
    lines.append(
        f"{tokens:,} tokens in {seconds:,.1f} s ({tokens / max(seconds, 1e-9):,.0f} tokens/s); "
        f"noise floor of influence {scorer.tested.noise:.1e}; {window_text(scorer)}"
    )
    if rule := store.run["fingerprint"].get("steps"):
        data["steps"] = sum(about["steps"] for about in records.values())
        lines.append(f"{data['steps']:,} steps, ended by {', '.join(map(repr, rule))}: {', '.join(STEP_COLUMNS)}")
    if screened is not None and records:
        data["screening"], text = screening_result(screened.plan, records)
        lines.append(text)
    lines.append(f"{len(done):,} of {len(store.units):,} units are done; written: {store.url}")
    if held:
        lines.append(
            f"{held:,} units are held by other workers, which are alive. The last of them prints what the store holds; "
            f"until then: attention-influence status {store.url}"
        )
    lines += [f"warning: {warning}" for warning in counted["warnings"]]
    lines += some([f"error: unit {name} is quarantined: {error}" for name, error in stuck.items()])
    lines += some([f"error: {name}: {error}" for name, error in data["failed_files"].items()])
    return Result("\n".join(lines), data, exit_code=1 if stuck or data["failed_files"] else 0)


def _run(config: ScoreConfig, job: Job, mine: Sequence[Unit], scorer: Scorer, more: Progress) -> None:
    if config.engine == "local":
        run_locally(job, mine, workers_of(config.workers, config.device, scorer), more)
        return
    gpus = float(scorer.model.device.type == "cuda") if config.worker_gpus is None else config.worker_gpus
    run_on_ray(job, mine, Actors(config.workers, config.worker_cpus, gpus), config.address, more)


def make_scorer(config: ScorerOptions) -> Scorer:
    """The scorer that a configuration asks for."""
    heads = load_heads(config.heads)
    model = load(config.model, config)
    scorer = Scorer(model, heads, **_scorer_options(config))
    if config.window is None and scorer.window < model.context:
        _log.warning("%s; --window chooses another", window_text(scorer))
    return scorer


def _scorer_options(config: ScorerOptions) -> dict[str, Any]:
    return {
        "window": config.window,
        "pack_tokens": config.pack_tokens,
        "max_document_tokens": config.max_document_tokens,
        "compiled": config.compile,
    }


def _record(config: ScoreConfig, columns: Columns, rule: Sequence[str], scorer: Scorer) -> dict[str, Any]:
    """run.json of a new store."""
    return {
        "fingerprint": {
            "weights": scorer.model.identity.weights,
            "tokenizer": scorer.model.identity.tokenizer,
            "heads": sorted(list(head) for head in scorer.heads),
            "window": scorer.window,
            "precision": config.dtype,
            "max_document_tokens": scorer.max_document_tokens,
            "columns": columns.to_json(),
            "steps": list(rule) or None,
            "screening": None,
            "scoring_version": SCORING_VERSION,
        },
        "columns": columns.to_json(),
        "configuration": asdict(config),
        "model": asdict(scorer.model.identity),
        "arithmetic": scorer.model.arithmetic(),
        "self_test": asdict(scorer.tested),
        "noise_floor": scorer.tested.noise,
        "canaries": canary_losses(scorer),
        "versions": library_versions(),
    }


def _step_rule(config: ScoreConfig) -> tuple[str, ...]:
    """What ends a step, backslash escapes resolved; nothing for whole documents. Raises UsageError."""
    if config.steps and config.granularity == "document":
        raise UsageError("--steps says what ends a step: give --granularity step as well")
    return step_rule(config.granularity, [unescaped(text) for text in config.steps] or SENTENCE)


def _check_out(config: ScoreConfig, rule: Sequence[str]) -> None:
    """Before anything is loaded: raises UsageError for what cannot be done, StorageError when a store that needs
    writing cannot be written, StoreError when it was begun with another limit or other steps.
    """
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"--limit {config.limit}: give the number of documents to score, 1 or more")
    if config.limit is not None and (config.extend or config.rescore_changed):
        raise UsageError("--extend and --rescore-changed are for whole corpora: omit them, or --limit")
    store = open_run(config.out)
    if store is None or len(store.published()) < len(store.units):
        check_writable_folder(config.out)
    began_with = store.run.get("configuration", {}).get("limit") if store else config.limit
    if began_with != config.limit:
        how = "without --limit" if began_with is None else f"with --limit {began_with}"
        raise StoreError(f"{config.out} was begun {how}. Give the same, or a new --out")
    began_by = (store.run.get("fingerprint", {}).get("steps") or []) if store else list(rule)
    if began_by != list(rule):
        raise StoreError(
            f"{config.out} was begun {_steps_given(began_by)}, and is now to be resumed {_steps_given(rule)}: its rows "
            "would not have the same columns. Give the same, or a new --out"
        )
    if store is not None:
        check_begun_so(config, store.run.get("fingerprint", {}).get("screening"))


def _steps_given(rule: Sequence[str]) -> str:
    return f"with --granularity step by {', '.join(map(repr, rule))}" if rule else "without --granularity step"


def window_text(scorer: Scorer) -> str:
    """The window that documents are scored in, or the model's own context."""
    return f"windows of at most {scorer.window:,} tokens (the model's context: {scorer.model.context:,})"


def workers_of(workers: int | None, device: str | None, scorer: Scorer) -> int:
    """Processes that `workers` asks for; None: one for each CUDA device, unless `device` names one."""
    if workers is None:
        one_device = scorer.model.device.type != "cuda" or device is not None
        workers = 1 if one_device else torch.cuda.device_count()
    return workers
