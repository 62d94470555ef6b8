"""experiment.json: what the runs that are whole show, written again whenever one ends."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attention_influence.experiment.analysis import Losses, analyse
from attention_influence.experiment.plan import Plan
from attention_influence.experiment.results import LOSSES, read_result
from attention_influence.storage.atomic_files import write_json

FILE = "experiment.json"


def write_analysis(plan: Plan) -> dict[str, Any]:
    """The content of experiment.json, written into the plan's folder."""
    folders = {run: plan.folder(run) for run in plan.runs}
    results = [result for folder in folders.values() if (result := read_result(folder)) is not None]
    experiment = plan.experiment
    record = analyse(
        results,
        tuple(experiment.arms),
        experiment.seeds,
        baselines=experiment.baselines,
        planted=asdict(experiment.planted) if experiment.planted else None,
        losses={(run.arm, run.seed): curve for run, folder in folders.items() if (curve := _curve(folder / LOSSES))},
    )
    record |= {"plan": plan.to_json(), "results": results}
    write_json(str(plan.out / FILE), record)
    return record


def _curve(path: Path) -> Losses:
    try:
        with path.open(newline="") as file:
            return [(int(line["tokens"]), float(line["loss"])) for line in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (TypeError, ValueError, KeyError):  # another process is writing its last line
        return []
