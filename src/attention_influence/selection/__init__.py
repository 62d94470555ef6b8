"""Selection from a score store: thresholds by domain, then a dataset or a manifest; no torch here."""

from attention_influence.selection.record import Threshold
from attention_influence.selection.result import Selection
from attention_influence.selection.rule import Rule
from attention_influence.selection.select import select

__all__ = ["Rule", "Selection", "Threshold", "select"]
