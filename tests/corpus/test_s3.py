"""The corpus in an object store: same rows, few requests, and failing requests are no bad rows."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import Columns, is_unchanged, list_sources, read_rows
from attention_influence.storage.atomic_files import write_atomically
from attention_influence.storage.filesystems import BLOCK_BYTES
from s3_server import BUCKET, request_counts, s3_server

TEXTS = [f"document {i} " + "word " * 2000 for i in range(2000)]
LINES = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as endpoint:
        yield endpoint


def texts_of(url):
    (source,) = list_sources([url]).sources
    return [row.text for batch in read_rows(source, Columns()) for row in batch]


def test_a_large_file_is_read_with_one_request_for_each_block(endpoint):
    write_atomically(f"s3://{BUCKET}/large/a.jsonl", LINES)
    (source,) = list_sources([f"s3://{BUCKET}/large"]).sources
    before = request_counts(endpoint).get("GET", 0)
    rows = [row.text for batch in read_rows(source, Columns()) for row in batch]
    requests = request_counts(endpoint)["GET"] - before
    assert rows == TEXTS
    assert len(LINES) > 2 * BLOCK_BYTES
    # The head of the file is looked at for the columns first.
    assert requests <= len(LINES) // BLOCK_BYTES + 3, requests


def test_parquet_reads_only_the_needed_column_in_few_requests(endpoint):
    sink = io.BytesIO()
    noise = pa.array([bytes(range(256)) * 40 for _ in TEXTS])
    pq.write_table(pa.table({"other": noise, "text": TEXTS}), sink, row_group_size=500, compression="none")
    write_atomically(f"s3://{BUCKET}/parquet/a.parquet", sink.getvalue())
    (source,) = list_sources([f"s3://{BUCKET}/parquet/*.parquet"]).sources
    before = request_counts(endpoint).get("GET", 0)
    rows = [row.text for batch in read_rows(source, Columns()) for row in batch]
    requests = request_counts(endpoint)["GET"] - before
    assert rows == TEXTS
    assert requests <= 4 * 3 + 3, requests


def test_a_file_that_was_replaced_is_noticed_by_its_tag(endpoint):
    url = f"s3://{BUCKET}/tag/a.jsonl"
    write_atomically(url, b'{"text": "one"}\n')
    (source,) = list_sources([url]).sources
    assert is_unchanged(source)
    write_atomically(url, b'{"text": "two"}\n')
    assert not is_unchanged(source)


def test_failing_requests_cost_no_rows():
    with s3_server(failing=0.05):
        urls = [f"s3://{BUCKET}/failing/{i}.jsonl.gz" for i in range(20)]
        for url in urls:
            write_atomically(url, gzip.compress(LINES[:200_000].rpartition(b"\n")[0] + b"\n"))
        assert {len(texts_of(url)) for url in urls} == {LINES[:200_000].count(b"\n")}
