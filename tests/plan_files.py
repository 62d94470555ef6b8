"""The plan of a hand-made score store, for tests."""

from collections.abc import Sequence
from pathlib import Path

from attention_influence.corpus import Source
from attention_influence.corpus.slices import Slice
from attention_influence.store.plan import Unit, plan_to_bytes


def write_plan(folder: Path, names: Sequence[str], sources: Sequence[Source], complete: bool = True) -> None:
    """Writes plan.parquet: the named units, each of which holds all sources; one unit more if not `complete`."""
    unknown = Source("unknown/none.jsonl", "file:///nowhere/none.jsonl", "jsonl", None, 0, "")
    slices = tuple(Slice(source) for source in sources) or (Slice(unknown),)
    names = [*names] if complete else [*names, "unfinished"]
    (folder / "plan.parquet").write_bytes(plan_to_bytes([Unit(name, slices) for name in names]))
