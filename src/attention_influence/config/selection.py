"""Options of the subcommands that rank and choose by the scores."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.options import POSITIONAL, RARELY


@dataclass(frozen=True)
class SelectConfig:
    """Select the top share of each domain, or a token budget."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    out: str = "selected"
    """folder or URL of the selected dataset; it must be new, but a selection that was killed goes on"""
    top: float | None = None
    """share of each domain, such as 0.2"""
    by: Literal["documents", "tokens"] = "documents"
    """what --top is a share of"""
    tokens: int | None = None
    """tokens to select in all, instead of --top"""
    apply: str | None = None
    """folder or selection.json of an earlier selection, whose ranking and thresholds decide, instead of --top"""
    rank_by: str = "influence"
    """a numeric column of the store, highest first (--rank-by=-COLUMN: lowest first), or delta, perplexity, length,
    random, controlled, or the weighted mean of percentiles of several: influence*0.7+edu*0.3"""
    seed: int = 0
    """random seed of the rankings random and controlled, and of --temperature"""
    manifest: bool = False
    """write (source, row, weight) instead of the documents"""
    weight: float = 1.0
    """weight of each row of the manifest; 2 stands for a second copy"""
    cap: tuple[str, ...] = ()
    """DOMAIN=N, the most of a domain: a share of it, such as web=0.1, or tokens, such as web=3e9; may be given several
    times"""
    floor: tuple[str, ...] = ()
    """DOMAIN=N, the least of a domain, in the same way"""
    temperature: float | None = None
    """draw documents, more likely those ranked first, instead of cutting: 0.1 is nearly a cut, 10 nearly at random"""
    workers: int | None = None
    """processes that read the chosen documents (default: 1; with Ray, as many as the cluster has CPUs)"""
    engine: Literal["local", "ray"] = "local"
    """who starts them: this command, or Ray on one machine or a cluster"""
    address: str | None = None
    """address of the Ray cluster (default: RAY_ADDRESS, or a cluster on this machine, or a new one)"""
    format: Literal["parquet", "jsonl"] | None = None
    """format of the dataset (default: that of the input; Parquet for Parquet and JSON lines together)"""
    column_prefix: str = ""
    """prefix of the names of the added columns, such as new_, when the input has columns of these names"""
    overwrite: bool = False
    """replace a selection that is at --out"""
    allow_partial: bool = False
    """select from a store that is not finished"""
    shard_bytes: int = field(default=512 * 2**20, metadata=RARELY)
    """size of the dataset's files"""


@dataclass(frozen=True)
class StepWeightsConfig:
    """Write documents that were scored in steps as training data for ms-swift, with a loss weight for each step."""

    store: str = field(metadata=POSITIONAL)
    """score store that was begun with --granularity step"""
    selection: str | None = None
    """folder or selection.json of a selection from it: only these documents (default: all that have a score)"""
    prompt_end: str | None = None
    """text that ends the prompt, in which \\n is a line break: what comes before has no loss; one of the texts that
    --steps of `score` named"""
    uniform: float = 0.0
    """share of each weight that is the same for all steps, from 0 to 1; above 0, no step has a weight of 0"""
    out: str = "step-weights.jsonl"
    """file of JSON lines to write"""
    overwrite: bool = False
    """replace a file that is at --out"""
    allow_partial: bool = False
    """write from a store that is not finished"""


@dataclass(frozen=True)
class AnnotateConfig:
    """Add a column to a score store: numbers from the corpus, from other files, a student or a quality classifier."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    name: str = field(metadata=POSITIONAL)
    """name of the new column, one that the corpus's own columns do not have; or of one that is there, to complete it"""
    column: str | None = None
    """numeric column or JSON key of the corpus, or of the files of --join; there also the name of a Dolma attribute"""
    student: str | None = None
    """file that `distill` wrote: the influence that it predicts for each text"""
    join: tuple[str, ...] = ()
    """files with a number for each document: file, folder, glob or URL; may be given several times"""
    join_on: Literal["key", "id"] = "key"
    """what tells the document in them: its `source` and `row`, or the id that --id-column of `score` carried along"""
    id_column: str = "id"
    """column or JSON key of the id in the files of --join"""
    positive: tuple[str, ...] = ()
    """texts that a classifier, trained here, is to find good: file, folder, glob or URL; may be given several times"""
    negative: tuple[str, ...] = ()
    """texts that it is to tell them from"""
    text_column: str = "text"
    """column or JSON key of those texts"""
    seed: int = 0
    """random seed of what is held out of them, and of the choice where there are too many"""
    overwrite: bool = False
    """replace a column of this name"""
    max_examples: int = field(default=50_000, metadata=RARELY)
    """texts of each side to train on"""


@dataclass(frozen=True)
class CompareConfig:
    """Measure how far two rankings of a store, or two stores, agree, and show what only one of them picks."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    other: str | None = field(default=None, metadata=POSITIONAL)
    """another store of the same corpus: another model, other heads, another precision"""
    rank_by: str = "influence"
    """ranking of the first store, as in `select`"""
    against: tuple[str, ...] = ()
    """rankings to compare it with, of the other store if there is one; several by commas or again
    (default: controlled, or with another store the same ranking)"""
    top: float = 0.2
    """share of each domain that each ranking picks"""
    examples: int = 5
    """documents to show that only one of the two picks"""
    sample: int = 1_000_000
    """documents to compare at most; of more, a random sample by key, the same of both stores"""
    seed: int = 0
    """random seed of the rankings random and controlled"""
