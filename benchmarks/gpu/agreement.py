"""A real model on the device against scores of a CPU: a score store of the same corpus, model and heads.

    python benchmarks/gpu/agreement.py MODEL HEADS STORE CORPUS [--device cpu --tiny]

Says how far losses and influence lie apart, and tokens/s, in bf16 and fp32. Fails where the rank correlation of
influence falls below 0.99. For a check to the last digit the store is one of `score --dtype fp32`.
"""

import time

import numpy as np
import torch
from common import finish, options, peak_gib, say
from scipy.stats import spearmanr

from attention_influence import Scorer, load_heads, load_model
from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.store.reader import open_store
from limit import useful_operations

LOWEST_CORRELATION = 0.99


def main() -> None:
    given = options(__doc__, "model", "heads", "store", "corpus")
    wanted = ["source", "row", "influence", "loss_base"]
    stored = {
        (row["source"], row["row"]): row
        for batch in open_store(given.store).batches(wanted)
        for row in batch.to_pylist()
        if row["influence"] is not None
    }
    pairs = [
        (row.text, stored[source.name, row.row])
        for source in list_sources([given.corpus]).sources
        for rows in read_rows(source, Columns())
        for row in rows
        if (source.name, row.row) in stored
    ][: 20 if given.tiny else None]
    texts, then = [text for text, _ in pairs], [row for _, row in pairs]
    lowest = 1.0
    for dtype in ("bf16", "fp32"):
        model = load_model(given.model, dtype, given.device)
        scorer = Scorer(model, load_heads(given.heads))
        scorer.score(texts[:20])
        finish(given.device)
        began = time.perf_counter()
        now = scorer.score(texts)
        took = time.perf_counter() - began
        apart = {}
        for name in ("loss_base", "influence"):
            ours = np.array([getattr(score, name) for score in now], dtype=float)
            theirs = np.array([row[name] for row in then], dtype=float)
            apart[name] = float(np.abs(ours - theirs).max())
        correlation = float(spearmanr(ours, theirs).statistic)
        lengths = [score.n_tokens or 0 for score in now]
        say(
            "agreement",
            dtype=dtype,
            documents=len(texts),
            noise=scorer.tested.noise,
            tokens_per_s=sum(lengths) / took,
            TFLOP_per_s=useful_operations(model, scorer.fork_layer, lengths) / took / 1e12,
            peak_GiB=peak_gib(given.device),
            largest_apart=apart,
            rank_correlation=correlation,
            **model.arithmetic(),
        )
        lowest = min(lowest, correlation)
        del model, scorer
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if not lowest >= LOWEST_CORRELATION:
        raise SystemExit(f"FAIL: rank correlation {lowest:.4f}, below {LOWEST_CORRELATION}")


if __name__ == "__main__":
    main()
