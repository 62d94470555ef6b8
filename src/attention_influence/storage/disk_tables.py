"""A DuckDB database in the system's temporary folder: tables that may be larger than memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from attention_influence.storage.temporary_folders import no_room, temporary_folder

if TYPE_CHECKING:
    import duckdb


@contextmanager
def disk_tables() -> Iterator["duckdb.DuckDBPyConnection"]:
    """The database; it lies in TMPDIR, spills there above 1 GB of memory, and is gone when the block ends.

    Ctrl-C within the block is KeyboardInterrupt, whatever DuckDB makes of it; too little room is StorageError.
    """
    import duckdb  # here: `cli.py` freezes what a command imports, and DuckDB takes that for a leak

    with temporary_folder() as folder:
        spill = str(folder / "spill").replace("'", "''")
        try:
            with duckdb.connect(str(folder / "tables.duckdb")) as database:
                database.execute("SET memory_limit = '1GB'")
                database.execute(f"SET temp_directory = '{spill}'")
                database.execute("SET preserve_insertion_order = false")
                yield database
        except (duckdb.Error, RuntimeError) as error:
            message = str(error)
            if "Query interrupted" in message or "KeyboardInterrupt" in message:
                raise KeyboardInterrupt from error
            # The tables are its only files. After the first failure to write DuckDB calls the database invalid.
            if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException) or "No space left" in message:
                raise no_room(message.partition("\n")[0].rstrip(".")) from error
            raise


def fill(database: "duckdb.DuckDBPyConnection", table: str, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Puts the batches into a table of that schema, which is made where there is none."""
    database.register("batch", schema.empty_table())
    database.execute(f"CREATE TABLE IF NOT EXISTS {table} AS FROM batch")
    for batch in batches:
        database.register("batch", batch)
        database.execute(f"INSERT INTO {table} FROM batch")
    database.unregister("batch")
