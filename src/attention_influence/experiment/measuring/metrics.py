"""What is measured of a trained network: held-out text, answers, retrieval, and tasks of the lm-evaluation-harness."""

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_influence.errors import ProbeError, UsageError
from attention_influence.evidence.answers import answers
from attention_influence.evidence.documents import of_document
from attention_influence.experiment.measuring.pair_probes import frequent_words, make_pair_probes
from attention_influence.heads.detect import find_sentences, make_probes, score_probe
from attention_influence.heads.probes import Probe
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.load import from_network
from attention_influence.model.masked_network import masked_network
from attention_influence.tasks.items import Choices, Item, Question, tokenize

if TYPE_CHECKING:
    from attention_influence.evidence.harness import Harness

_log = logging.getLogger(__name__)

PAPER = "paper"
PAPER_TASKS = (
    *("mmlu", "mmlu_pro", "agieval_en", "gsm8k", "humaneval", "bbh", "minerva_math"),
    *("hellaswag", "winogrande", "piqa", "openbookqa"),
)
"""Tasks of the harness that the paper's table names, for `tasks: [paper]`."""
RETRIEVES = 0.1
"""Retrieval score from which on a head is one that retrieves (Wu et al. 2024)."""
_PACK_TOKENS = 4096
_HARNESS_TOKENS = 16_384
_SEED = 0  # the same probes for every network


@dataclass(frozen=True)
class Measurement:
    """One number that a trained network comes to."""

    name: str
    value: float
    unit: str
    lower_is_better: bool


@dataclass(frozen=True)
class EvaluationData:
    """What is measured."""

    held_out: Mapping[str, Sequence[str]]
    """Domain → texts that no network was trained on."""
    items: Sequence[Item | Choices] = ()
    probes: int = 100
    """Of each kind; 0 for none."""
    sentences: Sequence[str] = ()
    """Texts that probes are made of; without any, those held out."""
    tasks: Sequence[str] = ()
    """Of the harness; "paper" is the paper's list."""
    context: int | None = None
    """Tokens that the network was trained on at once; by default all that it takes."""


def evaluate(network: Any, tokenizer: Any, evaluation: EvaluationData) -> list[Measurement]:
    """All metrics of a network. Takes it over: its attention is replaced, so it is not to be trained any further.

    Every text begins as documents began in training: with the tokenizer's BOS, if it has one. What cannot be measured
    is logged by name, and is not among the metrics. Raises UsageError for tasks that the harness does not know.
    """
    model = from_network(network, tokenizer)
    model.tokens.bos = tokenizer.bos_token_id
    context = min(evaluation.context or model.context, model.context)
    texts = evaluation.sentences or [text for of_domain in evaluation.held_out.values() for text in of_domain]
    return [
        *_bits_per_byte(model, evaluation.held_out, context),
        *_answers(model, evaluation.items, context),
        *_probes(model, texts, context, evaluation.probes),
        *_tasks(model, evaluation.tasks, context),
    ]


def load_harness(tasks: Sequence[str]) -> "Harness":
    """The harness with tasks by name, "paper" being the paper's. Raises UsageError for what is not known."""
    try:
        from attention_influence.evidence.harness import Harness
    except ImportError as error:
        raise UsageError(f"lm-eval is needed ({error}): pip install 'attention-influence[lm-eval]'") from error
    names = [name for asked in tasks for name in (PAPER_TASKS if asked == PAPER else (asked,))]
    return Harness(list(dict.fromkeys(names)))


def _bits_per_byte(model: LanguageModel, held_out: Mapping[str, Sequence[str]], context: int) -> Iterator[Measurement]:
    """Of all texts, and of each of several domains: −log2 p of all tokens over the UTF-8 bytes.

    Each document is read alone, one longer than the context in windows of equal length. Without a BOS the first token
    of a window costs nothing.
    """
    bits: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for domain, texts in held_out.items():
        read = [(text, q) for text in texts if (q := of_document(text, model.tokens, context)) is not None]
        if not read:
            _log.warning("bits per byte of %s is not measured: no document of it is held out", domain)
            continue
        questions = [question for _, question in read]
        losses = answers(model, questions, [{}], _PACK_TOKENS)[0][0]
        tokens = [sum(len(reading.at) for reading in question.readings) for question in questions]
        bits[domain] = float(losses @ np.array(tokens)) / math.log(2)
        sizes[domain] = sum(len(text.encode("utf-8", "surrogatepass")) for text, _ in read)
    if bits:
        yield Measurement("bits per byte", sum(bits.values()) / sum(sizes.values()), "bits/byte", True)
    for domain, of_domain in bits.items() if len(held_out) > 1 else ():
        yield Measurement(f"bits per byte: {domain}", of_domain / sizes[domain], "bits/byte", True)


def _answers(model: LanguageModel, items: Sequence[Item | Choices], context: int) -> Iterator[Measurement]:
    """Loss and accuracy of each task's items (see `outcomes`)."""
    by_task: dict[str, list[Question]] = {}
    left_out: dict[str, int] = {}
    for item in items:
        question = tokenize(item, model.tokens, context)
        if question is None:
            left_out[item.task] = left_out.get(item.task, 0) + 1
        else:
            by_task.setdefault(item.task, []).append(question)
    for task, count in left_out.items():
        _log.warning("%d items of %s do not fit into %d tokens: left out", count, task, context)
    for task, questions in by_task.items():
        losses, accuracies = answers(model, questions, [{}], _PACK_TOKENS)
        yield Measurement(f"answer loss: {task}", float(losses.mean()), "nats/token", True)
        yield Measurement(f"answer accuracy: {task}", float(accuracies.mean()), "share", False)


def _probes(model: LanguageModel, texts: Sequence[str], context: int, count: int) -> Iterator[Measurement]:
    """Of the paper's probes where the context holds them, and of pairs of words."""
    if not count:
        return
    for kind in ("probe", "pair probe"):
        try:
            if kind == "probe":
                endless = make_probes(model, find_sentences(model, texts, _SEED)[0], context, _SEED)
            else:
                endless = make_pair_probes(frequent_words(texts, model.tokens), model.tokens.bos, context, _SEED)
            probes = list(itertools.islice(endless, count))
        except ProbeError as error:
            # What comes after the semicolon is advice for `detect`.
            _log.warning("%s loss is not measured: %s", kind, str(error).partition(";")[0])
        else:
            yield from _of_probes(model, kind, probes)


def _of_probes(model: LanguageModel, kind: str, probes: Sequence[Probe]) -> Iterator[Measurement]:
    losses, accuracies = answers(model, [probe.question() for probe in probes], [{}], _PACK_TOKENS)
    scores = np.mean([score_probe(model, probe)[0] for probe in probes], axis=0)
    yield Measurement(f"{kind} loss", float(losses.mean()), "nats/token", True)
    yield Measurement(f"{kind} accuracy", float(accuracies.mean()), "share", False)
    yield Measurement(f"{kind}: highest retrieval score", float(np.nanmax(scores)), "share", False)
    yield Measurement(f"{kind}: retrieval heads above {RETRIEVES}", float((scores > RETRIEVES).sum()), "heads", False)


def _tasks(model: LanguageModel, tasks: Sequence[str], context: int) -> Iterator[Measurement]:
    if not tasks:
        return
    harness = load_harness(tasks)
    with masked_network(model, ()) as network:
        found = harness.run(network, model.tokenizer, "measuring", batch_size=max(1, _HARNESS_TOKENS // context))
    for (task, name), metric in found.items():
        yield Measurement(f"{task}: {name}", metric.value, "", not metric.higher_is_better)
