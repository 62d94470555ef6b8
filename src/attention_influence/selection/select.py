"""A selection from a score store: thresholds, ranks, then a dataset or a manifest, published whole."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from attention_influence.concurrency import in_threads
from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sources import Source, is_unchanged
from attention_influence.errors import StoreError, UsageError
from attention_influence.progress import progress
from attention_influence.runs.parallel import over_processes, over_ray
from attention_influence.selection.cutting.chosen import ChosenRows, choose_rows
from attention_influence.selection.output.card import card
from attention_influence.selection.output.columns import added_names
from attention_influence.selection.output.dataset import check_format, write_dataset, write_part
from attention_influence.selection.output.layout import Layout, lay_out
from attention_influence.selection.output.manifest import MANIFEST, write_manifest
from attention_influence.selection.output.parts import Output, OutputFormat, Part, parts_of
from attention_influence.selection.output.staging import DONE_MARK, Staging, check_target, staged
from attention_influence.selection.ranking.ranking import Ranking, open_ranking
from attention_influence.selection.ranking.temperature import Draw, drawn, standard_deviations
from attention_influence.selection.record import SelectionRecord, Threshold, read_selection
from attention_influence.selection.repetition import Repetition, repetition_of
from attention_influence.selection.result import Selection
from attention_influence.selection.rule import Rule
from attention_influence.selection.screened import check_screened
from attention_influence.storage.strict_json import strict_json
from attention_influence.store.reader import ScoreStore, open_store

Written = TypeVar("Written")

_log = logging.getLogger(__name__)

# So many domains of less than a document's share, and so large a difference in the whole, are warned of.
_MANY_SMALL = 10
_ROUNDED = 0.05

SHARD_BYTES = 512 << 20


def select(
    store: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    top: float | None = None,
    tokens: int | None = None,
    by: Literal["documents", "tokens"] = "documents",
    apply: str | os.PathLike[str] | None = None,
    rank_by: str = "influence",
    seed: int = 0,
    manifest: bool = False,
    weight: float = 1.0,
    caps: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
    temperature: float | None = None,
    format: OutputFormat | None = None,
    column_prefix: str = "",
    shard_bytes: int = SHARD_BYTES,
    sources: Sequence[Source] | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    overwrite: bool = False,
    allow_partial: bool = False,
) -> Selection:
    """The selection, written to the folder `out`: chosen rows or `manifest.parquet`, selection.json and README.md.

    Of each domain, the documents that come first by `rank_by` (see `ranking`; `seed` is of the rankings that draw):
    `top` of them (rounded up), or with by='tokens' as many as stay within that share of the domain's tokens; or
    `tokens` in all, split over the domains in proportion to their tokens. Counts and tokens are those of the documents
    whose scores are finite; the others are never chosen. Or `apply`: every document at or above the thresholds of an
    earlier selection, given by its folder or selection.json, whose ranking and seed are used; the store may hold other
    documents, scored in the same way.

    `caps` and `floors`: domain → the most and the least of it, up to 1 as a share, above 1 in tokens. `temperature`
    draws instead of cutting (see the module of that name), by `seed`.

    `weight`: of each row of the manifest, where 1 is one copy.

    `format`: parquet, jsonl, jsonl.gz or jsonl.zst; by default that of the input, and Parquet where it is both (see
    `layout`). `column_prefix`: in front of the names of the added columns, where the input has them already. `sources`:
    where the scored files lie now, by their recorded names; by default where they lay. `workers`: processes that read
    the chosen rows, or with engine='ray' tasks of the cluster at `address`; the files are the same. `out` appears whole
    or not at all; a folder that is not empty is refused, unless `overwrite` and it holds a selection. A call that was
    killed is resumed by an equal one: see `parts`.

    Raises UsageError for a wrong argument or a budget that no document fits, StoreError when the store cannot be
    trusted (empty, partial without `allow_partial`, inputs changed), CorpusError when a chosen row cannot be copied.
    """
    earlier = None if apply is None else read_selection(apply)
    if earlier is not None:
        if rank_by not in ("influence", earlier.rank_by):
            raise UsageError(f"--rank-by {rank_by}: {earlier.url} is ranked by {earlier.rank_by}. Omit --rank-by.")
        rank_by, seed = earlier.rank_by, earlier.seed
    rule = Rule(
        top,
        tokens,
        by,
        rank_by,
        apply=earlier.url if earlier else None,
        caps=caps or {},
        floors=floors or {},
        temperature=temperature,
        weight=weight,
    )
    if weight != 1 and not manifest:
        raise UsageError("--weight is a column of the manifest: give --manifest as well.")
    check_format(format, shard_bytes)
    if manifest and column_prefix:
        raise UsageError("--column-prefix names columns beside the input's own, which a manifest does not have.")
    if manifest and (workers or engine == "ray"):
        raise UsageError("--workers and --engine read the chosen documents, and a manifest has none: omit them.")

    def spread(do: Callable[[Part], Written], parts: Iterator[Part]) -> Iterator[Written]:
        if engine == "ray":
            return over_ray(do, parts, workers, address)
        return over_processes(do, parts, workers or 1)

    out = os.fspath(out)
    check_target(out, overwrite)
    scores = open_store(os.fspath(store))
    if not scores.is_complete and not allow_partial:
        raise StoreError(
            f"{scores.url}: scoring is not complete, so shares and thresholds are not final. "
            "Resume `score`, or select with --allow-partial."
        )
    with staged(out) as staging:  # before any work: a folder that cannot be written is refused
        ranked = _rank(scores, rule, seed, earlier)
        trusted = _trusted(scores, ranked.chosen.sources, sources, needed=not manifest)
        output = Output((*added_names(ranked.ranking.column, column_prefix),), format, shard_bytes)
        write = None
        layout = Layout(output, (), ())
        if not manifest:
            inputs = [trusted[name] for name in ranked.chosen.sources]
            text_column = Columns.from_json(scores.run.get("columns") or {"text": None}).text
            layout = lay_out(inputs, output, text_column, lambda: parts_of(ranked.chosen, trusted, output, ""), spread)
            for warning in layout.warnings:
                _log.warning(warning)
            parts = parts_of(ranked.chosen, trusted, layout.output, staging.parts)
            write = partial(write_dataset, spread(write_part, parts), layout.kinds)
        repetition = repetition_of(scores, ranked.chosen) if rank_by == "influence" else ()
        return _write(staging, scores, rule, ranked, repetition, layout, write, overwrite)


@dataclass(frozen=True)
class _Ranked:
    ranking: Ranking
    draw: Draw | None
    chosen: ChosenRows
    warnings: tuple[str, ...]


def _rank(scores: ScoreStore, rule: Rule, seed: int, earlier: SelectionRecord | None) -> _Ranked:
    """What is chosen, and what to beware of."""
    if earlier is not None:
        earlier.check_applies(scores)
    of_screening = check_screened(scores, rule)
    ranking = order = open_ranking(scores, rule.rank_by, seed)
    draw = None
    if rule.temperature is not None:
        draw = Draw(rule.temperature, seed, standard_deviations(scores, ranking))
        order = drawn(ranking, draw)
    chosen = choose_rows(scores, rule, order, shown=ranking, earlier=earlier)
    if not chosen.sources and earlier is not None:
        raise UsageError(f"No document of {scores.url} is at or above a threshold of {earlier.url}. Look at both.")
    if not chosen.sources:
        raise UsageError(f"{rule.tokens or rule.top} is too little: no document fits. Raise --tokens or --top.")
    warnings = [*of_screening, *(ranking.control.warnings() if ranking.control else [])]
    if earlier is not None:
        warnings += [
            f"domain {t.domain}: no threshold in {earlier.url}, so none of its {t.ranked:,} documents is chosen"
            for t in chosen.thresholds
            if t.ranked and t.domain not in chosen.cut.last
        ]
    warnings += _rounding(rule, chosen.thresholds)
    return _Ranked(ranking, draw, chosen, tuple(warnings))


def _rounding(rule: Rule, thresholds: Sequence[Threshold]) -> list[str]:
    """A warning where domains are so small that whole documents of each are another share than was asked for."""
    if rule.top is None or rule.caps or rule.floors:
        return []
    what = "tokens" if rule.counts_tokens else "documents"
    pairs = [(t.tokens, t.tokens_chosen) if rule.counts_tokens else (t.ranked, t.chosen) for t in thresholds]
    total, chosen = (sum(side) for side in zip(*pairs, strict=True))
    small = sum(0 < t.ranked * rule.top < 1 for t in thresholds)
    if small < _MANY_SMALL or abs(chosen - rule.top * total) <= _ROUNDED * rule.top * total:
        return []
    return [
        f"{chosen:,} of {total:,} {what} are chosen, {chosen / total:.1%} and not {rule.top:.1%}: shares are taken of "
        f"each domain in whole documents, and {small:,} of {len(thresholds):,} domains have fewer than "
        f"{math.ceil(1 / rule.top):,} documents. For the share of the whole, score with larger domains"
    ]


def _write(
    staging: Staging,
    scores: ScoreStore,
    rule: Rule,
    ranked: _Ranked,
    repetition: tuple[Repetition, ...],
    layout: Layout,
    write: Callable[[Callable[[float], None]], dict[str, dict[str, str]]] | None,
    overwrite: bool,
) -> Selection:
    """The selection, published: a dataset, which `write` writes (see `write_dataset`), or without it a manifest."""
    ranking, chosen = ranked.ranking, ranked.chosen
    warnings = [warning for of_domain in repetition if (warning := of_domain.warning())]
    with progress("selected", sum(t.chosen for t in chosen.thresholds), "documents") as selected:
        sets = write(selected) if write else {}
        warnings += [*ranked.warnings, *layout.warnings, *layout.unexpected(sets)]
        moved = {file: name for files in sets.values() for file, name in files.items()}
        whole = staging.whole(moved)
        if write is None:
            write_manifest(chosen, whole, ranking.column, rule.weight, selected)
        selection = Selection(
            out=staging.out,
            rule=rule,
            thresholds=chosen.thresholds,
            files=(*moved.values(),) if write else (MANIFEST,),
            store=scores.url,
            fingerprint=scores.run.get("fingerprint"),
            complete=scores.is_complete,
            ranking=ranking.to_json(),
            draw=ranked.draw,
            repetition=repetition,
            warnings=tuple(warnings),
            columns=layout.output.added,
        )
        about = card(
            rule,
            ranked.draw.in_words(ranking) if ranked.draw else ranking.in_words(),
            chosen.thresholds,
            [[*files.values()] for files in sets.values()],
            selection.columns,
            scores.is_complete,
            warnings,
            scores.run,
        )
        record = strict_json(selection.to_json(), indent=2, ensure_ascii=False) + "\n"
        for name, text in (("README.md", about), (DONE_MARK, record)):
            with whole.open(name) as file:
                file.write(text.encode())
        staging.publish(moved, overwrite)
    return selection


def _trusted(
    store: ScoreStore, names: Sequence[str], given: Sequence[Source] | None, *, needed: bool
) -> dict[str, Source]:
    """The sources of those names, each still the file that was scored.

    A manifest copies no row, so sources that the store does not record are no obstacle to it.
    """
    recorded = store.sources
    known: Mapping[str, Source] = recorded | {source.name: source for source in given or ()}
    unknown = [name for name in names if name not in known]
    if unknown and needed:
        raise StoreError(
            f"{store.url}: its run does not record where {unknown[0]!r} lies. "
            "Name the sources, or select with --manifest."
        )
    chosen = {name: known[name] for name in names if name in known}
    unchanged = in_threads(is_unchanged, chosen.values(), threads=16)
    for (name, source), same in zip(chosen.items(), unchanged, strict=True):
        if not same or (name in recorded and source.size != recorded[name].size):
            raise StoreError(
                f"{source.url}: gone or changed since {name!r} was scored, so the store's row keys no longer fit it. "
                "Restore the file, or score it again."
            )
    return chosen
