"""The section on diversity: clusters of documents, how evenly each choice fills them, and a map."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from attention_influence.evidence.diversity import (
    FEWEST,
    Cluster,
    Labels,
    Spread,
    cluster,
    describe_clusters,
    on_a_plane,
    spreads,
)
from attention_influence.evidence.embedding import Embed
from attention_influence.report.figures.scatter import map_svg
from attention_influence.report.sample import Sample, largest
from attention_influence.report.sections.score import choices
from attention_influence.report.sections.words import Texts
from attention_influence.report.visible import label

MOST_MAPPED = 6
_ENDS = 10


@dataclass(frozen=True)
class DomainSpread:
    name: str
    spreads: dict[str, Spread]
    plot: Markup | None


@dataclass(frozen=True)
class Diversity:
    documents: int
    clusters: int
    spreads: dict[str, Spread]
    """Choice → over all domains."""
    domains: tuple[DomainSpread, ...]
    most_kept: tuple[Cluster, ...]
    least_kept: tuple[Cluster, ...]
    on_plane: float
    """Share of the variance that the map shows."""
    is_preview: bool


def diversity_section(sample: Sample, read: Texts, embed: Embed, seed: int) -> Diversity | None:
    """The section, by embedding the texts that were read; None for fewer than 20."""
    if len(read.texts) < 2 * FEWEST:
        return None
    embeddings = embed(read.texts)
    labels = cluster(embeddings, seed)
    places, on_plane = on_a_plane(embeddings)
    chosen = {name: mask[read.members] for name, mask in choices(sample).items()}
    described = describe_clusters(labels, chosen["kept"], read.counts, read.words)
    half = min(_ENDS, len(described) // 2)
    return Diversity(
        len(read.texts),
        len(described),
        spreads(labels, chosen, seed),
        tuple(_domains(sample, read, labels, places, seed)),
        tuple(described[:half]),
        tuple(described[::-1][:half]),
        on_plane,
        sample.is_preview,
    )


def _domains(
    sample: Sample, read: Texts, labels: Labels, places: np.ndarray[tuple[int, ...], np.dtype[np.float64]], seed: int
) -> Iterator[DomainSpread]:
    domains, kept = sample.domains[read.members], sample.kept[read.members]
    for name in largest(domains, MOST_MAPPED):
        of_domain = np.flatnonzero(domains == name)
        chosen = kept[of_domain]
        described = f"Map of {len(of_domain)} documents of {label(name)}, {int(chosen.sum())} of them kept"
        plot = Markup(map_svg(places[of_domain], chosen, described))
        yield DomainSpread(name, spreads(labels[of_domain], {"kept": chosen, "dropped": ~chosen}, seed), plot)
