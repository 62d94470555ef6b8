"""`validate`: do the chosen heads matter? Tasks with them masked, compared with random heads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attention_influence.commands.preparing.loading import load
from attention_influence.commands.printing.result import Result, range_text, table
from attention_influence.commands.score import window_text
from attention_influence.config import ValidateConfig
from attention_influence.config.options import split_names
from attention_influence.corpus import Columns
from attention_influence.corpus.texts import draw_documents, draw_texts
from attention_influence.errors import UsageError
from attention_influence.evidence.documents import of_document
from attention_influence.evidence.masking import conditions
from attention_influence.evidence.validity import KINDS, Change, Excess, TaskResult, validate_heads
from attention_influence.heads.detect import find_sentences
from attention_influence.heads.head_set import load_heads
from attention_influence.heads.questions import IN_CONTEXT, RETRIEVAL, Questions
from attention_influence.model.language_model import LanguageModel
from attention_influence.progress import progress
from attention_influence.scoring.scorer import Scorer
from attention_influence.storage.atomic_files import write_json
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.begin import library_versions
from attention_influence.tasks.benchmarks import benchmark_names
from attention_influence.tasks.items import read_items

_FEWEST_DRAWS = 5
_MOST_TEXTS = 20_000
_NAMES = {"chosen": "chosen", "random": "random", "matched": "random, same layers"}


def validate(config: ValidateConfig) -> Result:
    if config.draws < _FEWEST_DRAWS:
        raise UsageError(f"--draws is {config.draws}; the spread over random heads needs at least {_FEWEST_DRAWS}")
    if not config.out.endswith(".json"):
        raise UsageError(f"--out is {config.out}; it is a .json file, and a .png is written beside it")
    picture = f"{config.out.removesuffix('.json')}.png"
    for file in (config.out, picture):
        check_writable_file(file)
    benchmarks = benchmark_names(split_names(config.benchmarks))
    own = read_items(config.items)
    heads = load_heads(config.heads)
    model = load(config.model, config)
    scorer = Scorer(model, heads, window=min(config.context, model.context))
    masked, notes = conditions(model.heads, heads.heads, config.draws, config.seed)
    questions = _questions(config, model, scorer.window, benchmarks, heads.seed)
    questions.add_items(own)
    tasks = questions.by_task
    tokens = sum(len(reading.tokens) for of_task in tasks.values() for q in of_task for reading in q.readings)
    with progress("validating", tokens * len(masked), "tokens") as advance:
        found = validate_heads(scorer, masked, tasks, config.seed, advance)
    warnings = [*notes, *_warnings(found)]
    data: dict[str, Any] = {
        "model": asdict(model.identity),
        "dtype": config.dtype,
        "heads": [list(head) for head in heads],
        "conditions": [{"kind": one.kind, "heads": [list(head) for head in one.heads]} for one in masked],
        "configuration": asdict(config),
        "versions": library_versions(),
        "window": scorer.window,
        "tokens": tokens,
        "left_out": dict(questions.left_out),
        "tasks": [_to_json(result) for result in found],
        "warnings": warnings,
    }
    write_json(config.out, data)
    from attention_influence.report.figures.plots import save_changes  # matplotlib takes a second

    save_changes(
        [result.task for result in found],
        {
            "rise of the loss (nats/token)": [_bars(f.loss_changes) for f in found],
            "fall of the accuracy": [_bars(f.accuracy_changes) for f in found],
        },
        picture,
    )
    written = f"{window_text(scorer)}\nwritten: {config.out}, {picture}"
    return Result("\n".join(_text(found, questions.notes, warnings, written)), data)


def _questions(
    config: ValidateConfig, model: LanguageModel, context: int, benchmarks: Sequence[str], heads_seed: int | None
) -> Questions:
    """Questions by task, without the user's own."""
    questions = Questions(model, context)
    # The heads must not be tried on the probes that they were found with.
    probe_seed = config.seed + (config.seed == heads_seed)
    texts = draw_texts(config.sentences, config.text_column, _MOST_TEXTS, probe_seed)
    questions.add_probes(find_sentences(model, texts, probe_seed)[0], config.items_per_task, probe_seed)
    questions.add_tasks([IN_CONTEXT, *benchmarks], config.items_per_task, config.seed)
    if config.corpus:
        columns = Columns(config.text_column, domain=config.domain_column)
        documents = draw_documents(config.corpus, columns, config.sample_tokens, config.seed)
        for domain, text in sorted(set(documents)):
            questions.add(f"text: {domain}", of_document(text, model.tokens, context))
    return questions


def _warnings(found: Sequence[TaskResult]) -> Iterator[str]:
    retrieval = next(result for result in found if result.task == RETRIEVAL)
    bounds = retrieval.loss_excess.interval
    if bounds is not None and bounds[0] <= 0:
        yield (
            "masking the chosen heads does not hurt retrieval more than masking random heads of the same layers: "
            "these heads do not retrieve, and influence by them means little"
        )


def _text(found: Sequence[TaskResult], notes: Sequence[str], warnings: Sequence[str], written: str) -> Iterator[str]:
    rows: list[tuple[object, ...]] = []
    for result in found:
        rows.append((result.task, "none", result.loss, None, None, None, result.accuracy, None, None, None))
        for kind in KINDS:
            loss, accuracy = result.loss_changes[kind], result.accuracy_changes[kind]
            rows.append(("", _NAMES[kind], *_cells(loss), *_cells(accuracy)))
    spread = ("95% interval", "of draws")
    headings = ("task", "masked", "loss", "rise", *spread, "accuracy", "fall", *spread)
    yield table(headings, rows)
    yield "loss: nats/token of the answer; accuracy: share of answer tokens, or of choices, right"
    yield ""
    yield "how much more masking the chosen heads costs than masking random ones of the same layers (mirror effect)"
    yield table(
        ("task", "items", "more loss", "95% interval", "less accuracy", "95% interval", "by loss"),
        [(f.task, f.items, *_excess(f.loss_excess), *_excess(f.accuracy_excess), f.loss_excess.verdict) for f in found],
    )
    yield from notes
    yield from (f"warning: {warning}" for warning in warnings)
    yield written


def _cells(change: Change) -> tuple[object, ...]:
    several = len(change.draws) > 1
    draws = range_text((min(change.draws), max(change.draws))) if several else None
    return change.mean, change.worse, range_text(change.interval), draws


def _excess(excess: Excess) -> tuple[object, ...]:
    return excess.mean, range_text(excess.interval)


def _bars(changes: Mapping[Any, Change]) -> dict[str, tuple[float, tuple[float, float] | None]]:
    return {_NAMES[kind]: (change.worse, change.interval) for kind, change in changes.items()}


def _to_json(result: TaskResult) -> dict[str, Any]:
    record = asdict(result)
    for name in ("loss_excess", "accuracy_excess"):
        excess: Excess = getattr(result, name)
        record[name]["verdict"] = excess.verdict
    return record
