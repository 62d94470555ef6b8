"""A run's store, begun or found again: the fingerprint must be the same, the inputs what was planned."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from attention_influence.corpus.sources import Listing
from attention_influence.errors import StoreError
from attention_influence.progress import stage
from attention_influence.storage.atomic_files import remove_unfinished, with_retries, write_atomically
from attention_influence.storage.exclusive_files import has_exclusive_creation
from attention_influence.store.plan import Unit, make_plan, make_unit, plan_to_bytes
from attention_influence.store.run import RunStore, create, differing_fields, open_run
from attention_influence.store.unigrams import Unigrams

_log = logging.getLogger(__name__)

# Raised when scores change beyond rounding; part of the fingerprint.
SCORING_VERSION = 3


@dataclass(frozen=True)
class Changes:
    """What is allowed to be different from the plan."""

    extend: bool = False
    """New files join the plan."""
    rescore_changed: bool = False
    """Files that changed, or failed, are planned again; files that are gone leave the plan."""


@stage("planning")
def begin_or_resume(
    url: str,
    listing: Listing,
    unit_tokens: int,
    record: Mapping[str, Any],
    changes: Changes,
    count: Callable[[], Unigrams] | None = None,
    plan: Callable[..., list[Unit]] = make_plan,
) -> RunStore:
    """The store under `url`, new with `record` and a plan of the listed files, or the one that is there.

    `count` is called for a new store only: a run is scored to its end by the counts that it began with. `plan`:
    `make_plan`, perhaps with options.
    Raises StoreError when the store was begun with another fingerprint, or inputs differ in a way that `changes` does
    not allow, naming the field or a file.
    """
    store = open_run(url)
    if store is None:  # what comes back may be the store of another run that began at the same moment
        units = plan(listing.sources, unit_tokens)
        unigrams = None if count is None else with_retries(count, f"read the corpus of {url}")
        store = create(url, {**record, "roots": listing.roots}, units, unigrams)
    check_fingerprint(store, record["fingerprint"])
    if not with_retries(lambda: has_exclusive_creation(f"{store.url}/leases"), f"write {store.url}"):
        _log.warning(
            "%s: this storage does not know conditional puts (If-None-Match), so two workers may now and then score "
            "the same unit. That costs time and nothing else: the scores are the same",
            store.url,
        )
    for folder in ("", "/scores", "/leases", "/log"):
        remove_unfinished(f"{store.url}{folder}")
    return _with_changes(store, listing, unit_tokens, changes, plan)


def check_fingerprint(store: RunStore, fingerprint: Mapping[str, Any]) -> None:
    """Raises StoreError naming the first field in which a run differs from the one that began the store."""
    began = store.run["fingerprint"]
    for field in differing_fields(fingerprint, began):
        raise StoreError(
            f"{store.url} was begun with another {field} ({began.get(field)!r}, now {fingerprint.get(field)!r}): "
            "scores would not be comparable. Use the same, or a new --out"
        )


def library_versions() -> dict[str, str]:
    """Of the packages that losses depend on."""
    return {name: version(name) for name in ("attention-influence", "torch", "transformers", "tokenizers")}


def _with_changes(
    store: RunStore, listing: Listing, unit_tokens: int, changes: Changes, plan: Callable[..., list[Unit]]
) -> RunStore:
    planned = {part.source.name: part.source for unit in store.units for part in unit.slices}
    now = {source.name: source for source in listing.sources}
    new = sorted(now.keys() - planned.keys())
    different = sorted(name for name, source in planned.items() if now.get(name) != source)
    for names, what, allowed, option in (
        (new, "not in its plan", changes.extend, "--extend"),
        (different, "gone, or changed since it was planned", changes.rescore_changed, "--rescore-changed"),
    ):
        if names and not allowed:
            raise StoreError(
                f"{store.url}: {names[0]} is {what} ({len(names)} such files). Give the inputs that the run began "
                f"with, or {option}, or a new --out"
            )
    changed = set(different)
    if changes.rescore_changed:  # a file that failed may be whole again, and look as it did when it was planned
        changed |= {name for about in store.records().values() for name in about["failed_files"]}
    if not new and not changed:
        return store
    stale = [unit for unit in store.units if any(part.source.name in changed for part in unit.slices)]
    gone = {unit.name for unit in stale}
    kept = [unit for unit in store.units if unit.name not in gone]
    # Slices of files that did not change stay as they were cut, in units of their own.
    rests = [[part for part in unit.slices if part.source.name not in changed] for unit in stale]
    first = 1 + max((int(unit.name.partition("-")[0]) for unit in store.units), default=-1)
    again = [make_unit(number, rest) for number, rest in enumerate(filter(None, rests), start=first)]
    wanted = [source for name, source in now.items() if name not in planned or name in changed]
    units = [*kept, *again, *plan(wanted, unit_tokens, first + len(again))]
    with_retries(lambda: write_atomically(f"{store.url}/plan.parquet", plan_to_bytes(units)), f"write {store.url}")
    # The plan says what counts: what is removed only now was no part of the store any more.
    for unit in stale:
        store.scores.remove(unit.name)
    return RunStore(store.url, store.run, tuple(units))
