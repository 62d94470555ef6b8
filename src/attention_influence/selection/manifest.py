"""The chosen rows as a list of keys."""

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.selection.publish import StagedFolder
from attention_influence.selection.ranks import ChosenRows

MANIFEST = "manifest.parquet"


def write_manifest(chosen: ChosenRows, folder: StagedFolder, value_name: str, weight: float) -> str:
    """The name of the file written: source, row, `weight`, domain, influence, rank, by source and row.

    Ranked by something else than influence, that value comes before its rank.
    """
    writer: pq.ParquetWriter | None = None
    with folder.open(MANIFEST) as sink:
        for batch in chosen.batches():
            columns = {
                "source": batch.column("source"),
                "row": batch.column("row"),
                "weight": pa.array([weight] * batch.num_rows, pa.float64()),
                "domain": batch.column("domain"),
                "influence": batch.column("influence"),
                value_name: batch.column("value"),
                f"{value_name}_rank": batch.column("rank"),
            }
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(sink, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()
    return MANIFEST
