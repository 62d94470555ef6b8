"""What an experiment is: its arms, its recipe, what is measured. Values only; `configuration.py` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LENGTH_MATCHED = "length-matched"
"""The ranking that draws documents at random with the lengths of those that another arm adds."""
_CORPUS_COLUMN = "column "


@dataclass(frozen=True)
class Arm:
    """What a run is trained on: the corpus, the corpus and some of it again, or some of it only."""

    name: str
    add: str | None = None
    """Ranking of the documents that come once more."""
    only: str | None = None
    """Ranking of the documents that are all there is."""
    share: float | None = None
    """Of each domain's tokens, how many the ranking gives."""
    like: str | None = None
    """The arm whose share it is instead."""

    @property
    def ranking(self) -> str | None:
        return self.add or self.only

    @property
    def corpus_column(self) -> str | None:
        """The column of the corpus that ranks, where none of the store does."""
        given = (self.ranking or "").removeprefix("-")
        return given.removeprefix(_CORPUS_COLUMN).strip() if given.startswith(_CORPUS_COLUMN) else None

    @property
    def draws(self) -> bool:
        """Whether each seed has documents of its own."""
        return self.ranking in ("random", LENGTH_MATCHED)


@dataclass(frozen=True)
class Recipe:
    """How every run is trained."""

    learning_rate: float | None = None
    """None: the preset's."""
    batch_tokens: int = 16_384
    context: int = 512
    warmup: float = 0.001
    """Share of the steps in which the learning rate rises."""
    decay: float = 0.25
    """Share of the steps, the last ones, in which it falls to 0."""
    decay_shape: Literal["linear", "cosine", "1-sqrt"] = "linear"
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    device_rows: int | None = None
    """Rows of `context` tokens on a device at once; None: as many as suit the device."""
    checkpoint_steps: int | None = None
    """None: twenty checkpoints a run."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured of every trained network."""

    items: tuple[str, ...] = ()
    """JSON lines of items with reference answers."""
    benchmarks: tuple[str, ...] = ()
    """Names of the items that this package reads."""
    tasks: tuple[str, ...] = ()
    """Of the lm-evaluation-harness."""
    probes: int = 100
    """Of the retrieval task."""


@dataclass(frozen=True)
class Planted:
    """An effect that is in the corpus by construction: an experiment that misses it proves nothing."""

    arm: str
    baseline: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class PlainSettings:
    """The keys of a configuration that hold one value, or a list of them."""

    tokens: int
    corpus: tuple[str, ...] = ()
    scores: str | None = None
    text_column: str = "text"
    id_column: str | None = None
    domain_column: str | None = None
    domain: tuple[str, ...] = ()
    heldout: float = 0.02
    decontaminate: bool = True
    """Leave documents out that share 13 words in a row with an item of the evaluation."""
    near_duplicates: float | None = None
    """Leave near-duplicates out, from this similarity on."""
    baselines: tuple[str, ...] = ("corpus", "random")
    """Arms that the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Experiment(PlainSettings):
    """A checked CONFIG.yaml."""

    arms: Mapping[str, Arm]
    model: str | Mapping[str, Any] = "1m"
    tokenizer: str | int = 4096
    """Of how many entries one is trained, or where one lies."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    planted: Planted | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of transformers' TrainingArguments."""

    @property
    def steps(self) -> int:
        return self.tokens // self.recipe.batch_tokens

    @property
    def rows(self) -> int:
        """Rows of `context` tokens in a run."""
        return self.steps * self.recipe.batch_tokens // self.recipe.context

    @property
    def trained_tokens(self) -> int:
        """Of each run: whole steps."""
        return self.steps * self.recipe.batch_tokens
