"""CONFIG.yaml of an experiment, read and checked: what can be wrong without looking at the corpus is refused here."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attention_influence.config.options import from_mapping
from attention_influence.config.yaml_values import Null, parse_yaml
from attention_influence.errors import UsageError, did_you_mean
from attention_influence.experiment.presets import PRESETS
from attention_influence.experiment.settings import (
    LENGTH_MATCHED,
    Arm,
    EvaluationSettings,
    Experiment,
    PlainSettings,
    Planted,
    Recipe,
)
from attention_influence.selection.ranking.ranking import is_ensemble

_LIKE = "like "
_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class _ArmKeys:
    add: str | None = None
    only: str | None = None
    share: str | None = None
    lowest: bool = False


@dataclass(frozen=True)
class _TokenizerKeys:
    vocabulary: int


_NESTED = ("arms", "recipe", "evaluation", "model", "tokenizer", "seeds", "trainer", "planted")


def read_experiment(file: str) -> Experiment:
    """The experiment that a YAML file describes. Raises UsageError that names file, key and what to do."""
    try:
        record = parse_yaml(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}. Give the experiment's YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not YAML: {error}") from None
    if not isinstance(record, dict):
        raise UsageError(f"{file}: expected keys and values, one a line, such as 'tokens: 5000000'")
    return _experiment(file, {str(key).replace("-", "_"): value for key, value in record.items()})


def _experiment(file: str, record: Mapping[str, Any]) -> Experiment:
    known = (*PlainSettings.__dataclass_fields__, *_NESTED)
    for key in record:
        if key not in known:
            hint = did_you_mean(key, known, f"known keys: {', '.join(known)}")
            raise UsageError(f"{file}: unknown key {key!r}; {hint}")
    top = from_mapping(PlainSettings, {key: value for key, value in record.items() if key not in _NESTED}, file)
    planted = record.get("planted")
    experiment = Experiment(
        **vars(top),
        arms=_arms(file, record.get("arms")),
        model=_model(file, record.get("model", "1m")),
        tokenizer=_tokenizer(file, record.get("tokenizer", {"vocabulary": "4096"})),
        seeds=_seeds(file, record.get("seeds", "5")),
        recipe=from_mapping(Recipe, _mapping(f"{file}: recipe", record.get("recipe")), f"{file}: recipe"),
        evaluation=from_mapping(
            EvaluationSettings, _mapping(f"{file}: evaluation", record.get("evaluation")), f"{file}: evaluation"
        ),
        planted=from_mapping(Planted, _mapping(f"{file}: planted", planted), f"{file}: planted") if planted else None,
        trainer=plain(_mapping(f"{file}: trainer", record.get("trainer"))),
    )
    _check(file, experiment)
    return experiment


def _arms(file: str, record: Any) -> dict[str, Arm]:
    if not record:
        raise UsageError(
            f"{file}: arms: name at least one, such as 'corpus: {{}}' and 'selected: {{add: influence, share: 0.2}}'"
        )
    arms = {name: _arm(f"{file}: arms.{name}", name, keys) for name, keys in _mapping(f"{file}: arms", record).items()}
    for arm in arms.values():
        if arm.like is None:
            continue
        where = f"{file}: arms.{arm.name}: share: like {arm.like}"
        other = arms.get(arm.like)
        if other is None:
            hint = did_you_mean(arm.like, arms, f"there are {', '.join(arms)}")
            raise UsageError(f"{where}: there is no such arm; {hint}")
        if other.share is None:
            raise UsageError(f"{where}: that arm has no share of its own as a number. Name one that has")
        if arm.ranking == LENGTH_MATCHED and other.ranking == LENGTH_MATCHED:
            raise UsageError(f"{where}: its own lengths are matched. Name the arm whose documents' lengths to match")
    return arms


def _arm(where: str, name: str, keys: Any) -> Arm:
    if not _ARM_NAME.fullmatch(name):
        raise UsageError(f"{where}: an arm's name is a folder's; use letters, digits, '.', '_' and '-'")
    given = from_mapping(_ArmKeys, _mapping(where, keys), where)
    if given.add and given.only:
        raise UsageError(f"{where}: give add (corpus and some of it again) or only, not both")
    ranking = given.add or given.only
    if ranking is None:
        if given.share is not None or given.lowest:
            raise UsageError(
                f"{where}: share and lowest belong to a ranking: give add: or only:, or neither for the corpus alone"
            )
        return Arm(name)
    if given.share is None:
        raise UsageError(f"{where}: share is missing: a part of each domain's tokens, such as 0.2, or 'like ARM'")
    if given.lowest:
        if is_ensemble(ranking):
            raise UsageError(f"{where}: lowest does not reverse an ensemble. Reverse its members with '-'")
        ranking = ranking[1:] if ranking.startswith("-") else f"-{ranking}"
    like = given.share.removeprefix(_LIKE).strip() if given.share.startswith(_LIKE) else None
    share = None if like else _share(f"{where}: share", given.share)
    if ranking == LENGTH_MATCHED and like is None:
        raise UsageError(f"{where}: {LENGTH_MATCHED} needs the arm whose lengths to match: share: like ARM")
    return Arm(name, ranking if given.add else None, ranking if given.only else None, share, like)


def _share(where: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UsageError(f"{where} is {text!r}; it is above 0 and at most 1, such as 0.2, or 'like ARM'")
    return share


def _model(file: str, given: Any) -> str | dict[str, Any]:
    where = f"{file}: model"
    if isinstance(given, dict):
        if "model_type" not in given:
            raise UsageError(f"{where}: a mapping needs model_type, such as llama, and that type's settings")
        return dict(plain(given))
    if not isinstance(given, str) or not given or isinstance(given, Null):
        raise UsageError(f"{where}: give a preset ({', '.join(PRESETS)}), the path of a config.json, or a mapping")
    if given in PRESETS:
        return given
    path = Path(given) / "config.json" if Path(given).is_dir() else Path(given)
    try:
        model: Any = yaml.safe_load(path.read_text(encoding="utf-8"))  # of which JSON is a part
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        hint = did_you_mean(given, PRESETS, f"presets: {', '.join(PRESETS)}")
        raise UsageError(f"{where}: {given!r} is no preset, and no config.json can be read there; {hint}") from None
    if not isinstance(model, dict) or "model_type" not in model:
        raise UsageError(f"{where}: {path} names no model_type. Give a config.json of transformers")
    return dict(model)


def _tokenizer(file: str, given: Any) -> str | int:
    if isinstance(given, dict):
        vocabulary = from_mapping(_TokenizerKeys, given, f"{file}: tokenizer").vocabulary
        if vocabulary < 300:
            raise UsageError(f"{file}: tokenizer.vocabulary is {vocabulary}; all bytes are in it, so give 300 or more")
        return vocabulary
    if not isinstance(given, str) or isinstance(given, Null):
        raise UsageError(f"{file}: tokenizer: give the path or name of one, or {{vocabulary: 4096}} to train one")
    return given


def _seeds(file: str, given: Any) -> tuple[int, ...]:
    texts = given if isinstance(given, list) else [given]
    try:
        numbers = [int(text) for text in texts]
    except (TypeError, ValueError):
        numbers = [-1]
    if not isinstance(given, list):
        numbers = list(range(numbers[0]))
    if min(numbers, default=-1) < 0 or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"{file}: seeds is {given!r}; give how many, such as 5, or a list of different seeds, such as [0, 1]"
        )
    return tuple(numbers)


def _check(file: str, experiment: Experiment) -> None:
    recipe = experiment.recipe
    for key, names in (("baselines", experiment.baselines), ("planted", _planted_arms(experiment))):
        for name in names:
            if name not in experiment.arms and (key != "baselines" or names != Experiment.baselines):
                hint = did_you_mean(name, experiment.arms, f"there are {', '.join(experiment.arms)}")
                raise UsageError(f"{file}: {key}: there is no arm {name!r}; {hint}")
    if not experiment.corpus and experiment.scores is None:
        raise UsageError(
            f"{file}: name the documents: corpus: [files], scores: STORE (whose corpus it then is), or both"
        )
    if not 0 <= experiment.heldout < 1:
        raise UsageError(f"{file}: heldout is {experiment.heldout}; it is a share from 0 to below 1, such as 0.02")
    if experiment.near_duplicates is not None and not 0 < experiment.near_duplicates <= 1:
        raise UsageError(
            f"{file}: near_duplicates is {experiment.near_duplicates}; it is a similarity up to 1, such as 0.8"
        )
    if recipe.batch_tokens % recipe.context:
        raise UsageError(
            f"{file}: recipe.batch_tokens is {recipe.batch_tokens}, which is no multiple of context "
            f"({recipe.context}): give {max(recipe.batch_tokens // recipe.context, 1) * recipe.context}"
        )
    if recipe.context < 8:
        raise UsageError(f"{file}: recipe.context is {recipe.context}; give 8 tokens or more")
    if recipe.device_rows and (recipe.batch_tokens // recipe.context) % recipe.device_rows:
        raise UsageError(
            f"{file}: recipe.device_rows is {recipe.device_rows}, which does not divide the "
            f"{recipe.batch_tokens // recipe.context} rows of a batch"
        )
    if not experiment.steps:
        raise UsageError(
            f"{file}: tokens is {experiment.tokens:,}, less than one batch of {recipe.batch_tokens:,}. Raise it, or "
            "lower recipe.batch_tokens"
        )
    for name in ("warmup", "decay"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise UsageError(
                f"{file}: recipe.{name} is {getattr(recipe, name)}; it is a share of the steps, from 0 to 1"
            )
    if recipe.warmup + recipe.decay > 1:
        raise UsageError(f"{file}: recipe.warmup and decay are more than all steps together. Lower one")
    for name in ("learning_rate", "clip"):
        if (value := getattr(recipe, name)) is not None and not 0 < value < math.inf:
            raise UsageError(f"{file}: recipe.{name} is {value}; it is a number above 0")
    if experiment.scores is None:
        for arm in experiment.arms.values():
            if arm.ranking and arm.corpus_column is None and arm.ranking not in ("random", LENGTH_MATCHED):
                raise UsageError(
                    f"{file}: arms.{arm.name}: {arm.ranking} is of a score store, and none is given. Name one with "
                    "scores:, or a numeric column of the corpus as 'column NAME'"
                )


def _planted_arms(experiment: Experiment) -> tuple[str, ...]:
    planted = experiment.planted
    return (planted.arm, planted.baseline) if planted else ()


def _mapping(where: str, given: Any) -> dict[str, Any]:
    if given is None or isinstance(given, Null):
        return {}
    if not isinstance(given, dict):
        raise UsageError(f"{where} is {given!r}; it holds keys and values")
    return given


def plain(value: Any) -> Any:
    """Texts of YAML as the numbers, truth values and nulls that they spell, for libraries that expect these."""
    if isinstance(value, dict):
        return {key: plain(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [plain(inside) for inside in value]
    if isinstance(value, Null):
        return None
    if value in ("true", "false"):
        return value == "true"
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value
