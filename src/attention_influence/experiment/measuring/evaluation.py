"""What is measured of each trained network, and which documents are left out of training for its sake."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sources import Source
from attention_influence.experiment.data.decontaminate import Decontamination, item_text
from attention_influence.experiment.data.near_duplicates import near_duplicates
from attention_influence.experiment.data.token_file import Corpus, Key, read_held_out
from attention_influence.experiment.measuring.metrics import EvaluationData, evaluate, load_harness
from attention_influence.experiment.plan import Plan
from attention_influence.experiment.settings import EvaluationSettings, Experiment
from attention_influence.progress import stage
from attention_influence.tasks.benchmarks import benchmark_items, benchmark_names
from attention_influence.tasks.items import Choices, Item, read_items

_SEED = 0  # the same items for every network
_ITEMS = 200
"""Of a benchmark, at most."""


def reference_items(settings: EvaluationSettings) -> list[Item | Choices]:
    """Items with reference answers: the user's own, and those of benchmarks. Raises UsageError and CorpusError."""
    names = benchmark_names(settings.benchmarks)
    return [*read_items(settings.items), *(benchmark_items(names, _ITEMS, _SEED) if names else ())]


def check_evaluation(settings: EvaluationSettings) -> None:
    """Raises UsageError or CorpusError for what could not be measured in the end."""
    reference_items(settings)
    if settings.tasks:
        load_harness(settings.tasks)


def leave_out(experiment: Experiment, sources: Sequence[Source], columns: Columns) -> Callable[[Key, str], str | None]:
    """Why a training document is left out, from its key and text: it holds an item, or nearly repeats another one.

    The lm-evaluation-harness's own items are not looked for.
    """
    items = reference_items(experiment.evaluation) if experiment.decontaminate else []
    decontamination = Decontamination(map(item_text, items))
    repeated: dict[Key, Key] = {}
    if experiment.near_duplicates is not None:
        corpus = Corpus(tuple(sources), columns, experiment.heldout, lambda key, text: None)
        # Held-out documents come first: what nearly repeats one of them is left out of training.
        documents = (
            ((source.name, row.row), row.text or "")
            for wanted in (True, False)
            for source, row, held_out in corpus.documents()
            if held_out == wanted
        )
        with stage("finding near-duplicates"):
            repeated = near_duplicates(documents, experiment.near_duplicates)

    def reason(key: Key, text: str) -> str | None:
        if items and decontamination.contaminated(text):
            return "contaminated"
        return "near_duplicate" if key in repeated else None

    return reason


def measure_of(plan: Plan) -> Callable[[Any, Any], list[dict[str, Any]]]:
    """From a trained network and its tokenizer to metrics of name, value, unit and lower_is_better."""
    settings = plan.experiment.evaluation
    evaluation = EvaluationData(
        held_out=read_held_out(plan.data_folder),
        items=reference_items(settings),
        probes=settings.probes,
        tasks=settings.tasks,
        context=plan.experiment.recipe.context,
    )
    return lambda network, tokenizer: [asdict(metric) for metric in evaluate(network, tokenizer, evaluation)]
