"""Tables on disk that are interrupted."""

import signal
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from attention_influence.storage.disk_tables import disk_tables, fill

SCHEMA = pa.schema([("number", pa.int64())])


@pytest.fixture
def interrupted_soon() -> Iterator[None]:
    # A shell lets what it runs in the background ignore SIGINT.
    handlers = {
        signal.SIGALRM: lambda *_: signal.raise_signal(signal.SIGINT),
        signal.SIGINT: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("interrupted_soon")
def test_an_interrupt_during_a_query_is_not_a_failure_of_the_query() -> None:
    seconds_long = "SELECT max(hash(range)) FROM range(5_000_000_000)"
    with pytest.raises(KeyboardInterrupt), disk_tables() as database:
        database.execute(seconds_long).fetchall()


def test_an_interrupt_while_duckdb_reads_rows_is_not_a_failure_of_the_rows() -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        raise KeyboardInterrupt
        yield

    reader = pa.RecordBatchReader.from_batches(SCHEMA, rows())
    with pytest.raises(KeyboardInterrupt), disk_tables() as database:
        fill(database, "numbers", SCHEMA, [reader])  # type: ignore[list-item]  # what a table is to DuckDB


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(duckdb.CatalogException), disk_tables() as database:
        database.execute("FROM nowhere")
