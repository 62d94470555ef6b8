"""Questions to try a model with: retrieval probes, tasks made here, public benchmarks, the user's own items."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attention_influence.errors import UsageError
from attention_influence.heads.detect import make_probes
from attention_influence.model.language_model import LanguageModel
from attention_influence.tasks.benchmarks import BENCHMARK_NAMES, benchmark_items
from attention_influence.tasks.in_context import in_context_items
from attention_influence.tasks.items import Choices, Item, Question, tokenize

RETRIEVAL, IN_CONTEXT = "retrieval", "in-context"
TASK_NAMES = (RETRIEVAL, IN_CONTEXT, *BENCHMARK_NAMES)
"""What `add_tasks` knows; "in-context" is three tasks."""


@dataclass
class Questions:
    """Questions by task, and how many items of each task do not fit into the context."""

    model: LanguageModel
    context: int
    """Tokens, BOS included."""
    by_task: dict[str, list[Question]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, task: str, question: Question | None) -> None:
        """None is what does not fit."""
        if question is None:
            self.left_out[task] += 1
        else:
            self.by_task.setdefault(task, []).append(question)

    def add_items(self, items: Iterable[Item | Choices]) -> None:
        for item in items:
            self.add(item.task, tokenize(item, self.model.tokens, self.context))

    def add_tasks(self, names: Sequence[str], count: int, seed: int) -> None:
        """`count` items of each task by its name, retrieval apart: its probes need sentences."""
        if IN_CONTEXT in names:
            self.add_items(in_context_items(count, seed))
        if benchmarks := [name for name in names if name in BENCHMARK_NAMES]:
            self.add_items(benchmark_items(benchmarks, count, seed))

    def add_probes(self, sentences: Mapping[str, str], count: int, seed: int) -> None:
        """`count` retrieval probes that fill the context. Raises ProbeError."""
        for probe in itertools.islice(make_probes(self.model, sentences, self.context, seed), count):
            self.add(RETRIEVAL, probe.question())

    @property
    def notes(self) -> list[str]:
        """What was left out, in words."""
        return [f"{count} items of {task} do not fit into the context" for task, count in self.left_out.items()]


def task_names(asked: Sequence[str]) -> list[str]:
    """The tasks asked for, each once. Raises UsageError for one that is not known."""
    for name in asked:
        if name not in TASK_NAMES:
            raise UsageError(f"task {name!r} is unknown; choose from {', '.join(TASK_NAMES)}, or give --items")
    return list(dict.fromkeys(asked))
