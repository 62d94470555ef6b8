"""Corpus files and their rows: listed once, read by range or by key, through fsspec; no torch here."""

from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.sources import Listing, Source, is_unchanged, list_sources

__all__ = ["Columns", "Listing", "Row", "Source", "is_unchanged", "list_sources", "read_rows"]
