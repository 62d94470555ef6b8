"""From CONFIG.yaml to a plan: tokens on disk, and which documents every arm adds. Made once, and found again."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sources import Source, is_unchanged, list_sources
from attention_influence.errors import StoreError
from attention_influence.experiment.data.arms import Rankings, added_by
from attention_influence.experiment.data.token_file import (
    Corpus,
    Key,
    read_documents,
    read_record,
    write_tokens,
)
from attention_influence.experiment.data.tokenizer import DocumentEncoder, open_tokenizer, train_tokenizer
from attention_influence.experiment.plan import (
    ArmPlan,
    Plan,
    arm_plan,
    check_unchanged,
    identity_of,
    read_added,
    write_added,
)
from attention_influence.experiment.settings import Experiment
from attention_influence.progress import stage
from attention_influence.store.reader import ScoreStore, open_store

DATA_VERSION = 1
"""Changes when the same configuration gives other tokens or other choices."""

LeaveOut = Callable[[Key, str], str | None]


def prepare(
    experiment: Experiment,
    file: str,
    out: Path,
    leave_out: Callable[[Experiment, tuple[Source, ...], Columns], LeaveOut],
) -> Plan:
    """The plan, with tokens and choices in `out`/data; those of an equal preparation are used again.

    `leave_out` makes, from the corpus, what says why a document is left out. Raises UsageError for what does not fit
    the corpus or the store, and where `out` holds runs of another experiment.
    """
    store = None if experiment.scores is None else open_store(experiment.scores)
    if store is not None and not store.is_complete:
        raise StoreError(f"{store.url}: scoring is not complete, so its rankings are not final. Resume `score`")
    sources, columns = _inputs(experiment, store)
    corpus_identity = [{"name": s.name, "size": s.size, "domain": s.domain} for s in sources]
    identity = identity_of(experiment, corpus_identity, _store_identity(store))
    check_unchanged(Plan(out, experiment, (), {}, identity), file)
    folder = out / "data"
    data_identity = _digest({key: identity[key] for key in _DATA} | {"version": DATA_VERSION})
    if (read_record(folder) or {}).get("fingerprint") != data_identity:
        shutil.rmtree(folder, ignore_errors=True)
        _write_data(
            experiment,
            Corpus(sources, columns, experiment.heldout, leave_out(experiment, sources, columns)),
            folder,
            data_identity,
        )
    record = read_record(folder)
    assert record is not None
    documents = read_documents(folder)
    arms = _prepare_arms(
        experiment, Rankings(documents, store, {s.name: s for s in sources}), folder, (out / "plan.json").exists()
    )
    return Plan(out, experiment, arms, record, identity)


_DATA = (
    *("corpus", "text_column", "id_column", "domain_column", "heldout", "tokenizer"),
    *("decontaminate", "near_duplicates", "evaluation"),
)
"""What of the identity decides the tokens."""


def _inputs(experiment: Experiment, store: ScoreStore | None) -> tuple[tuple[Source, ...], Columns]:
    columns = Columns(experiment.text_column, experiment.id_column, experiment.domain_column)
    if experiment.corpus:
        sources = list_sources(experiment.corpus, experiment.domain, needed=columns.text).sources
        for source in sources:
            scored = store.sources.get(source.name) if store else None
            if scored is not None and scored.size != source.size:
                raise StoreError(f"{source.url}: changed since it was scored. Restore it, or score it again")
        return sources, columns
    assert store is not None
    sources = tuple(store.sources[name] for name in sorted(store.sources))
    for source in sources:
        if not is_unchanged(source):
            raise StoreError(
                f"{source.url}: gone or changed since {source.name!r} was scored. Restore it, or name the corpus: again"
            )
    return sources, Columns.from_json(store.run.get("columns") or {"text": None})


def _write_data(experiment: Experiment, corpus: Corpus, folder: Path, identity: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(experiment.tokenizer, int):
        trained = folder / "tokenizer"
        with stage("training the tokenizer"):
            texts = (row.text or "" for _, row, held_out in corpus.documents() if not held_out)
            train_tokenizer(texts, experiment.tokenizer, trained)
        tokenizer = open_tokenizer(str(trained))
    else:
        tokenizer = open_tokenizer(experiment.tokenizer)
    encoder = DocumentEncoder(tokenizer)
    write_tokens(corpus, encoder.encode, encoder.vocabulary, folder, identity)


@stage("choosing documents")
def _prepare_arms(experiment: Experiment, rankings: Rankings, folder: Path, is_frozen: bool) -> tuple[ArmPlan, ...]:
    """`is_frozen`: runs began with the choices that are there."""
    plans = []
    for arm in experiment.arms.values():
        if arm.ranking is None:
            plans.append(arm_plan(arm, rankings.documents, None, experiment.trained_tokens))
            continue
        first = None
        for seed in experiment.seeds if arm.draws else experiment.seeds[:1]:
            # What does not draw is the same for every seed.
            added = read_added(folder, arm, seed) if is_frozen else None
            if added is None:
                added = added_by(arm, experiment.arms, rankings, seed if arm.draws else 0)
                write_added(folder, arm, seed, added)
            first = first or added
        plans.append(arm_plan(arm, rankings.documents, first, experiment.trained_tokens))
    return tuple(plans)


def _store_identity(store: ScoreStore | None) -> object:
    if store is None:
        return None
    return {"fingerprint": store.run.get("fingerprint"), "units": len(store.units), "added": sorted(store.added)}


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()
