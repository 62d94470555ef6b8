"""The plan of an experiment: what every run will do, frozen in plan.json when the first run begins."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attention_influence.errors import UsageError
from attention_influence.experiment.data.arms import Added, Pool, pool_of
from attention_influence.experiment.data.token_file import Documents
from attention_influence.experiment.settings import Arm, Experiment
from attention_influence.storage.atomic_files import write_json, written_whole


class Run(NamedTuple):
    """One network to train."""

    arm: str
    seed: int


@dataclass(frozen=True)
class Part:
    """Documents of an arm that come equally often."""

    name: str
    """corpus or added."""
    documents: int
    tokens: int
    epochs: float
    """How often they are seen in a run."""


@dataclass(frozen=True)
class ArmPlan:
    """What one arm is trained on; of an arm that draws, by its first seed."""

    name: str
    parts: tuple[Part, ...]
    run_tokens: int


@dataclass(frozen=True)
class Plan:
    """What every run needs to know; pickles."""

    out: Path
    experiment: Experiment
    arms: tuple[ArmPlan, ...]
    data: Mapping[str, Any]
    """data.json: counts of documents and tokens, and of what was left out."""
    identity: Mapping[str, Any]
    """What must be equal for a run to be resumed: configuration and corpus."""

    @property
    def data_folder(self) -> Path:
        return self.out / "data"

    @property
    def tokenizer(self) -> str:
        """Path or name."""
        given = self.experiment.tokenizer
        return given if isinstance(given, str) else str(self.data_folder / "tokenizer")

    @property
    def runs(self) -> tuple[Run, ...]:
        """Seed by seed, so that the arms can be compared when the first seeds are done."""
        return tuple(Run(arm, seed) for seed in self.experiment.seeds for arm in self.experiment.arms)

    def folder(self, run: Run) -> Path:
        return self.out / "runs" / run.arm / f"seed-{run.seed}"

    def pool(self, run: Run, documents: Documents) -> Pool:
        """What a run is trained on, as it was prepared."""
        arm = self.experiment.arms[run.arm]
        return pool_of(arm, documents, read_added(self.data_folder, arm, run.seed) if arm.ranking else None)

    def to_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "arms": {arm.name: {"parts": [asdict(part) for part in arm.parts]} for arm in self.arms},
            "seeds": list(self.experiment.seeds),
            "tokens": self.experiment.trained_tokens,
            "steps": self.experiment.steps,
            "data": self.data,
        }


def arm_plan(arm: Arm, documents: Documents, added: Added | None, run_tokens: int) -> ArmPlan:
    """Raises UsageError for an arm without tokens."""
    pool = pool_of(arm, documents, added)
    if not pool.epoch_tokens:
        raise UsageError(f"arms.{arm.name}: no document is chosen. Raise its share")
    epochs = run_tokens / pool.epoch_tokens
    parts = []
    if arm.only is None:
        parts.append(Part("corpus", len(documents), int(documents.tokens.sum()), epochs))
    if added is not None:
        # Documents of the corpus that come again are seen twice an epoch.
        parts.append(Part("added", len(added.document), int(added.tokens.sum()), epochs * (1 if arm.only else 2)))
    return ArmPlan(arm.name, tuple(parts), run_tokens)


def write_added(folder: Path, arm: Arm, seed: int, added: Added) -> None:
    with written_whole(str(_added_file(folder, arm, seed))) as file:
        np.savez(file, document=added.document, tokens=added.tokens)


def read_added(folder: Path, arm: Arm, seed: int) -> Added | None:
    """What an arm's ranking gave when it was prepared, None where it was not."""
    try:
        with np.load(_added_file(folder, arm, seed)) as file:
            return Added(file["document"], file["tokens"])
    except FileNotFoundError:
        return None


def check_unchanged(plan: Plan, file: str) -> None:
    """Raises UsageError, with what differs, where another configuration or corpus began runs in the folder.

    Further arms and further seeds are no difference.
    """
    try:
        before = json.loads((plan.out / "plan.json").read_text())["identity"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError) as error:
        raise UsageError(f"{plan.out}/plan.json cannot be read ({error}). Give a new --out") from None
    now = json.loads(json.dumps(plan.identity))
    kept = before["arms"].keys() & now["arms"].keys()
    before["arms"], now["arms"] = ({name: record["arms"][name] for name in sorted(kept)} for record in (before, now))
    differences = list(_differences(before, now))
    if differences:
        key, old, new = differences[0]
        more = (
            f" ({len(differences) - 1} more: {', '.join(other for other, *_ in differences[1:])})"
            if differences[1:]
            else ""
        )
        raise UsageError(
            f"{plan.out} holds runs of another experiment: {key} was {old!r} and is {new!r} in {file}{more}. "
            "Change it back to resume, or give a new --out"
        )


def freeze(plan: Plan) -> None:
    """Writes plan.json, from when on only an equal plan is accepted."""
    write_json(str(plan.out / "plan.json"), plan.to_json())


def identity_of(experiment: Experiment, corpus: Sequence[Mapping[str, Any]], store: object) -> dict[str, Any]:
    """What runs that are compared or resumed have in common: not how many seeds, and not how they are analysed."""
    record = asdict(experiment)
    for of_analysis in ("seeds", "baselines", "planted"):
        del record[of_analysis]
    return {**record, "corpus": list(corpus), "store": store}


def _differences(before: Any, now: Any, key: str = "") -> Any:
    """(dotted key, old value, new value) of what differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def _added_file(folder: Path, arm: Arm, seed: int) -> Path:
    name = f"{arm.name}-seed-{seed}" if arm.draws else arm.name
    return folder / "added" / f"{name}.npz"
