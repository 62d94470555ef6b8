"""A run's store, begun or found again: the fingerprint must be the same, the inputs what was planned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from attention_influence.corpus.sources import Listing, Source
from attention_influence.corpus.whole_files import patiently, remove, write_whole
from attention_influence.errors import StoreError
from attention_influence.scoring.plan import Unit, make_plan, plan_to_bytes
from attention_influence.scoring.run_store import RunStore, create, open_run

# Raised when scores change beyond rounding; part of the fingerprint.
SCORING_VERSION = 1


@dataclass(frozen=True)
class Changes:
    """What is allowed to be different from the plan."""

    extend: bool = False
    """New files join the plan."""
    rescore_changed: bool = False
    """Units of files that changed are planned again; files that are gone leave the plan."""


def begin_or_resume(
    url: str, listing: Listing, unit_tokens: int, record: Mapping[str, Any], changes: Changes
) -> RunStore:
    """The store under `url`, new with `record` and a plan of the listed files, or the one that is there.

    Raises StoreError when the store was begun with another fingerprint, or inputs differ in a way that `changes` does
    not allow, naming the field or a file.
    """
    store = open_run(url)
    if store is None:
        return create(url, {**record, "roots": listing.roots}, make_plan(listing.sources, unit_tokens))
    check_fingerprint(store, record["fingerprint"])
    return _with_changes(store, listing, unit_tokens, changes)


def check_fingerprint(store: RunStore, fingerprint: Mapping[str, Any]) -> None:
    """Raises StoreError naming the first field in which a run differs from the one that began the store."""
    began = store.run["fingerprint"]
    for field in {**fingerprint, **began}:
        if fingerprint.get(field) != began.get(field):
            raise StoreError(
                f"{store.url} was begun with another {field} ({began.get(field)!r}, now {fingerprint.get(field)!r}): "
                "scores would not be comparable. Use the same, or a new --out"
            )


def library_versions() -> dict[str, str]:
    """Of the packages that losses depend on."""
    return {name: version(name) for name in ("attention-influence", "torch", "transformers", "tokenizers")}


def _with_changes(store: RunStore, listing: Listing, unit_tokens: int, changes: Changes) -> RunStore:
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
    if not new and not different:
        return store
    stale = {unit.name for unit in store.units if any(part.source.name in different for part in unit.slices)}
    # A stale unit may hold slices of files that did not change: they are planned again, whole, with the others.
    again = {part.source.name for unit in store.units if unit.name in stale for part in unit.slices}
    stale |= {unit.name for unit in store.units if any(part.source.name in again for part in unit.slices)}
    kept = [unit for unit in store.units if unit.name not in stale]
    held = {part.source.name for unit in kept for part in unit.slices}
    return _replan(store, kept, [source for source in listing.sources if source.name not in held], unit_tokens)


def _replan(store: RunStore, kept: Sequence[Unit], sources: Sequence[Source], unit_tokens: int) -> RunStore:
    first = 1 + max((int(unit.name) for unit in store.units), default=-1)
    units = [*kept, *make_plan(sources, unit_tokens, first)]
    names = {unit.name for unit in kept}
    patiently(lambda: write_whole(f"{store.url}/plan.parquet", plan_to_bytes(units)), store.url)
    # The plan says what counts: what is removed only now was no part of the store any more.
    for unit in store.units:
        if unit.name not in names:
            remove(f"{store.url}/scores/{unit.name}.parquet")
    return RunStore(store.url, store.run, tuple(units))
