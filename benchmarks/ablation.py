"""Ablation of every head by branches off one unmasked pass, against the loop that runs a whole pass for each head.

    .venv/bin/python benchmarks/ablation.py --sentences demo-output/sentences.jsonl

Both measure the same pack of retrieval probes with the same model, alternating; medians of the rounds, and how far
their losses are apart. The loop takes every `--every`th head, and its time is multiplied accordingly.
"""

import argparse
import itertools
import statistics
import sys
import time

import numpy as np
import torch

from attention_influence import load_model
from attention_influence.corpus.texts import draw_texts
from attention_influence.demo.assets import fetch
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.detect import find_sentences, make_probes
from attention_influence.tasks.outcomes import answer_losses, predictions


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sentences", required=True, help="as `make demo-full` leaves them")
    parser.add_argument("--model", help="default: the demo's")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    model = load_model(options.model or str(fetch().model))
    sentences, _ = find_sentences(model, draw_texts([options.sentences], "text", 20_000, 0), 0)
    probes = itertools.islice(make_probes(model, sentences, options.context, 0), 4)
    ablation = Ablation(model, {"retrieval": [probe.question() for probe in probes]})
    pack = ablation.packs[0]
    readings = [reading for question in pack for reading in question.readings]
    at_N, target_N = (torch.from_numpy(x_N).to(model.device) for x_N in predictions(readings))
    taken = list(enumerate(ablation.heads))[:: options.every]

    def branches() -> np.ndarray:
        return ablation._measure(pack, lambda more: None)[:, 2:]

    def loop() -> np.ndarray:
        columns = []
        for _, (layer, head) in taken:
            body = model.forward([reading.tokens for reading in readings], {layer: [head]})
            columns.append(answer_losses(pack, model.output.losses(body, at_N, target_N).cpu().numpy()))
        return np.concatenate(columns).T

    seconds: dict[str, list[float]] = {"branches": [], "loop": []}
    for _ in range(options.rounds):
        began = time.monotonic()
        ours_IH = branches()[:, [at for at, _ in taken]]
        seconds["branches"].append(time.monotonic() - began)
        began = time.monotonic()
        theirs_IH = loop()
        seconds["loop"].append((time.monotonic() - began) * len(ablation.heads) / len(taken))
        print(*(f"{name} {of[-1]:.1f} s" for name, of in seconds.items()), file=sys.stderr)
    ours, theirs = (statistics.median(of) for of in seconds.values())
    tokens = sum(len(reading.tokens) for reading in readings)
    apart = np.abs(ours_IH - theirs_IH).max()
    print(f"{len(ablation.heads)} heads, {len(pack)} items, {tokens:,} tokens")
    print(f"branches {ours:.1f} s, loop {theirs:.1f} s: {theirs / ours:.2f} times as long; losses apart: {apart:.1e}")


if __name__ == "__main__":
    main()
