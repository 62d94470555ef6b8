"""What screening reads in the stores of its parts: the sample's texts and scores, and all influence that is known."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from attention_influence.corpus import Columns
from attention_influence.screening.features import in_tokens
from attention_influence.screening.plan import Calibration
from attention_influence.screening.sample import Sample, sampled_texts
from attention_influence.store.reader import open_store, read_scores
from attention_influence.store.row_hashes import rows_of_each
from attention_influence.store.run import RunStore


def calibrations_of(
    store: RunStore,
    sample: Sample,
    columns: Columns,
    tokens_of: Callable[[Sequence[str]], Sequence[Sequence[int]]],
) -> dict[str, Calibration]:
    """Domain → its documents in a store that holds the sample; their texts are read again."""
    contents = sampled_texts(store.units, columns, sample)
    scores = read_scores(store.url, ["source", "row", "domain", "influence", "n_tokens"])
    scores = scores.filter(pc.is_finite(scores["influence"]))
    rows_of_domain: dict[str, list[dict[str, Any]]] = {}
    for row in scores.to_pylist():
        rows_of_domain.setdefault(row["domain"], []).append(row)
    calibrations = {}
    for domain, rows in rows_of_domain.items():
        of_rows = [contents[row["source"], row["row"]] for row in rows]
        tokens = tokens_of([content.decode() for content in of_rows])
        calibrations[domain] = Calibration(
            [in_tokens(content, its) for content, its in zip(of_rows, tokens, strict=True)],
            np.array([row["influence"] for row in rows], dtype=np.float64),
            np.array([row["n_tokens"] for row in rows]),
            np.array([sample.fits(domain, row["source"], row["row"]) for row in rows], dtype=np.bool_),
        )
    return calibrations


def influence_by_domain(store: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Domains and the finite influence of their documents, a batch of the store at a time."""
    for batch in open_store(store).batches(["domain", "influence"]):
        rows = pa.Table.from_batches([batch]).filter(pc.is_finite(batch.column("influence")))
        influence = rows["influence"].to_numpy().astype(np.float64)
        for name, of_domain in rows_of_each(rows["domain"]):
            yield name, influence[of_domain]
