"""Is a GPU fit for a run: one table of rates, memory, fidelity and peers, each against its floor, all from one run.

    python benchmarks/gpu/acceptance.py MODEL HEADS CORPUS [--device cpu --tiny]

MODEL is a hub id, folder or .gguf file, CORPUS what `score` takes. Scores of some documents in fp32 on the CPU are the
yardstick of fidelity; peers are plain transformers on the same device, sorted and padded. Exits with 1 if a floor is
missed. --tiny judges fidelity alone.
"""

import operator
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import finish, options, peak_gib
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoTokenizer

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.evidence.statistics import in_top, overlap
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.gguf import dense_copy
from limit import operations_a_second, useful_operations
from peers import Peer

# What a device must reach: figure → floor, or ceiling where less is better.
FLOORS: dict[str, tuple[Callable[[Any, Any], bool], float]] = {
    "rank correlation with fp32 on the CPU": (operator.ge, 0.999),
    "top fifth shared with fp32 on the CPU": (operator.ge, 0.98),
    "share of the device's own matmul rate": (operator.ge, 0.25),
    "times two plain passes, SDPA": (operator.ge, 2.2),
    "times two plain passes, flash": (operator.ge, 1.3),
    "texts made ready per second ÷ scored": (operator.ge, 1.0),
    "peak memory, share of the device's": (operator.le, 0.9),
    "seconds from loading to the first score": (operator.le, 25.0),
}
FIDELITY = tuple(FLOORS)[:2]
_COMPARED, _SCORED = 200, 20_000
_BATCH_TOKENS = 32_768


def main() -> None:
    given = options(__doc__, "model", "heads", "corpus")
    texts = [text for text in documents(given.corpus) if len(text) > 200][: 20 if given.tiny else _SCORED]
    compared, heads = texts[:_COMPARED], load_heads(given.heads)
    exact = Scorer(load_model(given.model, "fp32", "cpu"), heads).score(compared)
    began = time.perf_counter()
    model = load_model(given.model, "fp32" if given.tiny else "bf16", given.device)
    scorer = Scorer(model, heads)
    scorer.score(texts[:1])
    found: dict[str, object] = {"seconds from loading to the first score": time.perf_counter() - began}
    found |= fidelity(exact, scorer.score(compared))
    found |= rates(scorer, texts, given.device)
    found |= peers(given, model, scorer, texts, float(found["tokens/s"]))  # type: ignore[arg-type]
    if model.device.type == "cuda":
        found |= with_compiled_layers(model, scorer, texts)
    failed, rows = [], []
    for name, value in found.items():
        verdict, bound = "", ""
        if name in FLOORS and isinstance(value, float):
            holds, floor = FLOORS[name]
            bound = f"{'at least' if holds is operator.ge else 'at most'} {floor:g}"
            if name in FIDELITY or not given.tiny:
                verdict = "PASS" if holds(value, floor) else "FAIL"
        failed += [name] if verdict == "FAIL" else []
        rows.append((name, f"{value:,.4g}" if isinstance(value, float) else str(value), bound, verdict))
    on = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu"
    print(f"{model.identity.name} on {on}, {model.dtype}, {model.arithmetic()}, torch {torch.__version__}")
    print(table(("figure", "measured", "floor", ""), rows))
    if failed:
        raise SystemExit(f"FAIL: {', '.join(failed)}")


def documents(corpus: str) -> list[str]:
    """The corpus's texts, in its order."""
    rows = (row for source in list_sources([corpus]).sources for rows in read_rows(source, Columns()) for row in rows)
    return [row.text for row in rows if isinstance(row.text, str)]


def fidelity(exact: list[Any], scored: list[Any]) -> dict[str, object]:
    then, now = (np.array([s.influence for s in scores], dtype=float) for scores in (exact, scored))
    finite = np.isfinite(then) & np.isfinite(now)
    then, now = then[finite], now[finite]
    return {
        "documents compared": len(then),
        FIDELITY[0]: float(spearmanr(then, now).statistic),
        FIDELITY[1]: float(overlap(in_top(then, 0.2), in_top(now, 0.2)).share),
        "largest difference of influence": float(np.abs(then - now).max()),
    }


def rates(scorer: Scorer, texts: list[str], device: str) -> dict[str, object]:
    """Of the whole way from texts to scores, and of what the host does for it."""
    peak_gib(device)
    began = time.perf_counter()
    prepared = scorer.prepare(texts)
    ready = time.perf_counter() - began
    scores = scorer.score_prepared(prepared)
    finish(device)
    scoring = time.perf_counter() - began - ready
    lengths = [score.n_tokens or 0 for score in scores]
    peak, needed = peak_gib(device), useful_operations(scorer.model, scorer.fork_layer, lengths)
    limit = operations_a_second(scorer.model, min(scorer.pack_tokens, _BATCH_TOKENS))
    found: dict[str, object] = {
        "tokens": sum(lengths),
        "tokens/s": sum(lengths) / scoring,
        "share of the device's own matmul rate": needed / scoring / limit,
        "its matmul rate, TFLOP/s": limit / 1e12,
        "texts made ready per second ÷ scored": scoring / ready,
    }
    if peak is not None:
        total = torch.cuda.get_device_properties(scorer.model.device).total_memory / 2**30
        found |= {"peak memory, GiB": peak, "peak memory, share of the device's": peak / total}
    return found


def with_compiled_layers(model: LanguageModel, scorer: Scorer, texts: list[str]) -> dict[str, object]:
    """What `score --compile` costs and brings; seconds of a second run, with a warm cache, need a second run."""
    plain = scorer.score(texts[:_COMPARED])
    model.compile_layers()
    began = time.perf_counter()
    compiled = scorer.score(texts[:_COMPARED])
    seconds = time.perf_counter() - began
    faster = rates(scorer, texts, str(model.device))
    return {
        "compiled layers: seconds until the first scores": seconds,
        "compiled layers: largest difference of influence": fidelity(plain, compiled)[
            "largest difference of influence"
        ],
        "compiled layers: tokens/s": faster["tokens/s"],
    }


def peers(given: Any, model: LanguageModel, scorer: Scorer, texts: list[str], ours: float) -> dict[str, object]:
    """Plain transformers on the same device: two passes by SDPA and by flash attention, and one by SDPA."""
    folder = dense_copy(given.model)[0] if given.model.endswith(".gguf") else given.model
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = network.to(given.device)
    some = texts[: max(10, len(texts) // 10)]
    tokens = sum(map(len, model.tokens.encode(some)))
    found: dict[str, object] = {}
    for name, attention, passes in (("SDPA", "sdpa", 2), ("flash", "flash_attention_2", 2), ("one pass", "sdpa", 1)):
        shown = f"{'' if passes == 1 else 'two passes, '}{name}, tokens/s"
        try:
            peer = Peer(network, tokenizer, scorer.masked, attention)
            peer.padded(some[:10], _BATCH_TOKENS, passes)
            began = time.perf_counter()
            peer.padded(some, _BATCH_TOKENS, passes)
            rate = tokens / (time.perf_counter() - began)
        except (ImportError, ValueError, RuntimeError) as error:
            found[shown] = f"not measured ({type(error).__name__})"
            continue
        found[shown] = rate
        if passes == 2:
            found[f"times two plain passes, {name}"] = ours / rate
    return found


if __name__ == "__main__":
    main()
