"""A DuckDB database in the system's temporary folder: tables that may be larger than memory."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa


@contextmanager
def disk_tables(memory_limit: str = "1GB") -> Iterator[duckdb.DuckDBPyConnection]:
    """The database; it lies in TMPDIR, spills there above the limit, and is gone when the block ends.

    Ctrl-C within the block is KeyboardInterrupt, whatever DuckDB makes of it.
    """
    with tempfile.TemporaryDirectory(prefix="attention-influence-") as folder:
        spill = str(Path(folder) / "spill").replace("'", "''")
        with duckdb.connect(str(Path(folder) / "tables.duckdb")) as database:
            database.execute(f"SET memory_limit = '{memory_limit}'")
            database.execute(f"SET temp_directory = '{spill}'")
            database.execute("SET preserve_insertion_order = false")
            try:
                yield database
            except (duckdb.Error, RuntimeError) as error:
                if "Query interrupted" in str(error) or "KeyboardInterrupt" in str(error):
                    raise KeyboardInterrupt from error
                raise


def fill(database: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Puts the batches into a table of that schema, which is made where there is none."""
    database.register("batch", schema.empty_table())
    database.execute(f"CREATE TABLE IF NOT EXISTS {table} AS FROM batch")
    for batch in batches:
        database.register("batch", batch)
        database.execute(f"INSERT INTO {table} FROM batch")
    database.unregister("batch")
