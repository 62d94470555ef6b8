"""The section on the heads: all scores as a picture, the chosen heads, how far the set moves, what masking it does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from attention_influence.heads.head_set import HeadSet
from attention_influence.report.figures.plots import heatmap_svg


@dataclass(frozen=True)
class ChosenHead:
    layer: int
    head: int
    score: float | None
    error: float | None
    certainty: float | None
    """Share of 1,000 draws of the probes in which it is chosen."""


@dataclass(frozen=True)
class Heads:
    heads: HeadSet
    chosen: tuple[ChosenHead, ...]
    heatmap: Markup | None
    stability: Mapping[str, Any] | None
    """As `stability` writes it; also `validity`."""
    validity: Mapping[str, Any] | None


def heads_section(heads: HeadSet, stability: Mapping[str, Any] | None, validity: Mapping[str, Any] | None) -> Heads:
    """The section."""
    shares = (stability or {}).get("certainty", {}).get("chosen_share", [])
    certain = {(layer, head): share for layer, head, share in shares}
    heatmap = Markup(heatmap_svg(heads.scores, heads.heads, heads.score_name)) if heads.scores else None
    return Heads(heads, tuple(_chosen(heads, certain)), heatmap, stability, validity)


def _chosen(heads: HeadSet, certain: Mapping[tuple[int, int], float]) -> Iterator[ChosenHead]:
    for layer, head in heads.heads:
        score, error = (_cell(matrix, layer, head) for matrix in (heads.scores, heads.standard_errors))
        # A head that no draw chose is not listed.
        certainty = certain.get((layer, head), 0.0) if certain else None
        yield ChosenHead(layer, head, score, error, certainty)


def _cell(matrix: Sequence[Sequence[float | None]] | None, layer: int, head: int) -> float | None:
    try:
        return matrix[layer][head] if matrix else None
    except IndexError:
        return None
