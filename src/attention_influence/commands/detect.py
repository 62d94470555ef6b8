"""`detect`: the heads of a model that matter, into heads.json and a picture."""

import posixpath
from collections.abc import Sequence

from attention_influence.commands.preparing.loading import load
from attention_influence.commands.printing.result import Result, table
from attention_influence.config import DetectConfig
from attention_influence.config.options import split_names
from attention_influence.corpus.texts import draw_texts
from attention_influence.errors import UsageError
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.detect import detect_heads, find_sentences
from attention_influence.heads.detect_for import LONGEST_ITEM
from attention_influence.heads.greedy import Greedy
from attention_influence.heads.head_set import HeadSet
from attention_influence.heads.questions import RETRIEVAL, Questions, task_names
from attention_influence.progress import progress
from attention_influence.storage.preflight import check_writable_file
from attention_influence.tasks.items import Choices, Item, read_items

# Of the retrieval score, and of the methods that measure answers.
_PROBES, _PROBE_CONTEXT = 800, 4096
_ITEMS = 50


def detect(config: DetectConfig) -> Result:
    picture = posixpath.splitext(config.out)[0] + ".png"
    for file in (config.out, picture):
        check_writable_file(file)
    found, notes = _by_retrieval(config) if config.method == "retrieval" else _by_ablation(config)
    assert found.scores is not None
    from attention_influence.report.figures.plots import save_heatmap  # matplotlib takes a second

    save_heatmap(found.scores, found.heads, picture, found.score_name)
    lines = [describe_heads(found), *notes, f"written: {config.out}, {picture}"]
    return Result(
        "\n".join(lines),
        {"heads": [list(h) for h in found], "probe_texts": found.probe_texts, "tasks": found.tasks},
    )


def _by_retrieval(config: DetectConfig) -> tuple[HeadSet, Sequence[str]]:
    if config.tasks or config.items:
        raise UsageError("--tasks and --items are for ablation, attribution and greedy, not for the retrieval score")
    if not config.sentences:
        raise UsageError("missing: --sentences, texts for the retrieval task")
    samples = config.samples or _PROBES
    texts = draw_texts(config.sentences, config.text_column, config.max_texts, config.seed)
    model = load(config.model, config)
    with progress("detecting", samples, "probes") as advance:
        found = detect_heads(
            model,
            texts,
            samples=samples,
            context=config.context or _PROBE_CONTEXT,
            until_stable=config.until_stable,
            seed=config.seed,
            share=config.share,
            where=config.where,
            progress=lambda done, total: advance(1),
        )
    found.save(config.out)
    return found, ()


def _by_ablation(config: DetectConfig) -> tuple[HeadSet, Sequence[str]]:
    names = task_names(split_names(config.tasks))
    if not names and not config.items:
        raise UsageError(f"--method {config.method} needs items: --tasks, or --items with your own")
    if (RETRIEVAL in names) != bool(config.sentences):
        raise UsageError("--sentences and --tasks retrieval need each other; give both or neither")
    if not 0 < config.share <= 1:
        raise UsageError(f"--share is {config.share}; need 0 < share ≤ 1")
    own = read_items(config.items)
    texts = draw_texts(config.sentences, config.text_column, config.max_texts, config.seed) if config.sentences else {}
    ablation, notes = _prepare(config, names, own, texts)
    detection = Greedy(ablation, config.rounds) if config.method == "greedy" else ablation
    with progress("detecting", detection.work(), "tokens", detection.done) as advance:
        found = detection.run(config.until_stable, advance)
    found.save(config.out)
    detection.forget()
    return found, notes


def _prepare(
    config: DetectConfig, names: Sequence[str], own: Sequence[Item | Choices], texts: dict[str, list[str]]
) -> tuple[Ablation, Sequence[str]]:
    model = load(config.model, config)
    context = config.context or min(LONGEST_ITEM, model.context)
    if model.longest_context is not None and context > model.longest_context:
        raise UsageError(
            f"--context {context} is longer than the context of {model.identity.name}; give {model.longest_context} or "
            "less"
        )
    questions = Questions(model, context)
    samples = config.samples or _ITEMS
    if texts:
        questions.add_probes(find_sentences(model, texts, config.seed)[0], samples, config.seed)
    questions.add_tasks(names, samples, config.seed)
    questions.add_items(own)
    if not questions.by_task:
        raise UsageError(
            f"none of the {questions.left_out.total():,} items fits into a context of {context:,} tokens; raise "
            "--context"
        )
    ablation = Ablation(
        model,
        questions.by_task,
        share=config.share,
        steps=config.steps if config.method == "attribution" else 0,
        seed=config.seed,
        unfinished=f"{config.out}.unfinished",
    )
    return ablation, questions.notes


def describe_heads(found: HeadSet) -> str:
    """The chosen heads with scores and standard errors, and what to know about the probes or items."""
    rows = [
        (
            f"layer {layer} head {head}",
            *(m[layer][head] for m in (found.scores, found.standard_errors) if m is not None),
        )
        for layer, head in found
    ]
    lines = [table(("chosen head", found.score_name, "standard error"), rows)]
    if found.tasks:
        keys = {"items": "items", "accuracy": "accuracy", "by guessing": "chance", "loss": "loss"}
        of_tasks = [(task, *(about[key] for key in keys.values())) for task, about in found.tasks.items()]
        lines.append("the rise of the loss of right answers, nats/token, when the head alone attends uniformly")
        lines += ["", table(("task", *keys), of_tasks), "by the unmodified model"]
        lines += _joint_effects(found) if found.method == "greedy" else ()
    else:
        lines.append(f"{found.n_samples} probes, {found.probe_accuracy:.1%} of their answer tokens predicted right")
    columns = ("texts", "sentences", "probes", "accuracy")
    if found.probe_texts:
        of_inputs = [(name, *(counts.get(column) for column in columns)) for name, counts in found.probe_texts.items()]
        lines += ["", table(("probe texts", *columns), of_inputs)]
    lines += [f"warning: {warning}" for warning in found.warnings()]
    return "\n".join(lines)


def _joint_effects(found: HeadSet) -> list[str]:
    single = {(layer, head) for layer, head in found.parameters["single"]}
    sets = (("this set", "together"), (f"the {len(single)} of the largest single effects", "single_together"))
    rows = [(name, *found.parameters[key]) for name, key in sets]
    common = len(single & {*found.heads})
    return [
        "",
        table(("masked together", "rise of the loss", "standard error"), rows),
        f"{common} heads are in both sets",
    ]
