"""`score`: every document of a corpus into a score store; an unfinished store is resumed."""

import time
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from attention_influence.config import ScoreConfig
from attention_influence.corpus import Columns, Listing, list_sources
from attention_influence.engines.local import score_locally
from attention_influence.errors import StoreError
from attention_influence.heads.head_set import load_heads
from attention_influence.model.loading import load_model
from attention_influence.progress import progress
from attention_influence.report.store_figures import read_store
from attention_influence.scoring import run_store
from attention_influence.scoring.plan import BYTES_PER_TOKEN, make_plan
from attention_influence.scoring.run_store import RunStore
from attention_influence.scoring.scorer import Scorer
from attention_influence.selection.store import open_store
from attention_influence.verbs.result import Result, table

# Raised when scores change beyond rounding; part of the fingerprint.
SCORING_VERSION = 1

_UNIT_TOKENS = {"cpu": 200_000, "cuda": 20_000_000}


def score(config: ScoreConfig) -> Result:
    listing = list_sources(config.corpus, config.domain)
    heads = load_heads(config.heads)
    model = load_model(config.model, config.dtype, config.device, config.trust_remote_code)
    scorer = Scorer(
        model,
        heads,
        window=config.window,
        pack_tokens=config.pack_tokens,
        max_document_tokens=config.max_document_tokens,
    )
    columns = Columns(config.text_column, config.id_column, config.domain_column)
    store = _store(config, listing, columns, scorer)
    about = {
        "pack_tokens": scorer.pack_tokens,
        "device": str(model.device),
        "versions": store.run["versions"],
        "fingerprint": store.run["fingerprint"],
    }
    began = time.monotonic()
    counted: Counter[str] = Counter()

    tokens_expected = sum(source.size for source in listing.sources) // BYTES_PER_TOKEN
    with progress("scoring", tokens_expected, "tokens") as advance:

        def more(rows: int, tokens: int) -> None:
            counted.update(rows=rows, tokens=tokens)
            advance(tokens)

        failed = score_locally(store, scorer, columns, about, more)
    seconds = time.monotonic() - began
    data: dict[str, Any] = {
        "store": store.url,
        "units": len(store.units),
        "failed": {name: str(error) for name, error in failed.items()},
        "tokens": counted["tokens"],
        "seconds": round(seconds, 3),
    }
    lines = []
    if store.published():
        data |= figures(store.url)
        lines.append(_describe(data))
    speed = f"{counted['tokens']:,} tokens in {seconds:,.1f} s ({counted['tokens'] / max(seconds, 1e-9):,.0f} a second)"
    lines.append(f"{speed}; noise floor of influence {scorer.tested.noise:.1e}\nwritten: {store.url}")
    lines += [f"error: unit {name}: {error}" for name, error in failed.items()]
    return Result("\n".join(lines), data, exit_code=1 if failed else 0)


def _store(config: ScoreConfig, listing: Listing, columns: Columns, scorer: Scorer) -> RunStore:
    fingerprint = {
        "weights": scorer.model.identity.weights,
        "tokenizer": scorer.model.identity.tokenizer,
        "heads": sorted(list(head) for head in scorer.heads),
        "window": scorer.window,
        "precision": config.dtype,
        "max_document_tokens": scorer.max_document_tokens,
        "columns": columns.to_json(),
        "scoring_version": SCORING_VERSION,
    }
    store = run_store.open_run(config.out)
    if store is not None:
        run_store.check_fingerprint(store, fingerprint)
        planned = {part.source for unit in store.units for part in unit.slices}
        changed = sorted(source.name for source in planned ^ set(listing.sources))
        if changed:
            raise StoreError(
                f"{store.url} was begun with other inputs: {len(changed)} files are new, gone or changed since, "
                f"such as {changed[0]}. Use a new --out"
            )
        return store
    unit_tokens = config.unit_tokens or _UNIT_TOKENS.get(scorer.model.device.type, _UNIT_TOKENS["cpu"])
    units = make_plan(listing.sources, unit_tokens)
    record = {
        "fingerprint": fingerprint,
        "columns": columns.to_json(),
        "configuration": asdict(config),
        "model": asdict(scorer.model.identity),
        "roots": listing.roots,
        "self_test": asdict(scorer.tested),
        "noise_floor": scorer.tested.noise,
        "versions": {name: version(name) for name in ("attention-influence", "torch", "transformers", "tokenizers")},
        "units": len(units),
    }
    return run_store.create(config.out, record, units)


def figures(store_url: str) -> dict[str, Any]:
    """What the finished units of a store hold: figures by domain, and rows without a score by reason."""
    read = read_store(open_store(store_url), {})
    reasons: Counter[str] = Counter()
    for _, reason, rows in read.unscored:
        reasons[reason] += rows
    domains = [
        {
            "domain": domain.name,
            "documents": domain.documents,
            "ranked": domain.ranked,
            "tokens": domain.tokens,
            "mean_influence": domain.mean,
        }
        for domain in read.domains
    ]
    return {"domains": domains, "reasons": dict(reasons)}


def _describe(data: dict[str, Any]) -> str:
    headings = ("domain", "documents", "with influence", "tokens", "mean influence")
    text = table(headings, [tuple(domain.values()) for domain in data["domains"]])
    if data["reasons"]:
        text += "\nrows without a score: " + ", ".join(
            f"{count:,} {reason}" for reason, count in data["reasons"].items()
        )
    return text
