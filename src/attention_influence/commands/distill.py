"""`distill`: a student of a score store, which predicts influence from the text alone."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import DistillConfig
from attention_influence.corpus import Columns
from attention_influence.errors import StoreError
from attention_influence.progress import stage
from attention_influence.screening.sample import hashes_to_draw, read_texts
from attention_influence.screening.student import Student, fit_student
from attention_influence.selection.key_sample import DomainSamples
from attention_influence.selection.screened import screening_of
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.reader import open_store
from attention_influence.store.run import existing_run
from attention_influence.store.screening_file import calibration_url, screened_url

_GOOD = 0.8
"""Spearman; below it, the card says not to trust a student alone."""


def distill(config: DistillConfig) -> Result:
    check_writable_file(config.out)
    run = existing_run(config.store)
    if screening_of(run.url, run.run) is not None:
        raise StoreError(
            f"{config.store} was scored with --screen, so its exact scores are of chosen documents. Distill the store "
            f"of its sample: {calibration_url(screened_url(run.url))}"
        )
    drawn = _drawn(config.store, config.documents)
    columns = Columns.from_json(run.run["columns"])
    texts = read_texts(run.units, columns, lambda source, rows: [(source, row.row) in drawn for row in rows])
    keys = [key for key in drawn if key in texts]
    with stage("fitting the student"):
        student = fit_student(
            [texts[key] for key in keys],
            np.array([drawn[key][1] for key in keys]),
            [drawn[key][0] for key in keys],
            [f"{source}:{row}" for source, row in keys],
            {"fingerprint": run.run["fingerprint"], "documents": len(keys), "seed": config.seed},
            config.seed,
        )
    size = student.save(config.out)
    data: dict[str, Any] = {
        "out": config.out,
        "bytes": size,
        "documents": len(keys),
        "missing": len(drawn) - len(keys),
        "domains": [asdict(card) for card in student.domains],
    }
    return Result(f"{_text(student)}\nwritten: {config.out} ({size:,} bytes)", data)


@stage("reading the scores")
def _drawn(store: str, most: int) -> dict[tuple[str, int], tuple[str, float]]:
    """(source, row) → domain and influence, of at most so many documents a domain, drawn by their keys' hashes."""
    samples = DomainSamples(most)
    for batch in open_store(store).batches(["source", "row", "domain", "influence"]):
        rows = pa.Table.from_batches([batch]).filter(pc.is_finite(batch.column("influence")))
        samples.add(rows, hashes_to_draw(rows["source"], rows["row"].to_numpy()))
    return {
        (row["source"], row["row"]): (name, row["influence"])
        for name, rows in samples.rows().items()
        for row in rows.to_pylist()
    }


def _text(student: Student) -> str:
    rows = [
        (
            card.domain,
            f"{card.documents:,}",
            _number(card.spearman),
            f"{card.recall:.2f}",
            "  ".join(f"{predicted:.3f} → {exact:.3f}" for predicted, exact in card.calibration),
        )
        for card in student.domains
    ]
    lines = [
        table(("domain", "documents", "Spearman", "recall at 20%", "predicted → exact influence, by fifths"), rows),
        "by predictions for documents that the student was not fitted to (5 folds)",
    ]
    for card in student.domains:
        lengths = ", ".join(f"{_number(spearman)} up to {size:,} bytes" for size, spearman in card.by_length)
        lines.append(f"{card.domain}: Spearman by length: {lengths}")
        if card.missed:
            lines.append(f"{card.domain}: ranked lowest of its top 20%: {', '.join(card.missed)}")
        if card.spearman is None or card.spearman < _GOOD:
            lines.append(f"warning: {card.domain}: too poor to select by; use it to screen, or score exactly")
    return "\n".join(lines)


def _number(spearman: float | None) -> str:
    return "–" if spearman is None else f"{spearman:.2f}"
