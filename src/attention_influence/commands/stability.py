"""`stability`: how much the head set changes when detection is run again, and how influence depends on their share."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from attention_influence.commands.preparing.loading import load
from attention_influence.commands.printing.result import Result, table
from attention_influence.config import StabilityConfig
from attention_influence.corpus import Columns
from attention_influence.corpus.texts import draw_documents, draw_texts
from attention_influence.errors import CorpusError, ProbeError, UsageError
from attention_influence.evidence.share_sweep import SHARES, ShareScores, sweep_shares
from attention_influence.evidence.stability import (
    Certainty,
    Halves,
    ProbeRun,
    Variation,
    certainty,
    compare_runs,
    run_probes,
    split_halves,
)
from attention_influence.heads.detect import Detection, Texts
from attention_influence.heads.head_set import Head, as_matrix
from attention_influence.model.language_model import LanguageModel
from attention_influence.progress import progress
from attention_influence.storage.atomic_files import write_json
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.begin import library_versions

_Run = tuple[str, str, Texts, Detection]
"""Kind, name, texts, parameters."""


def stability(config: StabilityConfig) -> Result:
    contexts = _contexts(config.contexts)
    check_writable_file(config.out)
    pooled = draw_texts(config.sentences, config.text_column, config.max_texts, config.seed)
    model = load(config.model, config)
    fitting = [context for context in contexts if context <= model.context]
    notes = [
        f"context {context:,} left out: the model's is {model.context:,}"
        for context in contexts
        if context not in fitting
    ]
    if not fitting:
        raise UsageError(f"--contexts {config.contexts}: all are above the model's context, {model.context:,} tokens.")
    asked = Detection(config.samples, max(fitting), config.share, config.where, config.seed)
    runs: list[_Run] = [
        ("seed", str(seed), pooled, replace(asked, seed=seed))
        for seed in range(config.seed + 1, config.seed + 1 + config.seeds)
    ]
    if len(pooled) > 1:
        runs += [("probe corpus", given, {given: texts}, asked) for given, texts in pooled.items()]
    runs += [("context", f"{context:,}", pooled, replace(asked, context=context)) for context in fitting[:-1]]
    tokens = config.samples * (asked.context + sum(run.context for *_, run in runs))
    print(f"{1 + len(runs)} runs of {config.samples} probes: about {tokens:,} tokens", file=sys.stderr, flush=True)
    variations = []
    with progress("probing", config.samples * (1 + len(runs)), "probes") as advance:
        reference = run_probes(model, pooled, asked, advance)
        for kind, name, texts, parameters in runs:
            try:
                run = run_probes(model, texts, parameters, advance)
            except ProbeError as error:
                notes.append(f"{kind} {name} left out: {error}")
                continue
            variations.append(compare_runs(kind, name, run, reference, config.share))
    halves = split_halves(reference, config.share, config.seed)
    sure = certainty(reference, config.share, config.seed)
    shares = _sweep(config, model, reference) if config.corpus else []
    data = {
        "model": asdict(model.identity),
        "parameters": asdict(asked),
        "reference": _reference(reference, config.share),
        "variations": [_variation(one) for one in variations],
        "split_halves": None if halves is None else asdict(halves),
        "certainty": {
            "sure": sure.sure,
            "of": sure.of,
            "chosen_share": [[*head, chosen] for head, chosen in sure.chosen_share.items()],
        },
        "shares": [_share(one) for one in shares],
        "notes": notes,
        "probe_tokens": tokens,
        "versions": library_versions(),
    }
    write_json(config.out, data)
    lines = [*_text(reference, variations, halves, sure), *_sweep_text(shares, config.share)]
    lines += [f"note: {note}" for note in notes]
    return Result("\n".join([*lines, f"written: {config.out}"]), data)


def _contexts(given: str) -> list[int]:
    try:
        contexts = sorted({int(part) for part in given.split(",")})
    except ValueError:
        raise UsageError(
            f"--contexts {given}: give whole numbers with commas between them, such as 512,1024."
        ) from None
    if contexts[0] < 1:
        raise UsageError(f"--contexts {given}: a context is at least one token.")
    return contexts


def _sweep(config: StabilityConfig, model: LanguageModel, reference: ProbeRun) -> list[ShareScores]:
    columns = Columns(config.text_column, domain=config.domain_column)
    documents = draw_documents(config.corpus, columns, config.sample_tokens, config.seed)
    if not documents:
        raise CorpusError("the sample holds no text to score; raise --sample-tokens, or check --text-column")
    scores = as_matrix(reference.scores_NLH.mean(0))
    with progress("scoring shares", config.sample_tokens * len({*SHARES, config.share}), "tokens") as advance:
        return sweep_shares(model, scores, documents, config.share, config.seed, advance)


def _reference(run: ProbeRun, share: float) -> dict[str, Any]:
    error_LH = run.standard_error()
    return {
        "probes": len(run.scores_NLH),
        "accuracy": float(run.accuracy_N.mean()),
        "heads": [list(head) for head in run.chosen(share)],
        "scores": as_matrix(run.scores_NLH.mean(0)),
        "standard_errors": as_matrix(error_LH),
    }


def _variation(one: Variation) -> dict[str, Any]:
    return asdict(one) | {"overlap": one.overlap.share, "chance": one.overlap.chance}


def _share(one: ShareScores) -> dict[str, Any]:
    domains = [asdict(d) | {"top": d.top.share, "chance": d.top.chance} for d in one.domains]
    return asdict(one) | {"domains": domains}


def _text(
    reference: ProbeRun, variations: Sequence[Variation], halves: Halves | None, sure: Certainty
) -> Iterator[str]:
    yield f"reference: {len(reference.scores_NLH)} probes, accuracy {reference.accuracy_N.mean():.1%}, {sure.of} heads"
    headings = ("changed", "to", "Spearman", "overlap", "by chance", "accuracy", "enter", "leave")
    rows = [
        (v.kind, v.name, v.spearman, v.overlap.share, v.overlap.chance, v.accuracy, _names(v.enter), _names(v.leave))
        for v in variations
    ]
    yield table(headings, rows)
    if halves is not None:
        yield (
            "halves of {probes} probes, mean and 5% to 95% of 100 splits: Spearman {spearman:.4f} "
            "({0:.4f} to {1:.4f}), overlap {overlap:.4f} ({2:.4f} to {3:.4f}), by chance {chance:.4f}"
        ).format(*halves.spearman_range, *halves.overlap_range, **asdict(halves))
    yield (
        f"probes drawn again 1,000 times: {sure.sure} of {sure.of} heads are chosen in at least 95% of the draws, "
        f"{len(sure.chosen_share)} are chosen at least once"
    )


def _sweep_text(shares: Sequence[ShareScores], default: float) -> Iterator[str]:
    if not shares:
        return
    yield ""
    yield f"influence under other shares of the heads, against {default:.0%}; 95% intervals from 10 documents on"
    rows = []
    for one in shares:
        for d in one.domains:
            values = (_with_interval(d.spearman, d.spearman_interval), _with_interval(d.top.share, d.top_interval))
            cost = (f"{one.share:.0%}", one.heads, one.fork_layer, f"{one.passes:.2f}")
            rows.append((*cost, d.domain, d.documents, *values, d.top.chance))
    headings = (
        *("share", "heads", "fork", "passes", "domain", "documents"),
        *("Spearman", "overlap of the top 20%", "by chance"),
    )
    yield table(headings, rows)


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if interval is None else " ({:.3f} to {:.3f})".format(*interval))


def _names(heads: Sequence[Head]) -> str:
    return " ".join(f"{layer}-{head}" for layer, head in heads) or "–"
