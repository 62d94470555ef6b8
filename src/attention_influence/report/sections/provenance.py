"""The section on where the statistics come from: the commands that made them, versions, the fingerprint, bad rows."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

from attention_influence.config import DetectConfig, ScoreConfig, SelectConfig
from attention_influence.heads.head_set import HeadSet
from attention_influence.report.store_statistics import StoreStatistics
from attention_influence.selection.record import SelectionRecord
from attention_influence.store.reader import ScoreStore

# More would bury the few settings that a reader looks for.
_SETTINGS = 150
# What a store's own record shows elsewhere, or only machines read.
_LEFT_OUT = ("self_test", "canaries", "configuration")


@dataclass(frozen=True)
class Provenance:
    commands: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    """(name, version)"""
    settings: tuple[tuple[str, str], ...]
    """(dotted name, value)"""
    unscored: tuple[tuple[str, str, int], ...]
    flagged: tuple[tuple[str, str, int], ...]
    failed_files: tuple[tuple[str, str], ...]
    """(source, why its rows are missing)"""


def provenance_section(
    store: ScoreStore,
    statistics: StoreStatistics,
    selected: SelectionRecord | None,
    heads: HeadSet | None,
    records: Mapping[str, Mapping[str, Any]],
) -> Provenance:
    """The section; `records` are those of the store's units."""
    settings = {name: value for name, value in store.run.items() if name not in _LEFT_OUT}
    versions = settings.pop("versions", None) or {}
    failed = {name: why for about in records.values() for name, why in about.get("failed_files", {}).items()}
    return Provenance(
        tuple(_commands(store, selected, heads)),
        tuple((str(name), str(version)) for name, version in versions.items()),
        tuple(islice(_settings("", settings), _SETTINGS)),
        statistics.unscored,
        statistics.flagged,
        tuple(sorted(failed.items())),
    )


def _commands(store: ScoreStore, selected: SelectionRecord | None, heads: HeadSet | None) -> Iterator[str]:
    configuration = dict(store.run.get("configuration") or {})
    model = configuration.get("model")
    if heads is not None and heads.method == "retrieval score" and model:
        known = {**heads.parameters, "samples": heads.n_samples, "seed": heads.seed, "out": configuration["heads"]}
        yield _command("detect", DetectConfig, [], {"model": model, "sentences": "TEXTS", **known})
    if configuration:
        yield _command("score", ScoreConfig, configuration.pop("corpus", None) or (), configuration)
    if selected is not None:
        rule = dict(selected.content.get("rule") or {})
        limits = {name: [f"{d}={n:g}" for d, n in (rule.get(f"{name}s") or {}).items()] for name in ("cap", "floor")}
        draws = {"seed": selected.seed} if "seed" in (selected.content.get("ranking") or {}) else {}
        known = rule | limits | draws | {"manifest": rule.get("weight", 1) != 1, "out": "SELECTED"}
        yield _command("select", SelectConfig, [store.url], known)


def _command(command: str, config: type[Any], inputs: Sequence[str], known: Mapping[str, Any]) -> str:
    """The command with the options of its configuration that are known and not at their defaults."""
    words = ["attention-influence", command, *inputs]
    for option in fields(config):
        value = known.get(option.name)
        if value is None or value in (option.default, []):
            continue
        flag = "--" + option.name.replace("_", "-")
        if option.metadata.get("rarely"):
            words += ["--set", f"{option.name}={json.dumps(value)}"]
        elif isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            for one in value if isinstance(value, list | tuple) else (value,):
                words += [flag, str(one)]
    return " ".join(map(shlex.quote, words))


def _settings(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """A nested record as (dotted name, value)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _settings(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
