"""Corpus files and their rows: listed once, read by range or by key, through fsspec; no torch here."""

from attention_influence.corpus.json_lines import json_lines_at, parse_object
from attention_influence.corpus.parquet import RowGroup, parquet_rows_at, row_groups
from attention_influence.corpus.read import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.sources import Listing, Source, is_unchanged, list_sources

__all__ = [
    "Columns",
    "Listing",
    "Row",
    "RowGroup",
    "Source",
    "is_unchanged",
    "json_lines_at",
    "list_sources",
    "parquet_rows_at",
    "parse_object",
    "read_rows",
    "row_groups",
]
