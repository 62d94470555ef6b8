"""`estimate`: what scoring and selecting a corpus would take and give, from a random sample of it."""

import math
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from attention_influence.commands.preparing.corpus_checks import listed
from attention_influence.commands.preparing.screening import promise_of
from attention_influence.commands.printing.result import Result, table
from attention_influence.commands.score import make_scorer, window_text, workers_of
from attention_influence.config import EstimateConfig
from attention_influence.corpus import Columns
from attention_influence.corpus.sample import draw_slices, drawn_rows
from attention_influence.errors import CorpusError
from attention_influence.evidence.statistics import middle
from attention_influence.progress import progress
from attention_influence.scoring.lots import in_lots
from attention_influence.screening.features import Text, in_tokens
from attention_influence.screening.forecast import Forecast, forecast
from attention_influence.screening.guarantee import Promise
from attention_influence.shares import count_in

_RESAMPLES = 1000
_MIDDLE = 0.9


class _Document(NamedTuple):
    """A sampled document that has a score."""

    influence: float
    tokens: int
    text: Text | None
    """Only where a forecast of screening is asked for."""


# One draw's documents of one domain.
_Draw = list[_Document]


def estimate(config: EstimateConfig) -> Result:
    promise = promise_of(config, "top", config.top) if config.screen else None
    columns = Columns(config.text_column, domain=config.domain_column)
    listing = listed(config.corpus, config.domain, columns)
    scorer = make_scorer(config)
    drawn, share = draw_slices(listing.sources, config.sample_tokens, config.seed)
    draws: dict[str, list[_Draw]] = defaultdict(lambda: [[] for _ in drawn])
    tokens = rows = bad = 0
    seconds = 0.0
    with progress("scoring a sample", config.sample_tokens, "tokens") as advance:
        for lot in in_lots(drawn_rows(drawn, columns), lambda item: item[1].text, scorer.pack_tokens):
            began = time.monotonic()
            prepared = scorer.prepare([row.text for _, row in lot])
            scores = scorer.score_prepared(prepared, progress=advance)
            seconds += time.monotonic() - began
            for (number, row), document, score in zip(lot, prepared, scores, strict=True):
                rows += 1
                bad += score.reason is not None
                tokens += score.n_tokens or 0
                if score.influence is not None:
                    text = in_tokens(document.text.encode(), document.tokens) if config.screen else None
                    draws[row.domain][number].append(_Document(score.influence, score.n_tokens or 0, text))
    if not tokens:
        raise CorpusError("the sample holds no text to score; raise --sample-tokens, or check --text-column")
    devices = workers_of(config.workers, config.device, scorer) if scorer.model.device.type == "cuda" else 1
    data: dict[str, Any] = {
        "sampled_documents": rows,
        "sampled_tokens": tokens,
        "share_without_score": bad / rows,
        "documents": round(rows / share),
        "tokens": round(tokens / share),
        "hours": seconds / share / devices / 3600,
        "tokens_per_second": tokens / seconds * devices,
        "peak_memory_bytes": _peak_memory(scorer.model.device),
        "window": scorer.window,
        "left_out": listing.left_out,
        "top": config.top,
        "domains": [_domain(name, draws[name], share, config) for name in sorted(draws)],
    }
    if promise is not None:
        data["screening"] = _screening(promise, config.calibration, data, draws)
    return Result(f"{_text(data)}\n{window_text(scorer)}", data)


def _domain(name: str, draws: Sequence[_Draw], share: float, config: EstimateConfig) -> dict[str, Any]:
    documents = sum(map(len, draws))
    rng = np.random.default_rng(config.seed)
    threshold, selected = _cut(draws, config.top)
    resampled = [
        _cut([draws[i] for i in rng.integers(len(draws), size=len(draws))], config.top) for _ in range(_RESAMPLES)
    ]
    interval, tokens_interval = (middle(values, _MIDDLE) for values in zip(*resampled, strict=True))
    return {
        "domain": name,
        "documents": round(documents / share),
        "tokens": round(sum(document.tokens for draw in draws for document in draw) / share),
        "threshold": threshold,
        "threshold_interval": list(interval),
        "selected_tokens": round(selected / share),
        "selected_tokens_interval": [round(end / share) for end in tokens_interval],
    }


def _screening(
    promise: Promise,
    calibration: int,
    data: Mapping[str, Any],
    draws: Mapping[str, Sequence[_Draw]],
) -> dict[str, Any]:
    domains: dict[str, Forecast] = {}
    for domain in data["domains"]:
        influence, tokens, texts = zip(*(one for draw in draws[domain["domain"]] for one in draw), strict=True)
        domains[domain["domain"]] = forecast(
            promise, calibration, domain["documents"], texts, np.array(influence), np.array(tokens)
        )
    spared = sum(domain["tokens"] * (domains[domain["domain"]].spared_tokens or 0) for domain in data["domains"])
    return {
        "promise": asdict(promise),
        "calibration": calibration,
        "domains": {name: asdict(of_domain) for name, of_domain in domains.items()},
        "spared_tokens": spared / data["tokens"],
        "hours": data["hours"] * (1 - spared / data["tokens"]),
    }


def _cut(draws: Sequence[_Draw], top: float) -> tuple[float, int]:
    """The threshold of the top share of the documents, and the tokens that it selects."""
    ranked = sorted((document for draw in draws for document in draw), key=lambda one: -one.influence)
    chosen = ranked[: count_in(top, len(ranked))]
    return (chosen[-1].influence if chosen else math.nan), sum(document.tokens for document in chosen)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _screening_text(screening: Mapping[str, Any] | None) -> list[str]:
    if screening is None:
        return ["estimate --screen tells what score --screen would spare the model"]
    rows = [
        (
            name,
            "–" if domain["spearman"] is None else f"{domain['spearman']:.2f}",
            "not known" if domain["spared_tokens"] is None else f"{domain['spared_tokens']:.0%}",
            domain["why"] or "",
        )
        for name, domain in screening["domains"].items()
    ]
    return [
        table(("with --screen", "Spearman", "tokens spared", ""), rows),
        f"score --screen: {screening['hours']:,.2f} hours, {screening['spared_tokens']:.0%} of the tokens spared, its "
        f"sample of {screening['calibration']:,} documents a domain included; by predictions for documents that they "
        "were not fitted to",
    ]


def _text(data: dict[str, Any]) -> str:
    rows = [
        (
            domain["domain"],
            domain["documents"],
            domain["tokens"],
            "{:.4f} ({:.4f} to {:.4f})".format(domain["threshold"], *domain["threshold_interval"]),
            "{:,} ({:,} to {:,})".format(domain["selected_tokens"], *domain["selected_tokens_interval"]),
        )
        for domain in data["domains"]
    ]
    headings = ("domain", "documents", "tokens", f"threshold of the top {data['top']:.0%}", "tokens selected")
    return "\n".join(
        [
            table(headings, rows),
            "in brackets: 90% intervals, by resampling the sample's draws",
            f"{data['hours']:,.2f} hours on this machine, for {data['tokens']:,} tokens at "
            f"{data['tokens_per_second']:,.0f} tokens/s; peak memory {data['peak_memory_bytes'] / 2**30:.1f} GiB",
            f"sampled: {data['sampled_documents']:,} documents, {data['sampled_tokens']:,} tokens, "
            f"{data['share_without_score']:.1%} of the documents without a score",
            *_screening_text(data.get("screening")),
        ]
    )
