"""The dataset card: what was selected, how, and what to beware of, in Markdown with Hugging Face front matter."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from attention_influence.selection.record import Threshold
from attention_influence.selection.rule import Rule
from attention_influence.selection.screened import any_screened_out
from attention_influence.store.screening_file import settings_of_screening

_LIMITS = """\
## Limits

- Scores are compared only within a domain; the thresholds of two domains say nothing about each other.
- Influence says how much a model leans on its retrieval heads to predict a document. It is no measure of truth,
  quality or safety, and the license of each document is still that of its source.
- It tends to favour long documents, those that repeat themselves and those of low base loss: a share of tokens above
  that of documents means longer ones. `attention-influence report` shows what goes along with it.
- A document without a finite score was never a candidate, whatever its content.
"""

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def card(
    rule: Rule,
    order: str,
    thresholds: Sequence[Threshold],
    shard_sets: Sequence[Sequence[str]],
    added: Sequence[str],
    complete: bool,
    warnings: Sequence[str],
    run: Mapping[str, Any],
) -> str:
    """The text of README.md.

    `order`: which documents came first, in words; `shard_sets`: the files written, by configuration, empty for a
    manifest; `added`: the columns beside the input's own; `run`: what the score store records of its run.
    """
    documents = sum(t.documents for t in thresholds)
    chosen = sum(t.chosen for t in thresholds)
    ranked_tokens = sum(t.tokens for t in thresholds)
    tokens = sum(t.tokens_chosen for t in thresholds)
    screened = settings_of_screening(run) if any_screened_out(thresholds) else None
    of_all = f" of {ranked_tokens:,}" if screened is None else ""
    parts = [
        _front_matter(shard_sets, chosen),
        "# Selected documents\n",
        f"**{chosen:,} of {documents:,} documents**, {tokens:,}{of_all} tokens, chosen by "
        f"attention influence: {_in_words(rule)}{_limits_in_words(rule)}, {order} within each domain. Equal scores are "
        "ordered by a stable hash of the row's key, so the same scores always give the same selection.\n",
    ]
    if not complete:
        parts.append("**Partial.** The corpus was not scored to its end when this was selected.\n")
    parts.append("\n".join(f"- Warning: {_line(warning)}." for warning in warnings) + "\n" if warnings else "")
    if shard_sets:
        parts += ["## Use\n", _use(shard_sets), _columns(added)]
    else:
        parts.append(
            "`manifest.parquet` lists the rows by key: `source` (file under its root) and `row` (row index in "
            "Parquet, byte offset in JSON lines), with the `weight` that it has in a mix: "
            f"{rule.weight:g}, where 1 is one copy.\n"
        )
    parts += [
        "## How it was selected\n",
        "`influence` = (loss of the reference model − loss of the base model) / loss of the base model, where the "
        "reference is the base model with its retrieval heads attending evenly (arXiv 2505.07293).\n",
        _scored_by(run),
        _screened(screened) if screened else "",
        _table(thresholds),
        _unranked(thresholds),
        "Thresholds, counts and the fingerprint of the scores are in `selection.json`.\n",
        _LIMITS,
    ]
    return "\n".join(part for part in parts if part)


def _use(shard_sets: Sequence[Sequence[str]]) -> str:
    names = [f'"{_folder(files)}", ' for files in shard_sets] if len(shard_sets) > 1 else [""]
    calls = [f'documents = load_dataset("path/of/this/folder", {name}split="train")' for name in names]
    text = "\n".join(["```python", "from datasets import load_dataset", "", *calls, "```", ""])
    if len(names) > 1:
        text += "\nNo one table holds all rows (see the warnings): each line above gives some of them.\n"
    return text


def _columns(added: Sequence[str]) -> str:
    influence, *value, rank = map(_cell, added)
    ranked_by = f", the value that ranked it ({value[0]})" if value else ""
    return (
        f"Every row has its own columns, then {influence}{ranked_by} and its rank in the domain, {rank} (1: first).\n"
    )


def _folder(files: Sequence[str]) -> str:
    return files[0].rpartition("/")[0]


def _front_matter(shard_sets: Sequence[Sequence[str]], documents: int) -> str:
    # Shards of different schemas cannot be one configuration. With several there is no default: readers that name none
    # would take a part of the rows for all.
    sets = shard_sets or [["manifest.parquet"]]
    configs = []
    for files in sets:
        folder = _folder(files)
        path = f"{folder}/*" if folder else files[0]
        name = folder if len(sets) > 1 else "default"
        configs.append({"config_name": name, "data_files": [{"split": "train", "path": path}]})
    about = {
        "pretty_name": "Documents selected by attention influence",
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(documents)],
        "tags": ["attention-influence", "data-selection"],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---\n"


def _size_category(documents: int) -> str:
    """As the hub names sizes."""
    for power, name in enumerate(_SIZES):
        if documents < 1000 * 10**power:
            return f"{_SIZES[power - 1]}<n<{name}" if power else f"n<{name}"
    return f"n>{_SIZES[-1]}"


def _scored_by(run: Mapping[str, Any]) -> str:
    """What scored, as far as it is recorded."""
    fingerprint = run.get("fingerprint") or {}
    name, heads, window = (run.get("model") or {}).get("name"), fingerprint.get("heads"), fingerprint.get("window")
    parts = [f"Scored with {_cell(str(name))}"] if name else []
    parts += [f"{len(heads)} head{'' if len(heads) == 1 else 's'} masked"] if heads else []
    parts += [f"windows of {window:,} tokens"] if isinstance(window, int) else []
    parts += [f"weights in {_line(str(fingerprint['precision']))}"] if fingerprint.get("precision") else []
    return ", ".join(parts) + ".\n" if name else ""


def _screened(settings: Mapping[str, Any]) -> str:
    """What screening left out, and what it promises."""
    return (
        "Screened before the model: the `screened_out` were left out because of their text alone. Of the "
        f"top {settings['keep_top']:.0%} of each screened domain at least {settings['keep_recall']:.0%} were scored, "
        f"with a probability of {settings['confidence']:.0%}. Tokens and shares of the ranked are not of the domain.\n"
    )


def _in_words(rule: Rule) -> str:
    if rule.apply is not None:
        return f"all at or above the thresholds of an earlier selection (`{_line(rule.apply)}`)"
    if rule.tokens is not None:
        return f"at most {rule.tokens:,} tokens in all, shared out in proportion to the tokens of each domain"
    assert rule.top is not None
    return f"the top {100 * rule.top:.6g}% of the {'tokens' if rule.counts_tokens else 'documents'} of each domain"


def _limits_in_words(rule: Rule) -> str:
    """What else the rule says, each thing after a comma."""
    parts = [
        f"at {which} {f'{limit:,.0f} tokens' if limit > 1 else f'{limit:.6g}'} of {_cell(name)}"
        for which, limits in (("least", rule.floors), ("most", rule.caps))
        for name, limit in limits.items()
    ]
    return "".join(f", {part}" for part in parts)


def _table(thresholds: Sequence[Threshold]) -> str:
    lines = [
        "| domain | documents | ranked | chosen | tokens of the ranked | tokens chosen | share | threshold |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for t in thresholds:
        threshold = "—" if t.value is None else f"{t.value:.6g}"
        lines.append(
            f"| {_cell(t.domain)} | {t.documents:,} | {t.ranked:,} | {t.chosen:,} | {t.tokens:,} "
            f"| {t.tokens_chosen:,} | {f'{t.tokens_chosen / t.tokens:.1%}' if t.tokens else '—'} | {threshold} |"
        )
    return "\n".join([*lines, ""])


def _unranked(thresholds: Sequence[Threshold]) -> str:
    totals: dict[str, int] = {}
    for t in thresholds:
        for reason, count in t.unranked.items():
            totals[reason] = totals.get(reason, 0) + count
    if not totals:
        return ""
    listed = ", ".join(f"{count:,} {_cell(reason)}" for reason, count in sorted(totals.items()))
    return f"Not ranked (no finite score): {listed}.\n"


def _line(text: str) -> str:
    """The text on one line, without what Markdown would take for markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in " ".join(text.split()))


def _cell(text: str) -> str:
    """The text as code that breaks neither a table nor a line."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1].replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"
