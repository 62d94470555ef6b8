"""Options of the subcommands that find heads and try them."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.model import ModelOptions
from attention_influence.config.options import RARELY


@dataclass(frozen=True, kw_only=True)
class DetectConfig(ModelOptions):
    """Find the heads that retrieve from their context, or those whose masking raises the loss of right answers."""

    method: Literal["retrieval", "ablation", "attribution", "greedy"] = "retrieval"
    """retrieval: how often a head attends to the token that is to be copied; ablation: how much the loss of right
    answers rises when it attends uniformly; attribution: the same, measured only for three times as many heads as are
    chosen, a shortlist made from gradients; greedy: a set grown in rounds, each an ablation with the heads of earlier
    rounds masked"""
    sentences: tuple[str, ...] = ()
    """texts whose sentences become the values of the retrieval task: file, folder, glob or URL; may be given several
    times"""
    tasks: tuple[str, ...] = ()
    """tasks of all methods but retrieval: retrieval, in-context, gsm8k, mmlu, logiqa, hellaswag, humaneval; several by
    commas or again (default: none)"""
    items: tuple[str, ...] = ()
    """your own items for them, JSON lines of {"prompt", "answer"} or {"prompt", "choices", "answer"}, the latter
    the right choice or its index; all are used"""
    out: str = "heads.json"
    """where to write the heads; a heatmap is written beside it"""
    samples: int | None = None
    """probes to run; otherwise items of each of --tasks (default: 800 probes, 50 items)"""
    context: int | None = None
    """longest probe or item in tokens, answer included (default: probes 4096, items 1024)"""
    until_stable: bool = False
    """stop before all samples when the chosen set has settled"""
    steps: int = 1
    """points of the attribution's path: 1 is the gradient at the unmodified model, more are integrated gradients"""
    rounds: int = 4
    """rounds of --method greedy; as many as heads to choose add one at a time"""
    seed: int = 0
    """random seed of probes, items and their order"""
    share: float = 0.05
    """share of all heads to choose, rounded up"""
    where: Literal["needle", "anywhere"] = "needle"
    """what counts as a hit of the retrieval score: the value's own tokens, or an equal token anywhere"""
    text_column: str = "text"
    """column or JSON key of the texts"""
    max_texts: int = field(default=20_000, metadata=RARELY)
    """texts to take sentences from"""


@dataclass(frozen=True, kw_only=True)
class StabilityConfig(ModelOptions):
    """Measure the stability of the head set over seeds, probe texts, context lengths and shares of the heads."""

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
    """random seed of the reference run, and of all draws"""
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
    max_texts: int = field(default=20_000, metadata=RARELY)
    """texts to take sentences from"""


@dataclass(frozen=True, kw_only=True)
class ValidateConfig(ModelOptions):
    """Mask the chosen heads and random ones, and measure which tasks degrade."""

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
    """your own items, JSON lines of {"prompt", "answer"} or {"prompt", "choices", "answer"}, the latter the right
    choice or its index, with a "task" if there are several; all are used"""
    items_per_task: int = 50
    """items of each other task"""
    sample_tokens: int = 20_000
    """tokens of --corpus to sample"""
    draws: int = 5
    """sets of random heads of each kind, at least 5"""
    context: int = 1024
    """longest item in tokens; retrieval probes fill it, longer documents are cut into windows"""
    seed: int = 0
    """random seed of items, random heads and intervals"""
