"""The report: one HTML file that needs no network, is readable without JavaScript, and shows all texts as text.

A section is a dataclass, made by a module of its own, and the template of its name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_influence.evidence.embedding import Embed
from attention_influence.evidence.words import count_words
from attention_influence.heads.head_set import load_heads
from attention_influence.progress import stage
from attention_influence.report.inputs import read_experiment, read_judged, read_stability, read_validity
from attention_influence.report.rendering import render
from attention_influence.report.sample import DOCUMENTS, Sample, draw_sample
from attention_influence.report.sections.checks import checks
from attention_influence.report.sections.colours import token_rises
from attention_influence.report.sections.diversity import diversity_section
from attention_influence.report.sections.heads import heads_section
from attention_influence.report.sections.judge import judge_section
from attention_influence.report.sections.provenance import provenance_section
from attention_influence.report.sections.reading import Examples, choose_examples, reading
from attention_influence.report.sections.score import score_section
from attention_influence.report.sections.screening import screening_section
from attention_influence.report.sections.summary import summary_section
from attention_influence.report.sections.training import training_section
from attention_influence.report.sections.words import Texts, words_section
from attention_influence.report.store_statistics import StoreStatistics, read_store
from attention_influence.report.texts import texts_at
from attention_influence.selection.record import SelectionRecord, read_selection
from attention_influence.storage.atomic_files import write_result
from attention_influence.store.find import Key
from attention_influence.store.parts import begun_parts, work_of
from attention_influence.store.reader import ScoreStore, open_store

if TYPE_CHECKING:  # torch takes seconds, and most reports need none
    from attention_influence.scoring.scorer import Scorer

TextOf = Callable[[str, int], str | None]
"""(source, row) → the document's text, None where it cannot be read."""


@dataclass(frozen=True)
class Section:
    """`data` is what `templates/<name>.html` shows; `name` is also its place in links."""

    name: str
    title: str
    data: Any


@dataclass(frozen=True)
class Inputs:
    """Files that the page may be given beside the store, by path or URL, and what it may call; each may be missing."""

    heads: str | Path | None = None
    selection: str | Path | None = None
    """selection.json, or the folder that holds it."""
    stability: str | Path | None = None
    validity: str | Path | None = None
    judge: str | Path | None = None
    experiment: str | Path | None = None
    scorer: "Scorer | None" = None
    """To colour the tokens of the texts shown; of the store's model and heads."""
    embed: Embed | None = None
    """For the section on diversity."""
    text_of: TextOf | None = None
    """By default texts are read from the corpus that the store names."""
    texts: int = 2_000
    """Documents whose words are counted, and that are embedded."""
    seed: int = 0
    warnings: Sequence[str] = ()
    """Stand first on the page."""


@stage("writing the report")
def write_report(out: str | Path, store: str | Path, inputs: Inputs) -> None:
    """Writes the page that shows the store and whatever else is given to the path or URL `out`.

    Raises StoreError, HeadsError or CorpusError when one of the inputs cannot be read.
    """
    heads = load_heads(inputs.heads) if inputs.heads else None
    selected = read_selection(inputs.selection) if inputs.selection else None
    stability = read_stability(str(inputs.stability)) if inputs.stability else None
    validity = read_validity(str(inputs.validity)) if inputs.validity else None
    judged = read_judged(str(inputs.judge)) if inputs.judge else None
    trained = read_experiment(str(inputs.experiment)) if inputs.experiment else None
    scores = open_store(str(store))
    parts = begun_parts(scores.url)
    records = parts[-1].records
    statistics = read_store(scores, _cuts(selected))
    ranked = {domain.name: domain.ranked for domain in statistics.domains}
    sample = draw_sample(scores, ranked, selected, DOCUMENTS, inputs.seed)
    examples = choose_examples(statistics.domains, sample)
    members = _members(sample, inputs.texts)
    text_of, unread = _texts(scores, inputs.text_of, [*_keys(examples), *(sample.keys[place] for place in members)])
    read = _read(sample, members, text_of)
    rises = (lambda texts: token_rises(inputs.scorer, texts)) if inputs.scorer else None  # type: ignore[arg-type]
    answered = checks(scores, statistics, sample, selected, heads, stability, validity)
    sections = [
        Section("summary", "Summary", summary_section(scores, statistics, selected, work_of(parts), answered)),
        Section("screening", "Screening", screening_section(scores, records)),
        Section("heads", "Heads", heads_section(heads, stability, validity) if heads else None),
        Section("score", "Score", score_section(statistics.domains, selected, sample)),
        Section("reading", "Reading", reading(examples, len(statistics.domains) - len(examples), text_of, rises)),
        Section(
            "diversity",
            "Diversity",
            diversity_section(sample, read, inputs.embed, inputs.seed) if inputs.embed else None,
        ),
        Section("words", "Words", words_section(sample, read) if read.texts else None),
        Section("judge", "Judge", judge_section(judged, scores)),
        Section("training", "Training", training_section(trained, scores)),
        Section("provenance", "Provenance", provenance_section(scores, statistics, selected, heads, records)),
    ]
    warnings = [
        *inputs.warnings,
        *_own_warnings(scores, statistics, selected),
        *((selected.content.get("warnings") or ()) if selected else ()),
        *((validity or {}).get("warnings", ())),
        *((judged or {}).get("warnings", ())),
        *_of_another_model(scores, inputs.scorer),
        *unread,
    ]
    page = render(
        "page.html",
        "page.js",
        warnings=list(dict.fromkeys(warnings)),
        sections=[one for one in sections if one.data is not None],
    )
    write_result(str(out), page.encode())


def _cuts(selected: SelectionRecord | None) -> Mapping[str, tuple[float, int]]:
    return {
        name: (threshold, at.chosen)
        for name, at in (selected.thresholds.items() if selected else ())
        if selected and (threshold := selected.influence_threshold(name)) is not None and at.chosen
    }


def _keys(examples: Examples) -> Iterator[Key]:
    for lists in examples.values():
        for documents in lists.values():
            yield from ((document.source, document.row) for document in documents)


def _members(sample: Sample, most: int) -> list[int]:
    """Places in the sample of the documents to read: the same number of each domain, the first in its random order."""
    parts = sample.parts().values()
    share = -(-most // max(len(parts), 1))
    return [place for part in parts for place in range(part.start, min(part.stop, part.start + share))]


def _texts(store: ScoreStore, text_of: TextOf | None, keys: Sequence[Key]) -> tuple[TextOf, list[str]]:
    if text_of is not None:
        return text_of, []
    texts, unread = texts_at(store, keys)
    return (lambda source, row: texts.get((source, row))), unread


def _read(sample: Sample, members: Sequence[int], text_of: TextOf) -> Texts:
    texts = {place: text for place in members if (text := text_of(*sample.keys[place])) is not None}
    counts, words = count_words(list(texts.values())) if texts else (None, [])
    return Texts(np.array(list(texts), dtype=np.int64), tuple(texts.values()), counts, words)


def _own_warnings(scores: ScoreStore, statistics: StoreStatistics, selected: SelectionRecord | None) -> Iterator[str]:
    planned, done = scores.n_planned, len(scores.units)
    if done < planned:
        yield f"Scoring is not finished: the statistics cover {done} of {planned} units; resume it."
    if selected is None:
        return
    if selected.rank_by != "influence":
        yield f"The selection was ranked by {selected.rank_by}, so no threshold of influence is shown."
    if selected.undecided:
        yield (
            f"The selection does not record which documents of {', '.join(selected.undecided)} it drew: "
            "below, as many of the top stand for them."
        )
    missing = sorted(set(selected.thresholds) - {domain.name for domain in statistics.domains})
    if missing:
        yield f"The selection was made from another store: it has domains that this one lacks: {', '.join(missing)}."


def _of_another_model(store: ScoreStore, scorer: "Scorer | None") -> Iterator[str]:
    if scorer is None:
        return
    recorded = store.run.get("fingerprint") or {}
    current = {"weights": scorer.model.identity.weights, "heads": sorted(list(head) for head in scorer.heads)}
    different = [name for name, value in current.items() if recorded.get(name) != value]
    if different:
        yield (
            f"Tokens are coloured by a model whose {' and '.join(different)} differ from those that scored the store: "
            "the colours are not those of its scores."
        )
