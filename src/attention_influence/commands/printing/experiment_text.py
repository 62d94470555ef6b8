"""An experiment as text: what its arms are trained on, what it takes, and what it shows."""

from collections.abc import Mapping
from typing import Any

from attention_influence.commands.printing.result import range_text, table
from attention_influence.experiment.plan import Plan
from attention_influence.experiment.training.speed import Estimate

_MANY_EPOCHS = 4.0
"""Up to which repeated tokens are worth nearly as much as new ones (Muennighoff et al. 2023)."""
_SUSTAINED = 4e14
"""FLOP/s in bfloat16 that a current data-centre GPU keeps up."""


def plan_text(plan: Plan) -> str:
    """What every arm is trained on."""
    experiment, data = plan.experiment, plan.data
    parts = [(arm, part) for arm in plan.arms for part in arm.parts]
    lines = [
        f"{len(experiment.arms)} arms × {len(experiment.seeds)} seeds, each {experiment.trained_tokens:,} tokens in "
        f"{experiment.steps:,} steps of {experiment.recipe.batch_tokens:,}",
        f"{data['documents']:,} documents, {data['tokens']:,} tokens; {data['held_out']:,} documents held out",
    ]
    if data["left_out"]:
        lines.append("left out: " + ", ".join(f"{count:,} {why}" for why, count in data["left_out"].items()))
    rows = [(arm.name, part.name, part.documents, part.tokens, f"{part.epochs:.2f}") for arm, part in parts]
    lines += ["", table(("arm", "part", "documents", "tokens", "epochs"), rows)]
    lines += [
        f"warning: arm {arm.name} sees its part '{part.name}' {part.epochs:.1f} times; beyond {_MANY_EPOCHS:.0f} times "
        "repeated tokens are worth less than new ones"
        for arm, part in parts
        if part.epochs > _MANY_EPOCHS
    ]
    return "\n".join(lines)


def estimate_text(took: Estimate, plan: Plan) -> str:
    """What the runs take."""
    lines = [
        f"{took.parameters:,} parameters, learning rate {took.learning_rate:g}",
        f"{took.flops:.2g} FLOP a run (6 × parameters × tokens)",
    ]
    if took.seconds is None:
        lines.append(f"too large to time here: a GPU that sustains 400 TFLOP/s takes {_time(took.flops / _SUSTAINED)}")
    else:
        every = _time(took.seconds * len(plan.runs))
        lines.append(
            f"about {_time(took.seconds)} a run on this machine ({took.device}), {every} for all {len(plan.runs)}"
        )
    return "\n".join([*lines, f"tokens and choices are in {plan.data_folder}; nothing was trained"])


def analysis_text(record: Mapping[str, Any]) -> str:
    """What the whole runs show."""
    arms = record["arms"]
    means = {(mean["metric"], mean["arm"]): mean["mean"] for mean in record["means"]}
    metrics = list(dict.fromkeys(metric for metric, _ in means))
    lines = [table(("mean over seeds", *arms), [(m, *(means.get((m, arm)) for arm in arms)) for m in metrics])]
    pairs = {(one["arm"], one["baseline"]) for one in record["differences"]}
    # Of two baselines the difference is the same either way; the later arm is compared with the earlier.
    mirrored = {(arm, other) for arm, other in pairs if (other, arm) in pairs and arms.index(arm) < arms.index(other)}
    rows = [
        (
            f"{one['arm']} − {one['baseline']}: {one['metric']}",
            one["seeds"],
            one["mean"],
            range_text(one["interval"]),
            one["p_corrected"],
            one["verdict"],
        )
        for one in record["differences"]
        if (one["arm"], one["baseline"]) not in mirrored
    ]
    if rows:
        lines += ["", table(("difference", "seeds", "mean", "95% interval", "p (Holm)", "verdict"), rows)]
    lines += [f"note: {note}" for note in record["notes"]]
    if planted := record.get("planted"):
        lines.append(planted["sentence"])
    return "\n".join(lines)


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
