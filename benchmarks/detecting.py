"""Detecting heads against plain forward passes over as many tokens, alternating, medians of the rounds.

    .venv/bin/python benchmarks/detecting.py --sentences demo-output/sentences.jsonl

The plain pass is transformers' own with SDPA, in the same type, with the logits of the last position only. Detection
makes its probe (tokenizing included), runs it, and looks at every head.
"""

import argparse
import statistics
import sys
import time

import torch
from transformers import AutoModelForCausalLM

from attention_influence import load_model
from attention_influence.corpus.texts import draw_texts
from attention_influence.demo.assets import fetch
from attention_influence.heads.detect import Detection, find_sentences, probe_scores
from attention_influence.model.loading.gguf import dense_copy


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sentences", required=True, help="as `make demo-full` leaves them")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_model(str(fetch().model))
    folder, _ = dense_copy(fetch().model)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype, attn_implementation="sdpa").eval()
    sentences, _ = find_sentences(model, draw_texts([options.sentences], "text", 20_000, 0), 0)
    probes = probe_scores(model, sentences, Detection(samples=options.rounds + 1, context=options.context))
    next(probes)
    tokens = torch.randint(100, 1000, (1, options.context))
    seconds: dict[str, list[float]] = {"detecting": [], "plain pass": []}
    for _ in range(options.rounds):
        began = time.monotonic()
        next(probes)
        seconds["detecting"].append(time.monotonic() - began)
        began = time.monotonic()
        plain(input_ids=tokens, use_cache=False, logits_to_keep=1)
        seconds["plain pass"].append(time.monotonic() - began)
        print(*(f"{name} {taken[-1]:.1f} s" for name, taken in seconds.items()), file=sys.stderr)
    ours, theirs = (statistics.median(taken) for taken in seconds.values())
    print(f"a probe of {options.context:,} tokens: {ours:.2f} s; plain pass {theirs:.2f} s, {theirs / ours:.1%} of it")


if __name__ == "__main__":
    main()
