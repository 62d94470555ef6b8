"""`compare`: two rankings of a store, or two stores, side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import CompareConfig
from attention_influence.config.options import split_names
from attention_influence.errors import UsageError
from attention_influence.evidence.compare import STATISTICS, Agreement, Comparison, Example, compare
from attention_influence.progress import stage
from attention_influence.report.texts import texts_at
from attention_influence.report.visible import label
from attention_influence.selection.ranking.ranking import Ranking, open_ranking
from attention_influence.selection.screened import check_rankable, screening_of
from attention_influence.store.find import Key
from attention_influence.store.reader import ScoreStore, open_store
from attention_influence.store.run import differing_fields


@stage("comparing")
def compare_command(config: CompareConfig) -> Result:
    if not 0 < config.top <= 1:
        raise UsageError(f"--top is {config.top}; it is a share above 0 and at most 1, such as 0.2.")
    a = open_store(config.store)
    b = open_store(config.other) if config.other else None
    names = split_names(config.against) or [config.rank_by if b else "controlled"]
    for store, name in [(a, config.rank_by), *((b or a, name) for name in names)]:
        check_rankable(store, name)
    ranking = open_ranking(a, config.rank_by, config.seed)
    against = [open_ranking(b or a, name, config.seed) for name in names]
    found = compare(a, ranking, b, against, top=config.top, examples=config.examples, sample=config.sample)
    keys = [(e.source, e.row) for one in found.agreements for e in (*one.examples_a, *one.examples_b)]
    texts, unread = texts_at(a, keys)
    notes = [
        f"{store.url} is not finished: {len(store.units)} of {store.n_planned} units"
        for store in (a, b)
        if store and not store.is_complete
    ]
    notes += [
        f"{store.url} was scored with --screen: only documents with a score are compared, which are no random choice"
        for store in (a, b)
        if store and screening_of(store.url, store.run) is not None
    ]
    notes += [warning for one in (ranking, *against) if one.control for warning in one.control.warnings()]
    different = differing_fields(a.run.get("fingerprint"), b.run.get("fingerprint")) if b else []
    data = {
        "a": _side(a, ranking),
        "b": [_side(b or a, one) for one in against],
        "top": config.top,
        "fingerprints_differ_in": different,
        **{name: value for name, value in vars(found).items() if name != "agreements"},
        "agreements": [_to_json(one, texts) for one in found.agreements],
        "warnings": [*notes, *unread],
    }
    lines = [f"A: {ranking.name} of {a.url}", *(f"B: {one.name} of {(b or a).url}" for one in against)]
    if b:
        lines.append(f"fingerprints differ in: {', '.join(different) or 'nothing'}")
    details = len(against) == 1
    lines += [*_counts(found, config.sample, b is not None), "", *_tables(found, config.top, details, texts)]
    lines += [f"warning: {note}" for note in (*notes, *(unread if details else ()))]
    return Result("\n".join(lines), data)


def _counts(found: Comparison, sample: int, two_stores: bool) -> Iterator[str]:
    text = f"{found.documents:,} documents"
    if two_stores:
        text += f" in both stores; {found.only_a:,} only in A, {found.only_b:,} only in B"
    yield text + (f" (of a random sample by key, at most {sample:,})" if found.is_sample else "")
    if found.moved:
        yield f"{found.moved:,} are in another domain in B; they count in that of A"


def _tables(found: Comparison, top: float, details: bool, texts: Mapping[Key, str]) -> Iterator[str]:
    headings = ("domain", "B", "documents", "Spearman", f"overlap of top {top:g}", "by chance")
    yield table(
        headings,
        [
            (one.domain, one.against, one.documents, one.spearman, one.top.share, one.top.chance)
            for one in found.agreements
        ],
    )
    if not details:
        yield "means and examples: with one --against, or --json"
        return
    yield ""
    rows = [
        (one.domain, name, picked.documents, *(_rounded(statistic, mean) for statistic, mean in picked.means.items()))
        for one in found.agreements
        for name, picked in (("both", one.both), ("only A", one.only_a), ("only B", one.only_b))
    ]
    yield table(("domain", "picked by", "documents", *STATISTICS), rows)
    for one in found.agreements:
        for name, examples in (("A", one.examples_a), ("B", one.examples_b)):
            if examples:
                yield f"\n{one.domain}, only {name} (rank in A, in B)"
                yield from (
                    f"  {e.rank_a:,}, {e.rank_b:,}  {_named(e)}  {_excerpt(e, texts)}".rstrip() for e in examples
                )


def _rounded(statistic: str, mean: float | None) -> float | int | None:
    return round(mean) if statistic == "n_tokens" and mean is not None else mean


def _named(example: Example) -> str:
    return label(example.id if example.id is not None else f"{example.source}:{example.row}")


def _excerpt(example: Example, texts: Mapping[Key, str]) -> str:
    return label(texts.get((example.source, example.row), ""))


def _side(store: ScoreStore, ranking: Ranking) -> dict[str, Any]:
    return {"store": store.url, "complete": store.is_complete, "ranking": ranking.to_json()}


def _to_json(one: Agreement, texts: Mapping[Key, str]) -> dict[str, Any]:
    record = {name: value for name, value in asdict(one).items() if name != "top"}
    record |= {"chosen": one.top.chosen, "overlap": one.top.share, "chance": one.top.chance}
    for side in ("examples_a", "examples_b"):
        record[side] = [asdict(e) | {"excerpt": _excerpt(e, texts) or None} for e in getattr(one, side)]
    return record
