"""Options of the subcommands that score, and watch scoring."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.model import ModelOptions
from attention_influence.config.options import POSITIONAL, RARELY


@dataclass(frozen=True, kw_only=True)
class ScorerOptions(ModelOptions):
    """Which documents are scored, and with what."""

    corpus: tuple[str, ...] = field(metadata=POSITIONAL)
    """files, folders, globs or URLs of Parquet or JSON lines"""
    heads: str = "heads.json"
    """heads to mask, as `detect` wrote them"""
    text_column: str = "text"
    """column or JSON key of the text"""
    domain: tuple[str, ...] = ()
    """domain of all inputs, or of each in turn when given as often as there are inputs"""
    domain_column: str | None = None
    """column that names each document's domain"""
    window: int | None = None
    """context in tokens; longer documents are cut into equal windows (default: the model's, 8,192 at most)"""
    pack_tokens: int | None = None
    """tokens of one forward pass (default: by device)"""
    max_document_tokens: int = 2**18
    """longer documents are kept without a score, reason too_long"""
    compile: bool = field(default=False, metadata=RARELY)
    """compile the model's layers: for GPUs; the first passes wait a minute or more for it"""


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """Whether documents are spared the model, and what must be kept."""

    screen: bool = False
    """spare documents the model whose text alone says that they are not in the top, where that pays"""
    keep_recall: float = 0.95
    """with --screen: the share of the top that must be scored …"""
    confidence: float = 0.9
    """with --screen: … with at least this probability, in each domain"""
    calibration: int = 720
    """with --screen: documents of each domain that are scored first, to fit a prediction and choose its cut"""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(ScorerOptions, ScreenOptions):
    """Score every document of a corpus by the influence of the heads."""

    out: str = "scores"
    """folder or URL of the score store; an unfinished run there is resumed"""
    id_column: str | None = None
    """column of the user's own id, carried along"""
    granularity: Literal["document", "step"] = "document"
    """what is scored: with step, each row also holds the mean rise of loss of every step of its document"""
    steps: tuple[str, ...] = ()
    """what ends a step: sentence, line, or a text of your own in which \\n is a line break; may be given several times
    (default: sentence)"""
    keep_top: float = 0.2
    """with --screen: the share of each domain's documents that will be selected"""
    limit: int | None = None
    """score so many documents only, the first ones of each file: a trial"""
    unit_tokens: int | None = None
    """tokens of one unit of work (default: some minutes of work; with 135M parameters 60M on a GPU, 50k on a CPU)"""
    workers: int | None = None
    """processes (default: one for each CUDA device, one on a CPU; with Ray, as many as the cluster has room for)"""
    engine: Literal["local", "ray"] = "local"
    """who starts the workers: this command, or Ray on one machine or a cluster"""
    address: str | None = None
    """address of the Ray cluster (default: RAY_ADDRESS, or a cluster on this machine, or a new one)"""
    worker_cpus: float = field(default=1.0, metadata=RARELY)
    """CPUs that Ray reserves for a worker"""
    worker_gpus: float | None = field(default=None, metadata=RARELY)
    """GPUs, or a part of one, that Ray reserves for a worker (default: 1 where this machine has one, else 0)"""
    shard: str | None = None
    """i/n: begin with every n-th unit from the i-th on, then steal others (default: from Slurm's array variables)"""
    extend: bool = False
    """add files that are new in the inputs to the store's plan"""
    rescore_changed: bool = False
    """score files again that changed since they were planned, and forget those that are gone"""
    retry_failed: bool = False
    """try units again that were quarantined after three failures"""
    on_bad_row: Literal["keep", "error"] = "keep"
    """rows without a usable text: keep them with a reason, or stop at the first"""
    max_bad_rate: float = 0.05
    """stop, with exit code 3, when a larger share of rows has no score (of fewer than 1,000: when 9 in 10 have none)"""


@dataclass(frozen=True)
class StatusConfig:
    """Show how far a run is, which workers are active, and what failed."""

    store: str = field(metadata=POSITIONAL)
    """score store"""


@dataclass(frozen=True, kw_only=True)
class EstimateConfig(ScorerOptions, ScreenOptions):
    """Score a random sample, and estimate the cost and the result of scoring and selecting the whole corpus."""

    sample_tokens: int = 50_000
    """tokens to score"""
    top: float = 0.2
    """share of each domain that would be selected"""
    seed: int = 0
    """random seed of the sample"""
    workers: int | None = None
    """CUDA devices that will score (default: all); no effect on a CPU, whose workers share its cores"""


@dataclass(frozen=True)
class DistillConfig:
    """Fit a student to a score store: one small file that predicts influence from the text, without the model."""

    store: str = field(metadata=POSITIONAL)
    """score store of a corpus, not a screened one"""
    out: str = "student.safetensors"
    """file to write"""
    documents: int = 10_000
    """documents of each domain to fit to, at most; drawn by the hashes of their keys"""
    seed: int = 0
    """random seed of folds and trees"""
