"""`step-weights`: documents in steps as training data, with a loss weight for each step."""

from dataclasses import asdict

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import StepWeightsConfig
from attention_influence.config.options import unescaped
from attention_influence.selection.step_weights import write_step_weights


def step_weights_command(config: StepWeightsConfig) -> Result:
    prompt_end = None if config.prompt_end is None else unescaped(config.prompt_end)
    written = write_step_weights(**asdict(config) | {"prompt_end": prompt_end})
    rows = [
        ("documents", f"{written.documents:,}"),
        ("steps", f"{written.steps:,}"),
        ("steps of weight 0", f"{written.zero_steps:,}"),
        ("largest weight", f"{written.largest:.2f}"),
        ("documents whose loss no step raises, all weights 1", f"{written.even_documents:,}"),
        *((f"left out: {reason}", f"{count:,}") for reason, count in sorted(written.left_out.items())),
    ]
    return Result(
        f"{table(('', ''), rows)}\nwritten: {written.out}\n"
        "ms-swift applies these weights with --is_binary_loss_scale false, and ignores them without it",
        written.to_json(),
    )
