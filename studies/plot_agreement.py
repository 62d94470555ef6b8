"""A picture of what `compare --json` says: rank correlation and overlap of the top share, domain by ranking.

attention-influence compare STORE --against perplexity,length,controlled --json |
    .venv/bin/python studies/plot_agreement.py docs/studies/drivers.png
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def main() -> None:
    [path] = sys.argv[1:]
    data = json.load(sys.stdin)
    rankings = [side["ranking"]["name"] for side in data["b"]]
    cells = {(one["domain"], one["against"]): one for one in data["agreements"]}
    domains = sorted({domain for domain, _ in cells})
    figure, axes = plt.subplots(1, 2, figsize=(5 + 1.1 * len(rankings), 1.6 + 0.5 * len(domains)), sharey=True)
    titles = ("Spearman with influence", f"overlap of the top {data['top']:.0%} (chance: {data['top']:.0%})")
    for axis, figure_of, title, lowest in zip(axes, (_spearman, _overlap), titles, (-1, 0), strict=True):
        values = np.array([[figure_of(cells[domain, name]) for name in rankings] for domain in domains])
        axis.imshow(values, cmap="RdBu" if lowest else "Blues", vmin=lowest, vmax=1, aspect="auto")
        for row, column in np.ndindex(values.shape):
            dark = abs(values[row, column]) > 0.6
            axis.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color="w" if dark else "k")
        axis.set_xticks(range(len(rankings)), rankings, rotation=40, ha="right")
        axis.set_yticks(range(len(domains)), domains)
        axis.set_title(title, fontsize="medium")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _spearman(agreement: dict[str, float | None]) -> float:
    value = agreement["spearman"]
    return float("nan") if value is None else value


def _overlap(agreement: dict[str, float]) -> float:
    return agreement["overlap"]


if __name__ == "__main__":
    main()
