"""Which documents are judged: of each domain, a random sample of what each ranking picks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from attention_influence.errors import StoreError, UsageError
from attention_influence.selection.cutting.chosen import ChosenRows, choose_rows
from attention_influence.selection.key_sample import DomainSamples
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.selection.record import SelectionRecord, read_selection
from attention_influence.selection.rule import Rule
from attention_influence.selection.screened import check_rankable
from attention_influence.store.reader import ScoreStore, open_store
from attention_influence.store.row_hashes import salted, tie_hashes
from attention_influence.store.run import open_run

SELECTED = "selected"
"""What an earlier selection is called among the rankings."""


@dataclass(frozen=True)
class Sampled:
    """A document, and which choices it was drawn from."""

    source: str
    row: int
    domain: str
    rankings: tuple[str, ...]


def open_store_or_selection(url: str) -> tuple[ScoreStore, SelectionRecord | None]:
    """The store at a path or URL, or the store that a selection there was made from, with its record.

    Raises UsageError where there is neither, or the selection does not say which documents it chose.
    """
    if open_run(url) is not None:
        return open_store(url), None
    try:
        record = read_selection(url)
    except UsageError:
        raise UsageError(
            f"{url} is neither a score store nor a selection. Give the folder that `score` or `select` made"
        ) from None
    if record.undecided:
        raise UsageError(
            f"{record.url} was made with --temperature, and does not say which documents were drawn. Give the store "
            "that it was made from"
        )
    try:
        return open_store(str(record.content.get("store", ""))), record
    except StoreError as error:
        raise UsageError(
            f"{record.url} was made from a store that is not there now: {error} If the store's path was relative, run "
            "this where `select` was run; or judge the store itself"
        ) from None


def choices(
    store: ScoreStore, names: Sequence[str], top: float, seed: int, record: SelectionRecord | None
) -> Iterator[tuple[str, ChosenRows]]:
    """What each ranking picks, after its name, as `select` would cut it: the `top` of each domain.

    With a selection, first what it chose; rankings then pick as many documents of each domain as it did.
    """
    rule = Rule(top)
    if record is not None:
        ranking = open_ranking(store, record.rank_by, record.seed)
        rows = choose_rows(store, Rule(apply=record.url, rank_by=record.rank_by), ranking, earlier=record)
        # Shares are rounded up: half a document less gives exactly as many.
        caps = {at.domain: max(0.0, at.chosen - 0.5) / max(at.ranked, 1) for at in rows.thresholds}
        rule = Rule(1.0, caps=caps)
        yield SELECTED, rows
        del rows
    for name in names:
        check_rankable(store, name)
        yield name, choose_rows(store, replace(rule, rank_by=name), open_ranking(store, name, seed))


def draw(chosen: Iterable[tuple[str, ChosenRows]], count: int, seed: int) -> list[Sampled]:
    """Of each domain and choice at most `count` documents, those with the smallest of one hash of their keys, in its
    order: random, and the same document for several choices wherever they share it.
    """
    drawn: dict[tuple[str, int], tuple[int, str, list[str]]] = {}
    for name, rows in chosen:
        samples = DomainSamples(count)
        for batch in rows.batches():
            sources = batch["source"].cast(pa.string())
            hashes = salted(tie_hashes(sources, batch["row"].to_numpy()), f"judge {seed}")
            keys = {"domain": batch["domain"].cast(pa.string()), "source": sources, "row": batch["row"], "hash": hashes}
            samples.add(pa.table(keys), hashes)
        for domain, sampled in samples.rows().items():
            for record in sampled.to_pylist():
                key = record["source"], record["row"]
                drawn.setdefault(key, (record["hash"], domain, []))[2].append(name)
    ordered = sorted(drawn.items(), key=lambda item: item[1][0])
    return [Sampled(*key, domain, tuple(names)) for key, (_, domain, names) in ordered]
