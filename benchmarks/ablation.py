"""Ablation by branches off one unmasked pass, against the loop that runs a whole pass for each head.

    .venv/bin/python benchmarks/ablation.py

Both measure the same pack of items (tables to look up in the context) with the same model, alternating; medians of the
rounds, and how far their losses are apart. Of the layers every fifth is taken, from the third on, so that they lie as
deep as all do on average: a branch costs the layers above it.
"""

import argparse
import statistics
import sys
import time

import numpy as np
import torch

from attention_influence import load_model
from attention_influence.demo.assets import fetch
from attention_influence.heads.ablation import _BRANCH_TOKENS
from attention_influence.model.trunk import Trunk
from attention_influence.tasks.in_context import in_context_items
from attention_influence.tasks.items import tokenize
from attention_influence.tasks.outcomes import answer_losses, predictions

_EVERY = 5


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="default: the demo's")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_model(options.model or str(fetch().model))
    items = [item for item in in_context_items(options.items, 0) if item.task == "in-context copying"]
    pack = [question for item in items if (question := tokenize(item, model.tokens, model.context)) is not None]
    readings = [reading for question in pack for reading in question.readings]
    windows = [reading.tokens for reading in readings]
    tokens = sum(map(len, windows))
    at_N, target_N = (torch.from_numpy(x_N).to(model.device) for x_N in predictions(readings))
    layers = list(model.heads)[_EVERY // 2 :: _EVERY]
    n_heads = sum(model.heads.values())
    rows = max(1, _BRANCH_TOKENS[model.device.type] // tokens)

    def losses_of(body: object) -> np.ndarray:
        return answer_losses(pack, model.output.losses(body, at_N, target_N).cpu().numpy())

    def branches(trunk: Trunk) -> np.ndarray:
        """Of all heads of the layers taken."""
        return np.concatenate(
            [
                losses_of(trunk.branch(layer, [[head] for head in range(low, min(low + rows, model.heads[layer]))]))
                for layer in layers
                for low in range(0, model.heads[layer], rows)
            ]
        )

    def loop() -> np.ndarray:
        """Of the first head of the layers taken."""
        return np.concatenate([losses_of(model.forward(windows, {layer: [0]})) for layer in layers])

    first = np.cumsum([0, *(model.heads[layer] for layer in layers)])[:-1]
    seconds: dict[str, list[float]] = {"branches": [], "loop": []}
    for _ in range(options.rounds):
        began = time.monotonic()
        trunk = Trunk(model, windows)
        unmasked = time.monotonic() - began
        began = time.monotonic()
        ours = branches(trunk)
        seconds["branches"].append(unmasked + (time.monotonic() - began) / len(ours) * n_heads)
        began = time.monotonic()
        theirs = loop()
        seconds["loop"].append((time.monotonic() - began) / len(theirs) * n_heads)
        print(*(f"{name} {of[-1]:.0f} s" for name, of in seconds.items()), file=sys.stderr, flush=True)
    by_branches, by_loop = (statistics.median(of) for of in seconds.values())
    apart = np.abs(ours[first] - theirs).max()
    print(f"{n_heads} heads, {len(pack)} items, {tokens:,} tokens, {rows} rows at once")
    print(f"branches {by_branches:.0f} s, loop {by_loop:.0f} s: {by_loop / by_branches:.2f} times as long")
    print(f"losses differ by {apart:.1e} nats/token at most")


if __name__ == "__main__":
    main()
