"""The chosen rows as a list of keys."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.concurrency import ahead
from attention_influence.selection.cutting.chosen import ChosenRows
from attention_influence.selection.output.staging import StagedFolder

MANIFEST = "manifest.parquet"


def write_manifest(
    chosen: ChosenRows, folder: StagedFolder, value_name: str, weight: float, advance: Callable[[float], None]
) -> None:
    """Writes manifest.parquet: source, row, `weight`, domain, influence, rank, by source and row.

    Ranked by something else than influence, that value comes before its rank.
    """
    writer: pq.ParquetWriter | None = None
    with folder.open(MANIFEST) as sink:
        for batch in ahead(chosen.batches()):
            columns = {
                "source": batch.column("source"),
                "row": batch.column("row"),
                "weight": pa.array(np.full(batch.num_rows, weight)),
                "domain": batch.column("domain"),
                "influence": batch.column("influence"),
                value_name: batch.column("value"),
                f"{value_name}_rank": batch.column("rank"),
            }
            table = pa.table(columns)
            # Without Arrow's own schema, source and domain read back as strings, not dictionaries.
            writer = writer or pq.ParquetWriter(
                sink,
                table.schema,
                compression="zstd",
                use_dictionary=["source", "weight", "domain"],
                store_schema=False,
            )
            writer.write_table(table)
            advance(batch.num_rows)
        assert writer is not None
        writer.close()
