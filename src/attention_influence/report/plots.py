"""Pictures: the heatmap of retrieval scores, the histogram of influence, what tasks lose when heads are masked.

The same data give the same bytes: no date, no random ids. Inline pictures take the colour of the text around them, so
they read on light and dark pages alike. Letters of shapes: H heads, L layers.
"""

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attention_influence.errors import UsageError

Matrix = Sequence[Sequence[float | None]]
Bars = Mapping[str, tuple[float, tuple[float, float] | None]]

# Stands for the colour of the surrounding text until the picture is inlined; no colour map yields it.
_INK = "#010203"
_KEPT = "#d9822b"
_BARS = "#5b8db8"
_OTHERS = "#b9c3cc"


def heatmap_svg(head_scores: Matrix, chosen: Sequence[tuple[int, int]]) -> str:
    """An inline `<svg>` of the retrieval score of every head, the chosen ones marked with a dot.

    `head_scores` is [layers][heads]; None, and heads that a layer lacks, stay empty.
    """
    figure = _heatmap(head_scores, chosen, _INK)
    scored = [score for row in head_scores for score in row if score is not None]
    highest = f", the highest {max(scored):.3f}" if scored else ""
    described = f"Retrieval scores of {len(scored)} heads in {len(head_scores)} layers{highest}; {len(chosen)} chosen"
    return _inline(figure, described)


def save_heatmap(head_scores: Matrix, chosen: Sequence[tuple[int, int]], path: str | Path) -> None:
    """Writes the heatmap on white to `path`, which ends in .png or .svg. Raises UsageError for other endings."""
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise UsageError(f"{path}: a heatmap is written as .png or .svg; give the file one of these endings")
    figure = _heatmap(head_scores, chosen, "#222222")
    figure.set_facecolor("white")
    if path.suffix == ".svg":
        path.write_text(_svg(figure, "heatmap"), encoding="utf-8")
    else:
        _save_png(figure, path)


def histogram_svg(edges: Sequence[float], counts: Sequence[int], threshold: float | None, described: str) -> str:
    """An inline `<svg>` of how many documents have which influence, with a line at `threshold`.

    `edges` has one value more than `counts`. `described` is the picture's text alternative.
    """
    figure = Figure(figsize=(6.4, 2.3), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True, color=_BARS)
    if threshold is not None:
        axes.axvline(threshold, color=_KEPT, linewidth=2)
        # Left of the line where it would run out of the picture.
        late = threshold > (edges[0] + edges[-1]) / 2
        axes.annotate(
            f"threshold {threshold:.4f}",
            (threshold, 0.96),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=_INK,
        )
    axes.set_xlabel("influence")
    axes.set_ylabel("documents")
    axes.set_ylim(0, max([*counts, 1]) * 1.15)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    _paint(figure, axes, _INK)
    axes.spines[["top", "right"]].set_visible(False)
    return _inline(figure, described)


def save_changes(tasks: Sequence[str], panels: Mapping[str, Sequence[Bars]], path: str | Path) -> None:
    """Writes horizontal bars on white to `path`, a PNG: for each panel (label → bars of each task), what was changed.

    `Bars` maps a condition to its value and its interval; None draws no interval.
    """
    figure = Figure(figsize=(4.6 * len(panels) + 1.6, 1.1 + 0.62 * len(tasks)), layout="constrained")
    rows = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, bars_of) in zip(rows, panels.items(), strict=True):
        for number, name in enumerate(bars_of[0]):
            at = [task + (number - (len(bars_of[0]) - 1) / 2) * 0.26 for task in range(len(tasks))]
            colour = (_KEPT, _OTHERS, _BARS)[number % 3]
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
    figure.set_facecolor("white")
    _save_png(figure, path)


def _heatmap(head_scores: Matrix, chosen: Sequence[tuple[int, int]], ink: str) -> Figure:
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
    bar = figure.colorbar(cells, ax=axes, label="retrieval score", fraction=0.03, pad=0.01)
    bar.outline.set_visible(False)
    _paint(figure, axes, ink)
    _paint(figure, bar.ax, ink)
    return figure


def _save_png(figure: Figure, path: str | Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _paint(figure: Figure, axes: Any, ink: str) -> None:
    figure.set_facecolor("none")
    axes.set_facecolor("none")
    axes.tick_params(colors=ink, labelcolor=ink)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for spine in axes.spines.values():
        spine.set_edgecolor(ink)


def _svg(figure: Figure, salt: str) -> str:
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def _inline(figure: Figure, described: str) -> str:
    svg = _svg(figure, described)
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Its style sheet and fonts would leak into the page or fight it; names of namespaces mean nothing inside HTML; and
    # numbered ids would stand twice in a page of several pictures.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|font-family: [^;]*; ", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:xmlns(?::\w+)?="[^"]*"|id="[\w.]+_\d+")', "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(described)}"', 1)
