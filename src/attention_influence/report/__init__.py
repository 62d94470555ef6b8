"""One self-contained HTML page about a score store, its heads and its selection; and the picture of the heads."""

from attention_influence.report.figures.plots import save_heatmap
from attention_influence.report.page import Inputs, TextOf, write_report

__all__ = ["Inputs", "TextOf", "save_heatmap", "write_report"]
