"""Pictures: the heatmap of head scores, the histogram of influence, what tasks lose when heads are masked, losses.

Letters of shapes: H heads, L layers.
"""

import math
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attention_influence.errors import UsageError
from attention_influence.report.figures.svg import INK, KEPT, REST, as_svg, inline, paint, save_png
from attention_influence.storage.atomic_files import write_result

Matrix = Sequence[Sequence[float | None]]
Bars = Mapping[str, tuple[float, tuple[float, float] | None]]

_CHOSEN = "#d9822b"
_BARS = "#5b8db8"
_OTHERS = "#b9c3cc"


def heatmap_svg(head_scores: Matrix, chosen: Sequence[tuple[int, int]], name: str = "retrieval score") -> str:
    """An inline `<svg>` of the score of every head, the chosen ones marked with a dot; `name` is what the score is.

    `head_scores` is [layers][heads]; None, and heads that a layer lacks, stay empty. Each head's score is its title.
    """
    figure = _heatmap(head_scores, chosen, name, INK)
    scored = [score for row in head_scores for score in row if score is not None]
    highest = f", the highest {max(scored):.3f}" if scored else ""
    described = (
        f"{name.capitalize()} of {len(scored)} heads in {len(head_scores)} layers{highest}; {len(chosen)} chosen"
    )
    ranks = {pair: f", chosen as number {rank}" for rank, pair in enumerate(chosen, start=1)}
    titles = [
        f"layer {layer}, head {head}: {score}" + ranks.get((layer, head), "")
        for head in range(max(map(len, head_scores)))
        for layer, row in enumerate(head_scores)
        for score in (f"{row[head]:.3f}" if head < len(row) and row[head] is not None else "no score",)
    ]
    return inline(figure, described, titles)


def save_heatmap(
    head_scores: Matrix, chosen: Sequence[tuple[int, int]], path: str | Path, name: str = "retrieval score"
) -> None:
    """Writes the heatmap on white to `path`, which ends in .png or .svg. Raises UsageError for other endings."""
    path = str(path)
    suffix = posixpath.splitext(path)[1]
    if suffix not in (".png", ".svg"):
        raise UsageError(f"{path}: a heatmap is written as .png or .svg; give the file one of these endings")
    figure = _heatmap(head_scores, chosen, name, "#222222")
    if suffix == ".svg":
        figure.set_facecolor("white")
        write_result(path, as_svg(figure, "heatmap").encode())
    else:
        save_png(figure, path)


def histogram_svg(edges: Sequence[float], counts: Sequence[int], threshold: float | None, described: str) -> str:
    """An inline `<svg>` of how many documents have which influence; those from `threshold` on are marked as kept.

    `edges` has one value more than `counts`. `described` is the picture's text alternative.
    """
    figure = Figure(figsize=(4.4, 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True, color=REST)
    if threshold is not None:
        bars = axes.stairs(counts, edges, fill=True, color=KEPT)
        bars.set_clip_path(axes.axvspan(threshold, edges[-1], visible=False))
        axes.axvline(threshold, color=KEPT, linewidth=1.5)
        # Left of the line where it would run out of the picture.
        late = threshold > (edges[0] + edges[-1]) / 2
        axes.annotate(
            f"threshold {threshold:.4f}",
            (threshold, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=INK,
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("influence")
    axes.set_ylabel("documents")
    axes.set_ylim(0, max([*counts, 1]) * 1.18)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    paint(figure, axes, INK)
    axes.spines[["top", "right"]].set_visible(False)
    return inline(figure, described)


def curves_svg(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """An inline `<svg>` of training losses over tokens: arm → (tokens, loss)."""
    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    axes = figure.add_subplot()
    for number, (arm, (tokens, losses)) in enumerate(curves.items()):
        line = ("-", "--", ":")[number // 10 % 3]
        axes.plot(tokens, losses, line, color=f"C{number % 10}", label=arm.replace("$", r"\$"))
    axes.set_xlabel("tokens")
    axes.set_ylabel("loss, nats/token")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    paint(figure, axes, INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", labelcolor=INK)
    ends = ", ".join(f"{arm} {losses[-1]:.3f}" for arm, (_, losses) in curves.items())
    return inline(figure, f"Training loss over tokens; at the end {ends} nats/token")


def save_changes(tasks: Sequence[str], panels: Mapping[str, Sequence[Bars]], path: str | Path) -> None:
    """Writes horizontal bars on white to `path`, a PNG: for each panel (label → bars of each task), what was changed.

    `Bars` maps a condition to its value and its interval; None draws no interval.
    """
    figure = Figure(figsize=(4.6 * len(panels) + 1.6, 1.1 + 0.62 * len(tasks)), layout="constrained")
    rows = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, bars_of) in zip(rows, panels.items(), strict=True):
        for number, name in enumerate(bars_of[0]):
            at = [task + (number - (len(bars_of[0]) - 1) / 2) * 0.26 for task in range(len(tasks))]
            colour = (_CHOSEN, _OTHERS, _BARS)[number % 3]
            axes.barh(at, [bars[name][0] for bars in bars_of], height=0.24, color=colour, label=name)
            for place, bars in zip(at, bars_of, strict=True):
                if bars[name][1] is not None:
                    axes.plot(bars[name][1], (place, place), color="#222222", linewidth=1)
        axes.axvline(0, color="#222222", linewidth=0.8)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    rows[0].set_yticks(range(len(tasks)), tasks)
    rows[0].invert_yaxis()
    rows[-1].legend(frameon=False, title="masked heads", fontsize="small")
    save_png(figure, path)


def _heatmap(head_scores: Matrix, chosen: Sequence[tuple[int, int]], name: str, ink: str) -> Figure:
    layers, heads = len(head_scores), max(map(len, head_scores), default=0)
    if not layers or not heads:
        raise UsageError("there are no head scores to draw; give a [layers][heads] matrix")
    score_HL = np.full((heads, layers), math.nan)
    for layer, row in enumerate(head_scores):
        for head, score in enumerate(row):
            score_HL[head, layer] = math.nan if score is None else score
    figure = Figure(figsize=(max(4.0, 1.6 + 0.24 * layers), max(1.9, 0.9 + 0.24 * heads)), layout="constrained")
    axes = figure.add_subplot()
    known = score_HL[np.isfinite(score_HL)]
    lowest, highest = min([0.0, *known]), max([0.0, *known])
    cells = axes.pcolormesh(np.ma.masked_invalid(score_HL), cmap="viridis", vmin=lowest, vmax=highest or 1.0)
    cells.set_gid("titled")
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.scatter(
        [layer + 0.5 for layer, _ in chosen],
        [head + 0.5 for _, head in chosen],
        s=26,
        facecolor="white",
        edgecolor="black",
        linewidth=1,
    )
    for axis, size in ((axes.xaxis, layers), (axes.yaxis, heads)):
        labels = range(0, size, max(1, math.ceil(size / 16)))
        axis.set_ticks([index + 0.5 for index in labels], [str(index) for index in labels])
    axes.set_xlabel("layer")
    axes.set_ylabel("head")
    bar = figure.colorbar(cells, ax=axes, label=name, fraction=0.03, pad=0.01)
    bar.outline.set_visible(False)
    paint(figure, axes, ink)
    paint(figure, bar.ax, ink)
    return figure
