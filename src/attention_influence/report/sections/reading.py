"""The section for reading: documents of each domain from the top, the threshold, the bottom and at random, and those
that only influence or only controlled influence picks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from attention_influence.report.sample import Sample
from attention_influence.report.sections.colours import Piece, coloured
from attention_influence.report.store_statistics import Domain
from attention_influence.report.visible import TEXT_LIMIT, visible

Key = tuple[str, int]

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
class Example:
    """One document on the page; figures that it lacks are None."""

    source: str
    row: int
    id: str | None
    flag: str | None
    kept: bool | None
    """None where it is not known."""
    influence: float
    loss_base: float | None
    n_tokens: int | None
    copy_share: float | None
    repeat_share: float | None
    compression: float | None


@dataclass(frozen=True)
class Shown:
    """An example with its text as HTML, None where the text cannot be read."""

    document: Example
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


Examples = Mapping[str, Mapping[str, Sequence[Example]]]
"""Domain → list → its documents."""


def choose_examples(domains: Sequence[Domain], sample: Sample) -> Examples:
    """What is shown of each domain; the ends are those of the store, the rest of the sample."""
    shown = sorted(sorted(domains, key=lambda domain: -domain.ranked)[:MOST_DOMAINS], key=lambda domain: domain.name)
    most = max(1, min(_EXAMPLES, _MOST_DOCUMENTS // (len(LISTS) * max(len(shown), 1))))
    place = {key: number for number, key in enumerate(sample.keys)}
    only = _only_one(sample)
    found: dict[str, dict[str, Sequence[Example]]] = {}
    for domain in shown:
        here = np.flatnonzero(sample.domains == domain.name)
        lists: dict[str, Sequence[Example]] = {}
        for name, documents in (("highest", domain.highest), ("lowest", domain.lowest)):
            lists[name] = [
                Example(
                    kept=bool(sample.kept[place[key]]) if (key := (d.source, d.row)) in place else None,
                    **{field: getattr(d, field) for field in Example.__dataclass_fields__ if field != "kept"},
                )
                for d in documents[:most]
            ]
        order = here[np.argsort(sample.margin[here], kind="stable")]
        picked = {
            "above": order[sample.kept[order]][:most],
            "below": order[~sample.kept[order] & ~np.isnan(sample.margin[order])][::-1][:most],
            "random": here[:most],
            **{name: here[mask[here]][:most] for name, mask in only.items()},
        }
        if not sample.kept[here].any():
            del picked["above"], picked["below"]
        lists |= {name: [_example(sample, int(number)) for number in numbers] for name, numbers in picked.items()}
        found[domain.name] = _each_once(lists)
    return found


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
    lists: Mapping[str, Sequence[Example]], texts: Mapping[Key, str], marked: Mapping[Key, Markup]
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


def _each_once(lists: Mapping[str, Sequence[Example]]) -> dict[str, Sequence[Example]]:
    """The lists that are not empty, in order, without what an earlier one shows; what is drawn at random stays."""
    seen: set[Key] = set()
    found: dict[str, Sequence[Example]] = {}
    for name in LISTS:
        documents = [d for d in lists.get(name, ()) if name == "random" or (d.source, d.row) not in seen]
        if documents:
            found[name] = documents
        if name != "random":
            seen |= {(d.source, d.row) for d in documents}
    return found


def _only_one(sample: Sample) -> dict[str, npt.NDArray[np.bool_]]:
    if "controlled" not in sample.heights:
        return {}
    influence, controlled = (sample.chosen_by(name) for name in ("influence", "controlled"))
    return {"influence": influence & ~controlled, "controlled": controlled & ~influence}


def _example(sample: Sample, number: int) -> Example:
    source, row = sample.keys[number]
    values = {
        name: None if np.isnan(value := float(sample.figures[name][number])) else value
        for name in ("loss_base", "n_tokens", "copy_share", "repeat_share", "compression")
    }
    tokens = values.pop("n_tokens")
    return Example(
        source=source,
        row=row,
        id=sample.ids[number],
        flag=sample.flags[number],
        kept=bool(sample.kept[number]),
        influence=float(sample.figures["influence"][number]),
        n_tokens=None if tokens is None else int(tokens),
        **values,
    )
