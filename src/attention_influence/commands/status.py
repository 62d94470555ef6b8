"""`status`: how far a run is, from any machine that can read its store."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attention_influence.commands.printing.result import Result, some, table
from attention_influence.commands.printing.screening_text import screening_result
from attention_influence.commands.printing.store_text import failed_files
from attention_influence.config import StatusConfig
from attention_influence.corpus.sources import left_out_line
from attention_influence.progress import stage
from attention_influence.selection.screened import read_final_plan
from attention_influence.store.failures import quarantined, read_failures
from attention_influence.store.leases import Leases
from attention_influence.store.parts import LAST, begun_parts, work_of


@stage("reading the store")
def status(config: StatusConfig) -> Result:
    parts = begun_parts(config.store)
    part, store, records = parts[-1].name, parts[-1].store, parts[-1].records
    stuck = quarantined(read_failures(store.url))
    left = dict.fromkeys(unit.name for unit in store.units if unit.name not in records and unit.name not in stuck)
    standing = Leases(store.url, worker="status").standing(left)
    leased = {name: standing[name] for name in left if name in standing and standing[name].is_live()}
    reasons: Counter[str] = Counter()
    for about in records.values():
        reasons.update(about["reasons"])
    tokens = sum(about["tokens"] for about in records.values())
    work = work_of(parts)
    speed = _tokens_a_second([about for _, done in work for about in done])
    seen = sum(about["tokens"] for about in work[-1][1])
    data: dict[str, Any] = {
        "store": store.url,
        "part": part if part and (left or part != LAST) else None,
        "units": len(store.units),
        "done": len(records),
        "leased": {name: lease.worker for name, lease in leased.items()},
        "quarantined": stuck,
        "failed_files": failed_files(records),
        "rows": sum(about["rows"] for about in records.values()),
        "tokens": tokens,
        "reasons": dict(reasons.most_common()),
        "duplicate_ids": sum(about["duplicate_ids"] for about in records.values()),
        "memory_ran_out": sum(about.get("memory_ran_out", 0) > 0 for about in records.values()),
        "left_out": store.run.get("left_out", {}),
        "tokens_per_second": speed,
        "seconds_left": _seconds_left(len(left), len(records), seen, speed),
    }
    text = _text(data)
    if (plan := read_final_plan(store.url, store.run)) is not None:
        data["screening"], of_screening = screening_result(plan, records)
        text += f"\n\n{of_screening}"
    return Result(text, data)


def _text(data: dict[str, Any]) -> str:
    left = data["seconds_left"]
    rows = [
        *([("part being scored", data["part"])] if data["part"] else []),
        ("units done", f"{data['done']:,} of {data['units']:,}"),
        ("units in progress", f"{len(data['leased']):,}"),
        ("units quarantined", f"{len(data['quarantined']):,}"),
        ("rows", f"{data['rows']:,}"),
        ("tokens", f"{data['tokens']:,}"),
        ("tokens/s", "–" if data["tokens_per_second"] is None else f"{data['tokens_per_second']:,.0f}"),
        ("time left", "–" if left is None else f"{left / 3600:,.1f} hours"),
        ("duplicate ids", f"{data['duplicate_ids']:,}"),
    ]
    lines = [table(("", ""), rows)]
    if data["reasons"]:
        lines.append(table(("rows without a score", ""), list(data["reasons"].items())))
    if short := data["memory_ran_out"]:
        lines.append(
            f"memory ran out in {short:,} units, which were scored in smaller packs; a lower --pack-tokens avoids it"
        )
    if (left_out := left_out_line(data["left_out"])) is not None:
        lines.append(left_out)
    if data["leased"]:
        lines.append(table(("unit in progress", "worker"), list(data["leased"].items())))
    lines += some([f"quarantined: unit {name}: {error}" for name, error in data["quarantined"].items()])
    lines += some([f"failed: {name}: {error}" for name, error in data["failed_files"].items()])
    return "\n\n".join(lines)


def _tokens_a_second(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Of all workers together, over the last hour in which units were finished."""
    latest = max((about["finished"] for about in records), default=0.0)
    recent = [about for about in records if about["finished"] > latest - 3600]
    if not recent:
        return None
    began = min(about["finished"] - about["seconds"] for about in recent)
    seconds = latest - began
    return sum(about["tokens"] for about in recent) / seconds if seconds > 0 else None


def _seconds_left(units_left: int, units_done: int, tokens: int, speed: float | None) -> float | None:
    if not units_left:
        return 0.0
    if not units_done or not speed:
        return None
    return units_left * tokens / units_done / speed
