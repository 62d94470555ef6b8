"""The options of each verb: frozen dataclasses whose attribute docstrings are the help texts."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.options import POSITIONAL, RARELY

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class DetectConfig:
    """Find the model's retrieval heads on a synthetic key → sentence task."""

    model: str
    """hub id, directory or .gguf file of a causal language model"""
    sentences: tuple[str, ...]
    """texts whose sentences become the values of the task: file, folder, glob or URL; may be given several times"""
    out: str = "heads.json"
    """where to write the heads; a heatmap is written beside it"""
    samples: int = 800
    """probes to run"""
    context: int = 4096
    """longest probe in tokens, answer included"""
    until_stable: bool = False
    """stop before --samples when the chosen set has settled"""
    seed: int = 0
    """of the probes"""
    share: float = 0.05
    """share of all heads to choose, rounded up"""
    where: Literal["needle", "anywhere"] = "needle"
    """what counts as a hit: the value's own tokens, or an equal token anywhere"""
    text_column: str = "text"
    """column or JSON key of the texts"""
    dtype: Precision = "bf16"
    """weights"""
    device: str | None = None
    """cpu, cuda, cuda:1 …; by default CUDA if there is a card"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""
    max_texts: int = field(default=20_000, metadata=RARELY)
    """texts to take sentences from"""


@dataclass(frozen=True)
class StabilityConfig:
    """Say how far the head set moves: other seeds, probe texts, context lengths, and other shares of the heads."""

    model: str
    """hub id, directory or .gguf file of a causal language model"""
    sentences: tuple[str, ...]
    """texts for the task, as in `detect`; given several times, each is also a probe corpus of its own"""
    out: str = "stability.json"
    """where to write all figures"""
    samples: int = 100
    """probes of each run; a run costs as many forward passes of its context's length"""
    contexts: str = "512,1024,2048,4096"
    """probe lengths in tokens, with commas; the longest that the model takes is the reference run's"""
    seeds: int = 3
    """other seeds to run"""
    seed: int = 0
    """of the reference run, and of all draws"""
    share: float = 0.05
    """share of all heads to choose, rounded up"""
    where: Literal["needle", "anywhere"] = "needle"
    """what counts as a hit: the value's own tokens, or an equal token anywhere"""
    corpus: tuple[str, ...] = ()
    """texts to score with 1, 2, 5, 10 and 20% of the heads masked: file, folder, glob or URL"""
    sample_tokens: int = 20_000
    """tokens of the corpus to score, once for each share"""
    domain_column: str | None = None
    """column that names each document's domain in the corpus"""
    text_column: str = "text"
    """column or JSON key of all texts"""
    dtype: Precision = "bf16"
    """weights"""
    device: str | None = None
    """cpu, cuda, cuda:1 …; by default CUDA if there is a card"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""
    max_texts: int = field(default=20_000, metadata=RARELY)
    """texts to take sentences from"""


@dataclass(frozen=True)
class ValidateConfig:
    """Mask the chosen heads and random ones, and say which tasks lose by it."""

    model: str
    """hub id, directory or .gguf file of a causal language model"""
    sentences: tuple[str, ...]
    """texts whose sentences become the values of the retrieval task, as for `detect`"""
    heads: str = "heads.json"
    """heads to validate, as `detect` wrote them"""
    out: str = "validity.json"
    """where to write all figures; a picture is written beside it"""
    corpus: tuple[str, ...] = ()
    """texts to measure plain language modelling on: file, folder, glob or URL; may be given several times"""
    domain_column: str | None = None
    """column that names each document's domain; each domain is a task"""
    text_column: str = "text"
    """column or JSON key of the texts"""
    benchmarks: tuple[str, ...] = ()
    """public benchmarks, downloaded the first time: gsm8k, mmlu, logiqa, hellaswag, humaneval, or all; several by
    commas or again (default: none)"""
    items: tuple[str, ...] = ()
    """your own items, JSON lines of {"task", "prompt", "answer"} or {"task", "prompt", "choices", "answer": index}; all
    are used"""
    items_per_task: int = 50
    """items of each other task"""
    sample_tokens: int = 20_000
    """tokens of --corpus to sample"""
    draws: int = 5
    """sets of random heads of each kind, at least 5"""
    context: int = 1024
    """longest item in tokens; retrieval probes fill it, longer documents are cut into windows"""
    seed: int = 0
    """of items, random heads and intervals"""
    dtype: Precision = "bf16"
    """weights"""
    device: str | None = None
    """cpu, cuda, cuda:1 …; by default CUDA if there is a card"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""


@dataclass(frozen=True)
class ScoreConfig:
    """Score every document of a corpus by the influence of the heads."""

    corpus: tuple[str, ...] = field(metadata=POSITIONAL)
    """files, folders, globs or URLs of Parquet or JSON lines"""
    model: str
    """hub id, directory or .gguf file of a causal language model"""
    heads: str = "heads.json"
    """heads to mask, as `detect` wrote them"""
    out: str = "scores"
    """folder or URL of the score store; an unfinished run there is resumed"""
    text_column: str = "text"
    """column or JSON key of the text"""
    id_column: str | None = None
    """column of the user's own id, carried along"""
    domain: tuple[str, ...] = ()
    """domain of all inputs, or of each in turn when given as often as there are inputs"""
    domain_column: str | None = None
    """column that names each document's domain"""
    dtype: Precision = "bf16"
    """weights; fp32 for scores that are right to the last digit"""
    device: str | None = None
    """cpu, cuda, cuda:1 …; by default CUDA if there is a card"""
    unit_tokens: int | None = None
    """tokens of one unit of work (default: 20M on an accelerator, 200k on a CPU)"""
    window: int | None = None
    """context in tokens; longer documents are cut into equal windows (default: the model's)"""
    pack_tokens: int | None = None
    """tokens of one forward pass (default: by device)"""
    max_document_tokens: int = 2**18
    """longer documents are kept without a score, reason too_long"""
    workers: int | None = None
    """processes (default: one for each CUDA device, one on a CPU; with Ray, as many as the cluster has room for)"""
    engine: Literal["local", "ray"] = "local"
    """who starts the workers: this command, or Ray on one machine or a cluster"""
    address: str | None = None
    """of the Ray cluster (default: RAY_ADDRESS, or a cluster on this machine, or a new one)"""
    worker_cpus: float = field(default=1.0, metadata=RARELY)
    """CPUs that Ray reserves for a worker"""
    worker_gpus: float | None = field(default=None, metadata=RARELY)
    """cards, or a part of one, that Ray reserves for a worker (default: 1 where this machine has one, else 0)"""
    shard: str | None = None
    """i/n: begin with every n-th unit from the i-th on, then steal others (default: from Slurm's array variables)"""
    select_with: str | None = None
    """folder or selection.json of an earlier selection: rows at or above its thresholds are written while scoring"""
    extend: bool = False
    """add files that are new in the inputs to the store's plan"""
    rescore_changed: bool = False
    """score files again that changed since they were planned, and forget those that are gone"""
    retry_failed: bool = False
    """try units again that were parked after three failures"""
    on_bad_row: Literal["keep", "error"] = "keep"
    """rows without a usable text: keep them with a reason, or stop at the first"""
    max_bad_rate: float = 0.05
    """stop, with exit code 3, when a larger share of rows has no score (judged after 1,000 rows)"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""


@dataclass(frozen=True)
class StatusConfig:
    """Say how far a run is, who is at work on it, and what went wrong."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    compact: bool = False
    """put the objects of many units into few files; the store reads the same and may be gone on with"""


@dataclass(frozen=True)
class EstimateConfig(ScoreConfig):
    """Score a random sample, and say what scoring and selecting all of it would take and give."""

    sample_tokens: int = 50_000
    """tokens to score"""
    top: float = 0.2
    """share of each domain that would be selected"""
    seed: int = 0
    """of the sample"""


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
    """of the rankings random and controlled, and of --temperature"""
    manifest: bool = False
    """write (source, row, weight) instead of the documents"""
    weight: float = 1.0
    """of each row of the manifest; 2 stands for a second copy"""
    cap: tuple[str, ...] = ()
    """DOMAIN=N, the most of a domain: a share of it, such as web=0.1, or tokens, such as web=3e9; may be given several
    times"""
    floor: tuple[str, ...] = ()
    """DOMAIN=N, the least of a domain, in the same way"""
    strata: Literal["length"] | None = None
    """choose from each length bin of a domain (powers of two of tokens) for itself, so not mainly long documents"""
    temperature: float | None = None
    """draw documents, more likely those ranked first, instead of cutting: 0.1 is nearly a cut, 10 nearly at random"""
    workers: int | None = None
    """processes that read the chosen documents (default: 1; with Ray, as many as the cluster has CPUs)"""
    engine: Literal["local", "ray"] = "local"
    """who starts them: this command, or Ray on one machine or a cluster"""
    address: str | None = None
    """of the Ray cluster (default: RAY_ADDRESS, or a cluster on this machine, or a new one)"""
    format: Literal["parquet", "jsonl"] | None = None
    """of the dataset (default: each input's own)"""
    overwrite: bool = False
    """replace a selection that is at --out"""
    allow_partial: bool = False
    """select from a store that is not finished"""
    shard_bytes: int = field(default=512 * 2**20, metadata=RARELY)
    """size of the dataset's files"""


@dataclass(frozen=True)
class AnnotateConfig:
    """Add a column to a score store: a number of the corpus's own or of other files, or what a classifier says."""

    store: str = field(metadata=POSITIONAL)
    """score store"""
    name: str = field(metadata=POSITIONAL)
    """of the new column, one that the corpus's own columns do not have; or of one that is there, to complete it"""
    column: str | None = None
    """numeric column or JSON key of the corpus, or of the files of --join; there also the name of a Dolma attribute"""
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
    """of what is held out of them, and of the choice where there are too many"""
    overwrite: bool = False
    """replace a column of this name"""
    max_examples: int = field(default=50_000, metadata=RARELY)
    """texts of each side to train on"""


@dataclass(frozen=True)
class CompareConfig:
    """Say how far two rankings of a store, or two stores, agree, and what only one of them picks."""

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
    """of the rankings random and controlled"""


@dataclass(frozen=True)
class ReportConfig:
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
    model: str | None = None
    """the model that scored, to colour each token of the texts shown by the rise of its loss; needs --heads"""
    diversity: bool = False
    """embed a sample of the texts, and say how varied what was kept is; needs the extra [report]"""
    embedding: str | None = None
    """hub id or directory of a sentence-transformers model (default: MiniLM, for English, fetched the first time)"""
    sample: int = 2_000
    """documents whose texts are read for words and diversity"""
    seed: int = 0
    """of samples and clusters"""
    dtype: Precision = "bf16"
    """weights of --model"""
    device: str | None = None
    """of --model; by default CUDA if there is a card"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""


@dataclass(frozen=True)
class DemoConfig:
    """The whole job on a small real model and real texts, fetched as Python packages."""

    out: str = "demo-output"
    """folder of everything that is made"""
    dtype: Precision = "bf16"
    """weights"""
