"""`distill`: a student of a score store, which predicts influence from the text alone."""

from typing import Any

import numpy as np

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import DistillConfig
from attention_influence.corpus import Columns
from attention_influence.errors import StoreError
from attention_influence.progress import stage
from attention_influence.screening.sample import read_texts, sample_hashes
from attention_influence.screening.student import DomainCard, Student, fit_student
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.plan import Unit
from attention_influence.store.reader import open_store
from attention_influence.store.run import open_run
from attention_influence.store.screening_file import calibration_url

_GOOD = 0.8
"""Spearman; below it, the card says not to trust a student alone."""


def distill(config: DistillConfig) -> Result:
    check_writable_file(config.out)
    run = open_run(config.store)
    if run is None:
        raise StoreError(f"{config.store}: no run.json, so not a score store. Give the folder that `score --out` made.")
    if "plan" in (run.run["fingerprint"].get("screening") or {}):
        raise StoreError(
            f"{config.store} was scored with --screen, so its exact scores are of chosen documents. Distill the store "
            f"of its sample: {calibration_url(run.url)}"
        )
    drawn = _drawn(config.store, config.documents)
    texts = _texts(run.units, Columns.from_json(run.run["columns"]), drawn)
    keys = [key for key in drawn if key in texts]
    with stage("fitting the student"):
        student = fit_student(
            [texts[key] for key in keys],
            np.array([drawn[key][1] for key in keys]),
            [drawn[key][0] for key in keys],
            {"fingerprint": run.run["fingerprint"], "documents": len(keys), "seed": config.seed},
            config.seed,
        )
    size = student.save(config.out)
    data: dict[str, Any] = {
        "out": config.out,
        "bytes": size,
        "documents": len(keys),
        "missing": len(drawn) - len(keys),
        "domains": [_record(card) for card in student.domains],
    }
    return Result(f"{_text(student)}\nwritten: {config.out} ({size:,} bytes)", data)


@stage("reading the scores")
def _drawn(store: str, most: int) -> dict[tuple[str, int], tuple[str, float]]:
    """(source, row) → domain and influence, of at most so many documents a domain, drawn by their keys' hashes."""
    by_domain: dict[str, list[tuple[int, str, int, float]]] = {}
    for batch in open_store(store).batches(["source", "row", "domain", "influence"]):
        for source, row, domain, influence in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if influence is not None and np.isfinite(influence):
                found = by_domain.setdefault(domain, [])
                found.append((int(sample_hashes(source, [row])[0]), source, row, influence))
                if len(found) >= 2 * most:
                    found[:] = sorted(found)[:most]
    return {
        (source, row): (domain, influence)
        for domain, found in by_domain.items()
        for _, source, row, influence in sorted(found)[:most]
    }


def _texts(
    units: tuple[Unit, ...], columns: Columns, drawn: dict[tuple[str, int], tuple[str, float]]
) -> dict[tuple[str, int], bytes]:
    return read_texts(units, columns, lambda source, rows: [(source, row.row) in drawn for row in rows])


def _record(card: DomainCard) -> dict[str, Any]:
    return {
        "domain": card.domain,
        "documents": card.documents,
        "spearman": card.spearman,
        "recall": card.recall,
        "calibration": [list(pair) for pair in card.calibration],
    }


def _text(student: Student) -> str:
    rows = [
        (
            card.domain,
            f"{card.documents:,}",
            "–" if card.spearman is None else f"{card.spearman:.2f}",
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
        if card.spearman is None or card.spearman < _GOOD:
            lines.append(f"warning: {card.domain}: too poor to select by; use it to screen, or score exactly")
    return "\n".join(lines)
