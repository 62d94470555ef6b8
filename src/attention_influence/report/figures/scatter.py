"""Pictures of many documents as dots, what was kept in the page's accent: one figure against another, and a map."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from attention_influence.report.figures.svg import INK, KEPT, REST, inline, paint

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SHOWN = 500
"""Dots of a picture; more would be a blot, and megabytes."""


def scatter_svg(x: Array, y: Array, kept: Mask, labels: tuple[str, str], described: str, log: bool = False) -> str:
    """An inline `<svg>` of y against x, both [documents], with the labels (of x, of y); at most 500 documents.

    Documents without a number are left out, and those beyond the middle 99% lie at the edges.
    """
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log)))[:_SHOWN]
    figure = Figure(figsize=(3.1, 2.3), layout="constrained")
    axes = figure.add_subplot()
    x, y, kept = _within(x[known]), _within(y[known]), kept[known]
    if log:
        axes.set_xscale("log")
    _dots(axes, x, y, kept)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.locator_params(axis="y", nbins=5)
    if not log:
        axes.locator_params(axis="x", nbins=5)
    paint(figure, axes, INK)
    axes.spines[["top", "right"]].set_visible(False)
    return inline(figure, described)


def map_svg(places: Array, kept: Mask, described: str) -> str:
    """An inline `<svg>` of documents at their `places` [documents, 2]; distances alone have a meaning."""
    figure = Figure(figsize=(3.6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    _dots(axes, places[:_SHOWN, 0], places[:_SHOWN, 1], kept[:_SHOWN])
    axes.set_xticks([])
    axes.set_yticks([])
    paint(figure, axes, INK)
    axes.spines[:].set_visible(False)
    return inline(figure, described)


def _within(values: Array) -> Array:
    """The values, those beyond the middle 99% moved to its ends: one outlier would flatten all the others."""
    if not len(values):
        return values
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray(np.clip(values, low, high), dtype=np.float64)


def _dots(axes: Any, x: Array, y: Array, kept: Mask) -> None:
    for colour, drawn in ((REST, ~kept), (KEPT, kept)):
        # One path of segments without length: a tenth of the bytes of a mark for each document.
        gaps = np.full(int(drawn.sum()), np.nan)
        columns = [np.column_stack([values, values, gaps]).ravel() for values in (x[drawn], y[drawn])]
        (dots,) = axes.plot(*columns, color=colour, linewidth=3.2, alpha=0.75, solid_capstyle="round")
        # Or segments without length are dropped.
        dots.get_path().should_simplify = False
