"""The section for reading: documents of each domain from the top, the threshold, the bottom and at random, and those
that only influence or only controlled influence picks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from attention_influence.report.sample import Sample
from attention_influence.report.sections.colours import Piece, coloured
from attention_influence.report.store_statistics import Document, Domain
from attention_influence.report.visible import TEXT_LIMIT, visible
from attention_influence.store.find import Key

MOST_DOMAINS = 40
"""Of more, the largest are shown."""
_MOST_DOCUMENTS = 240
_EXAMPLES = 5

LISTS = {
    "highest": "Highest influence",
    "above": "Just kept",
    "below": "Just dropped",
    "lowest": "Lowest influence",
    "random": "At random",
    "influence": "Picked by influence, not by controlled influence",
    "controlled": "Picked by controlled influence, not by influence",
}
"""Name of a list → its heading."""


@dataclass(frozen=True)
class Shown:
    """A document with its text as HTML, None where the text cannot be read."""

    document: Document
    text: Markup | None
    note: str
    """How much of it is shown, where that is not all."""


@dataclass(frozen=True)
class Listed:
    name: str
    heading: str
    documents: tuple[Shown, ...]


@dataclass(frozen=True)
class DomainLists:
    name: str
    lists: tuple[Listed, ...]


@dataclass(frozen=True)
class Reading:
    domains: tuple[DomainLists, ...]
    left_out: int
    """Domains that are not shown."""
    is_coloured: bool

    @property
    def documents(self) -> int:
        return sum(len(one.documents) for domain in self.domains for one in domain.lists)

    @property
    def headings(self) -> dict[str, str]:
        """Of the lists that there are."""
        names = {one.name for domain in self.domains for one in domain.lists}
        return {name: heading for name, heading in LISTS.items() if name in names}


Examples = Mapping[str, Mapping[str, Sequence[Document]]]
"""Domain → list → its documents."""


def choose_examples(domains: Sequence[Domain], sample: Sample) -> Examples:
    """What is shown of each domain; the ends are those of the store, the rest of the sample."""
    shown = sorted(sorted(domains, key=lambda domain: -domain.ranked)[:MOST_DOMAINS], key=lambda domain: domain.name)
    most = max(1, min(_EXAMPLES, _MOST_DOCUMENTS // (len(LISTS) * max(len(shown), 1))))
    place = {key: number for number, key in enumerate(sample.keys)}
    only = _only_one(sample)
    examples: dict[str, dict[str, Sequence[Document]]] = {}
    for domain in shown:
        members = np.flatnonzero(sample.domains == domain.name)
        lists: dict[str, Sequence[Document]] = {}
        for name, documents in (("highest", domain.highest), ("lowest", domain.lowest)):
            lists[name] = [
                replace(d, kept=bool(sample.kept[place[key]]) if (key := (d.source, d.row)) in place else None)
                for d in documents[:most]
            ]
        order = members[np.argsort(sample.margin[members], kind="stable")]
        picked = {
            "above": order[sample.kept[order]][:most],
            "below": order[~sample.kept[order] & ~np.isnan(sample.margin[order])][::-1][:most],
            "random": members[:most],
            **{name: members[mask[members]][:most] for name, mask in only.items()},
        }
        if not sample.kept[members].any():
            del picked["above"], picked["below"]
        lists |= {name: [_document(sample, int(number)) for number in numbers] for name, numbers in picked.items()}
        examples[domain.name] = _each_once(lists)
    return examples


def reading(
    examples: Examples,
    left_out: int,
    text_of: Callable[[str, int], str | None],
    rises: Callable[[Sequence[str]], list[list[Piece]]] | None,
) -> Reading:
    """The section; `rises` gives the pieces of texts with the rise of each token's loss."""
    keys = {(e.source, e.row) for lists in examples.values() for of_list in lists.values() for e in of_list}
    texts = {key: text for key in sorted(keys) if (text := text_of(*key)) is not None}
    marked = dict(zip(texts, map(coloured, rises(list(texts.values()))), strict=True)) if rises else {}
    return Reading(
        tuple(DomainLists(name, tuple(_listed(lists, texts, marked))) for name, lists in examples.items()),
        left_out,
        rises is not None,
    )


def _listed(
    lists: Mapping[str, Sequence[Document]], texts: Mapping[Key, str], marked: Mapping[Key, Markup]
) -> Iterator[Listed]:
    for name, documents in lists.items():
        shown = []
        for document in documents:
            key = (document.source, document.row)
            text = texts.get(key)
            if text is None:
                shown.append(Shown(document, None, ""))
                continue
            note = f"{TEXT_LIMIT:,} of {len(text):,} characters shown" if len(text) > TEXT_LIMIT else ""
            shown.append(Shown(document, marked.get(key) or escape(visible(text[:TEXT_LIMIT])), note))
        yield Listed(name, LISTS[name], tuple(shown))


def _each_once(lists: Mapping[str, Sequence[Document]]) -> dict[str, Sequence[Document]]:
    """The lists that are not empty, in order, without what an earlier one shows; what is drawn at random stays."""
    seen: set[Key] = set()
    once: dict[str, Sequence[Document]] = {}
    for name in LISTS:
        documents = [d for d in lists.get(name, ()) if name == "random" or (d.source, d.row) not in seen]
        if documents:
            once[name] = documents
        if name != "random":
            seen |= {(d.source, d.row) for d in documents}
    return once


def _only_one(sample: Sample) -> dict[str, npt.NDArray[np.bool_]]:
    if "controlled" not in sample.rank_values:
        return {}
    influence, controlled = (sample.chosen_by(name) for name in ("influence", "controlled"))
    return {"influence": influence & ~controlled, "controlled": controlled & ~influence}


def _document(sample: Sample, number: int) -> Document:
    source, row = sample.keys[number]
    values = {
        name: None if np.isnan(value := float(sample.statistics[name][number])) else value
        for name in ("loss_base", "n_tokens", "copy_share", "repeat_share", "compression")
    }
    tokens = values.pop("n_tokens")
    return Document(
        source=source,
        row=row,
        id=sample.ids[number],
        flag=sample.flags[number],
        kept=bool(sample.kept[number]),
        influence=float(sample.statistics["influence"][number]),
        n_tokens=None if tokens is None else int(tokens),
        **values,
    )
