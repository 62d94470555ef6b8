"""Figures of matplotlib as inline pictures that take the page's colours, and as files.

The same data give the same bytes: no date, no random ids.
"""

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attention_influence.storage.atomic_files import write_result

# Stand for the page's colours until a picture is inlined; no colour map yields them.
INK = "#010203"
"""The colour of the surrounding text."""
KEPT = "#010204"
"""What was kept: the page's one accent."""
REST = "#010205"
"""Everything else."""
_INLINED = {INK: "currentColor", KEPT: "var(--kept)", REST: "var(--rest)"}


def inline(figure: Figure, described: str, titles: Sequence[str] = ()) -> str:
    """The `<svg>` of a figure, `described` in words; `titles` are shown when the pointer rests on the marks, in order,
    of the artist whose gid is "titled".
    """
    svg = as_svg(figure, described)
    svg = svg[svg.index("<svg") :]
    if titles:
        svg = _titled(svg, titles)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Its style sheet and fonts would leak into the page or fight it; names of namespaces mean nothing inside HTML; and
    # numbered ids would stand twice in a page of several pictures.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|font-family: [^;]*; ", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:xmlns(?::\w+)?="[^"]*"|id="(?:titled|[\w.]+_\d+)")', "", svg)
    # A thousandth of a point is invisible, and thousands of them take megabytes.
    svg = re.sub(r' d="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match.group()), svg)
    for stand_in, colour in _INLINED.items():
        svg = svg.replace(stand_in, colour)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(described)}"', 1)


def as_svg(figure: Figure, salt: str) -> str:
    """The whole file."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def save_png(figure: Figure, path: str | Path) -> None:
    """Writes the figure on white, whole or not at all."""
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    write_result(str(path), out.getvalue())


def paint(figure: Figure, axes: Any, ink: str) -> None:
    """Gives the axes one colour and no background."""
    figure.set_facecolor("none")
    axes.set_facecolor("none")
    axes.tick_params(colors=ink, labelcolor=ink)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for spine in axes.spines.values():
        spine.set_edgecolor(ink)


def _titled(svg: str, titles: Sequence[str]) -> str:
    start = svg.index('<g id="titled">')
    end = svg.index("</g>", start)
    left = iter(titles)
    marks = re.sub(
        r"(<path[^>]*)/>",
        lambda match: f"{match[1]}><title>{html.escape(next(left))}</title></path>",
        svg[start:end],
    )
    return svg[:start] + marks + svg[end:]
