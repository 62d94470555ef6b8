"""Ablation by branches off one unmasked pass, against the loop that runs a whole pass for each head; and attribution.

    .venv/bin/python benchmarks/ablation.py

All measure the same pack of items (tables to look up in the context) with the same model, layer by layer in turn;
medians of the rounds, in seconds of the clock and of the processor, and how far the losses of both ways are apart. Of
the layers every fifth is taken, from the third on, so that they lie as deep as all do on average: a branch costs the
layers above it.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from attention_influence import load_model
from attention_influence.demo.assets import fetch
from attention_influence.heads.ablation import _BRANCH_TOKENS
from attention_influence.heads.attribution import attribute
from attention_influence.model.passes.trunk import Trunk
from attention_influence.tasks.in_context import in_context_items
from attention_influence.tasks.items import tokenize
from attention_influence.tasks.outcomes import answer_losses, predictions

_EVERY = 5


class Clock:
    """Seconds of the clock and of the processor, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        began = np.array([time.monotonic(), time.process_time()])
        yield
        self.seconds[name] += np.array([time.monotonic(), time.process_time()]) - began


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
    n_heads, taken = sum(model.heads.values()), sum(model.heads[layer] for layer in layers)
    rows = max(1, _BRANCH_TOKENS[model.device.type] // tokens)

    def losses_of(body: object) -> np.ndarray:
        return answer_losses(pack, model.output.losses(body, at_N, target_N).cpu().numpy())

    rounds: dict[str, list[np.ndarray]] = defaultdict(list)
    apart = 0.0
    for _ in range(options.rounds):
        clock = Clock()
        with clock.timing("trunk"):
            trunk = Trunk(model, windows)
        for layer in layers:
            with clock.timing("branches"):
                ours = [
                    losses_of(trunk.branch(layer, [[head] for head in range(low, min(low + rows, model.heads[layer]))]))
                    for low in range(0, model.heads[layer], rows)
                ]
            with clock.timing("loop"):
                theirs = losses_of(model.forward(windows, {layer: [0]}))
            apart = max(apart, float(np.abs(ours[0][0] - theirs[0]).max()))
        with clock.timing("attribution"):
            attribute(model, pack)
        of = clock.seconds
        rounds["branches"].append(of["trunk"] + of["branches"] / taken * n_heads)
        rounds["loop"].append(of["loop"] / len(layers) * n_heads)
        rounds["attribution"].append(of["attribution"])
        print(*(f"{name} {seconds[-1].round(1)} s" for name, seconds in rounds.items()), file=sys.stderr, flush=True)
    print(
        f"{n_heads} heads, {len(pack)} items, {tokens:,} tokens, {rows} rows at once; {torch.get_num_threads()} threads"
    )

    def median(name: str, side: int) -> float:
        return statistics.median(of[side] for of in rounds[name])

    for side, name in enumerate(("clock", "processor")):
        branches, loop, attribution = (median(way, side) for way in ("branches", "loop", "attribution"))
        print(
            f"{name}: branches {branches:.0f} s, loop {loop:.0f} s, {loop / branches:.2f} times as long; attribution "
            f"{attribution:.1f} s, {attribution / branches:.1%} of the branches"
        )
    print(f"losses differ by {apart:.1e} nats/token at most")


if __name__ == "__main__":
    main()
