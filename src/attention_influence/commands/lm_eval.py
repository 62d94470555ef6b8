"""`lm-eval`: EleutherAI's lm-evaluation-harness on the model with heads masked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from attention_influence.commands.preparing.loading import load
from attention_influence.commands.printing.result import Result, range_text, table
from attention_influence.config import LmEvalConfig
from attention_influence.config.options import split_names
from attention_influence.errors import UsageError, did_you_mean
from attention_influence.evidence.masking import Condition, conditions
from attention_influence.evidence.metrics import NONE, MetricResult, compare_metrics
from attention_influence.heads.head_set import HeadSet, load_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.masked_network import check_masked_network, masked_network
from attention_influence.scoring.scorer import check_heads
from attention_influence.storage.atomic_files import write_json
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.begin import library_versions

if TYPE_CHECKING:
    from attention_influence.evidence.harness import Harness

_MASKS = (NONE, "chosen", "random", "matched")
_DEFAULT_MASKS = (NONE, "chosen", "matched")
_LEGEND = {
    "random": "random: as many other heads of any layer",
    "matched": "matched: as many random heads of the same layers",
}


def lm_eval(config: LmEvalConfig) -> Result:
    masks = _masks([name for name in split_names(config.mask) if name])
    if config.num_fewshot is not None and config.num_fewshot < 0:
        raise UsageError(f"--num-fewshot is {config.num_fewshot}; it is a count")
    check_writable_file(config.out)
    heads = None if masks == [NONE] else load_heads(config.heads)
    harness = _harness(config)
    model = load(config.model, config)
    runs, notes = _runs(config, masks, model, heads)
    check_masked_network(model, {head for heads_of_run in runs for head in heads_of_run[1]})
    found = []
    for number, (kind, masked) in enumerate(runs, 1):
        with masked_network(model, masked) as network:
            of_several = f" ({number} of {len(runs)})" if len(runs) > 1 else ""
            found.append(
                harness.run(
                    network,
                    model.tokenizer,
                    f"masked: {kind}{of_several}",
                    batch_size=config.batch_size,
                    limit=config.limit,
                    num_fewshot=config.num_fewshot,
                    apply_chat_template=config.apply_chat_template,
                    confirm_run_unsafe_code=config.confirm_run_unsafe_code,
                )
            )
    results = compare_metrics([kind for kind, _ in runs], found, config.seed)
    data: dict[str, Any] = {
        "model": asdict(model.identity),
        "dtype": config.dtype,
        "heads": [list(head) for head in heads or ()],
        "runs": [
            {
                "masked": kind,
                "heads": [list(head) for head in masked],
                "results": [
                    {"task": task, "metric": name, "value": metric.value, "stderr": metric.stderr}
                    for (task, name), metric in of_run.items()
                ],
            }
            for (kind, masked), of_run in zip(runs, found, strict=True)
        ],
        "results": [_to_json(result) for result in results],
        "tasks": harness.about,
        "configuration": asdict(config),
        "versions": library_versions() | {"lm-eval": harness.version},
        "notes": notes,
    }
    write_json(config.out, data)
    return Result("\n".join(_text(results, harness.about, notes, f"written: {config.out}")), data)


def _masks(asked: Sequence[str]) -> list[str]:
    """In a fixed order."""
    for name in asked:
        if name not in _MASKS:
            hint = did_you_mean(name, _MASKS, f"choose from {', '.join(_MASKS)}")
            raise UsageError(f"--mask {name} is unknown; {hint}")
    return [name for name in _MASKS if name in (asked or _DEFAULT_MASKS)]


def _harness(config: LmEvalConfig) -> "Harness":
    try:
        from attention_influence.evidence.harness import Harness
    except ImportError as error:
        raise UsageError(f"lm-eval is needed ({error}): pip install 'attention-influence[lm-eval]'") from error
    tasks = [name for name in split_names(config.tasks) if name]
    if not tasks:
        raise UsageError("--tasks names no task")
    return Harness(tasks, config.include_path)


def _runs(
    config: LmEvalConfig, masks: Sequence[str], model: LanguageModel, heads: HeadSet | None
) -> tuple[list[tuple[str, Sequence[tuple[int, int]]]], list[str]]:
    """What is masked in each run, and notes on layers that have too few other heads."""
    runs: list[tuple[str, Sequence[tuple[int, int]]]] = [(NONE, ())] if NONE in masks else []
    if heads is None:
        return runs, []
    check_heads(model, heads)
    if masks[-1] == "chosen":
        drawn, notes = [Condition("chosen", heads.heads)], list[str]()
    else:
        drawn, notes = conditions(model.heads, heads.heads, config.draws, config.seed)
    runs += [(one.kind, one.heads) for one in drawn if one.kind in masks]
    return runs, notes if "matched" in masks else []


def _text(
    results: Sequence[MetricResult], about: Mapping[str, Any], notes: Sequence[str], written: str
) -> Iterator[str]:
    rows: list[tuple[object, ...]] = []
    for result in results:
        names: tuple[str, str] = (result.task, result.metric)
        for kind, of_kind in result.masked.items():
            change = of_kind.change
            draws = change.draws if change and len(change.draws) > 1 else None
            rows.append(
                (
                    *names,
                    kind,
                    of_kind.value,
                    of_kind.stderr,
                    change.worse if change else None,
                    range_text(change.interval if change else None),
                    range_text((min(draws), max(draws)) if draws else None),
                )
            )
            names = ("", "")
    yield table(("task", "metric", "masked", "value", "stderr", "worse by", "95% interval", "of draws"), rows)
    yield from (words for kind, words in _LEGEND.items() if any(kind in result.masked for result in results))
    for task, its in about.items():
        yield f"{task}: {its['effective']:,} of {its['original']:,} items, {its['fewshot']} examples before each"
    if any(result.excess for result in results):
        yield ""
        yield "how much more masking the chosen heads costs than masking random ones of the same layers"
        yield table(
            ("task", "metric", "worse by", "95% interval", "verdict"),
            [
                (r.task, r.metric, r.excess.mean, range_text(r.excess.interval), r.excess.verdict if r.items else None)
                for r in results
                if r.excess
            ],
        )
    yield from notes
    yield written


def _to_json(result: MetricResult) -> dict[str, Any]:
    record = asdict(result)
    if result.excess:
        record["excess"]["verdict"] = result.excess.verdict if result.items else None
    return record
