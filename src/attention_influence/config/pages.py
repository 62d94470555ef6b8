"""Options of the subcommands that end in a page."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.model import LoadOptions
from attention_influence.config.options import POSITIONAL


@dataclass(frozen=True, kw_only=True)
class ReportConfig(LoadOptions):
    """Write one HTML page that shows a score store and a selection."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    out: str = "report.html"
    """the page"""
    heads: str | None = None
    """heads.json, as `detect` wrote it"""
    selection: str | None = None
    """folder of a selection; without one, the top 20% of each domain stand for what is kept"""
    stability: str | None = None
    """stability.json, as `stability` wrote it"""
    validity: str | None = None
    """validity.json, as `validate` wrote it"""
    judge: str | None = None
    """judge.json, as `judge` wrote it"""
    experiment: str | None = None
    """experiment.json, as `experiment` wrote it"""
    model: str | None = None
    """the model that scored, to colour each token of the texts shown by the rise of its loss; needs --heads"""
    diversity: bool = False
    """embed a sample of the texts, and say how varied what was kept is; needs the extra [report]"""
    embedding: str | None = None
    """hub id or directory of a sentence-transformers model (default: MiniLM, for English, fetched the first time)"""
    sample: int = 2_000
    """documents whose texts are read for words and diversity"""
    seed: int = 0
    """random seed of samples and clusters"""


@dataclass(frozen=True, kw_only=True)
class DemoConfig(LoadOptions):
    """Run the whole job on a small real model and real texts, fetched as Python packages."""

    out: str = "demo-output"
    """folder of everything that is made"""
    size: Literal["small", "full"] = "small"
    """22,000 tokens of text and 12 probes, for a first look in minutes, or 120,000 and 60"""
