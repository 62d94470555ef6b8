"""`select`: the top of each domain, as a dataset or a manifest."""

import shlex
from dataclasses import asdict

from attention_influence.commands.printing.result import Result, some, table_of_largest
from attention_influence.config import SelectConfig
from attention_influence.progress import stage
from attention_influence.selection.result import HEADINGS
from attention_influence.selection.rule import parse_limits
from attention_influence.selection.screened import any_screened_out
from attention_influence.selection.select import select
from attention_influence.store.screening_file import calibration_url


@stage("selecting")
def select_command(config: SelectConfig) -> Result:
    options = asdict(config)
    caps, floors = (parse_limits(f"--{name}", options.pop(name)) for name in ("cap", "floor"))
    selection = select(**options, caps=caps, floors=floors)
    lines = [
        table_of_largest(HEADINGS, selection.rows()),
        f"{selection.documents:,} documents, {selection.tokens:,} tokens",
    ]
    if "control" in selection.ranking:
        domains = selection.ranking["control"]["domains"]
        fitted = [(name, *domain.values()) for name, domain in domains.items()]
        lines += ["", table_of_largest(("domain", "fitted on", "by", "of influence explained"), fitted)]
    if selection.repetition:
        # The sample of a screened store can be ranked by anything.
        comparable = calibration_url(config.store) if any_screened_out(selection.thresholds) else config.store
        lines += [
            "",
            "tokens in documents that repeat themselves",
            table_of_largest(
                ("domain", "of the chosen", "of all"),
                [(domain.domain, domain.chosen, domain.ranked) for domain in selection.repetition],
            ),
            f"compare with --rank-by controlled: attention-influence compare {shlex.quote(comparable)}",
        ]
    lines += some([f"warning: {warning}" for warning in selection.warnings])
    return Result("\n".join([*lines, f"written: {selection.out}"]), selection.to_json())
