"""The report: one HTML file that needs no network and no script, and shows texts as text, whatever they hold."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from attention_influence.corpus.whole_files import write_whole
from attention_influence.heads.head_set import HeadSet, load_heads
from attention_influence.report.plots import heatmap_svg, histogram_svg
from attention_influence.report.selected import Selected, read_selection
from attention_influence.report.store_figures import Document, Domain, read_store
from attention_influence.report.texts import texts_at
from attention_influence.report.visible import cut, label
from attention_influence.scoring.score_store import ScoreStore, open_store

TextOf = Callable[[str, int], str | None]
"""(source, row) → the document's text, None where it cannot be had."""

# More would bury the few settings that a reader looks for.
_SETTINGS = 120


@dataclass(frozen=True)
class _Example:
    document: Document
    text: str | None


@dataclass(frozen=True)
class _Section:
    domain: Domain
    threshold: float | None
    chosen: int | None
    tokens_chosen: int | None
    plot: Markup | None
    ends: tuple[tuple[str, list[_Example]], ...]


def write_report(
    out: Path,
    store: Path,
    heads: Path | None,
    selection: Path | None,
    text_of: TextOf | None = None,
    warnings: Sequence[str] = (),
) -> Path:
    """The path `out` of the page that now shows the store's figures, its heads, its selection and example texts.

    `heads` is a head set's file, `selection` a selection.json or the folder that holds one; either may be None.
    `text_of` is asked for at most ten documents of each domain; without it the texts are read from the corpus that
    the store names. `warnings` stand first on the page.
    Raises StoreError, HeadsError or CorpusError when one of the inputs cannot be read.
    """
    head_set = load_heads(heads) if heads else None
    selected = read_selection(selection) if selection else None
    cuts = {
        name: (entry.threshold, entry.chosen)
        for name, entry in (selected.cuts if selected else {}).items()
        if entry.threshold is not None and entry.chosen
    }
    scores = open_store(str(store))
    figures = read_store(scores, cuts)
    unread: list[str] = []
    if text_of is None:
        documents = [document for domain in figures.domains for document in (*domain.highest, *domain.lowest)]
        texts, unread = texts_at(scores, [(document.source, document.row) for document in documents])
        text_of = partial(_looked_up, texts)
    sections = [_section(domain, selected, text_of) for domain in figures.domains]
    page = _environment().from_string(_resource("template.html"))
    content = page.render(
        style=Markup(_resource("style.css")),
        warnings=[*warnings, *_own_warnings(scores, sections, selected), *unread],
        figures=figures,
        sections=sections,
        selected=selected,
        heads=head_set,
        head_rows=list(_head_rows(head_set)),
        heatmap=_heatmap(head_set),
        settings=list(islice(_settings("", scores.run), _SETTINGS)),
        model=str((head_set.model or {}).get("name", "")) if head_set else "",
    )
    write_whole(str(out), content.encode())
    return out


def _looked_up(texts: Mapping[tuple[str, int], str], source: str, row: int) -> str | None:
    return texts.get((source, row))


def _section(domain: Domain, selected: Selected | None, text_of: TextOf) -> _Section:
    entry = selected.cuts.get(domain.name) if selected else None
    threshold = entry.threshold if entry else None
    plot = None
    if domain.histogram:
        line = f", threshold {threshold:.4f}" if threshold is not None else ""
        described = f"Influence of {domain.ranked} documents of {label(domain.name)}{line}"
        plot = Markup(histogram_svg(domain.histogram.edges, domain.histogram.counts, threshold, described))
    ends = tuple(
        (title, [_example(document, text_of) for document in documents])
        for title, documents in (("Highest influence", domain.highest), ("Lowest influence", domain.lowest))
        if documents
    )
    chosen, tokens = (entry.chosen, entry.tokens_chosen) if entry else (None, None)
    return _Section(domain, threshold, chosen, tokens, plot, ends)


def _example(document: Document, text_of: TextOf) -> _Example:
    text = text_of(document.source, document.row)
    return _Example(document, None if text is None else cut(text))


def _own_warnings(scores: ScoreStore, sections: Sequence[_Section], selected: Selected | None) -> Iterator[str]:
    planned, done = scores.n_planned, len(scores.units)
    if done < planned:
        yield f"Scoring is not finished: the figures are those of {done} of {planned} units; resume it."
    if selected is None:
        return
    if selected.rank_by != "influence":
        yield f"The selection was ranked by {selected.rank_by}, so no threshold of influence is shown."
    missing = sorted(set(selected.cuts) - {section.domain.name for section in sections})
    if missing:
        yield f"The selection was made from another store: it has domains that this one lacks: {', '.join(missing)}."


def _head_rows(heads: HeadSet | None) -> Iterator[tuple[int, int, float | None, float | None]]:
    if heads is None:
        return
    for layer, head in heads.heads:
        yield layer, head, _cell(heads.scores, layer, head), _cell(heads.standard_errors, layer, head)


def _cell(matrix: Sequence[Sequence[float | None]] | None, layer: int, head: int) -> float | None:
    try:
        return matrix[layer][head] if matrix else None
    except IndexError:
        return None


def _heatmap(heads: HeadSet | None) -> Markup | None:
    return Markup(heatmap_svg(heads.scores, heads.heads)) if heads and heads.scores else None


def _settings(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """A nested record as (dotted name, value)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _settings(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Callable[..., str]] = {
        "label": lambda value: label(str(value)),
        "shown": cut,
        "count": _count,
        "decimal": _decimal,
    }
    environment.filters |= filters
    return environment


def _count(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"


def _decimal(value: float | None, digits: int = 4) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def _resource(name: str) -> str:
    return files("attention_influence.report").joinpath(name).read_text(encoding="utf-8")
