"""`report`: one HTML page that shows a score store and a selection."""

from typing import TYPE_CHECKING

from attention_influence.commands.printing.result import Result
from attention_influence.config import ReportConfig
from attention_influence.errors import UsageError
from attention_influence.evidence.embedding import load_embedder
from attention_influence.heads.head_set import load_heads
from attention_influence.report.page import Inputs, write_report
from attention_influence.storage.preflight import check_writable_file
from attention_influence.store.run import open_run

if TYPE_CHECKING:  # torch takes seconds, and most reports need none
    from attention_influence.scoring.scorer import Scorer


def report(config: ReportConfig) -> Result:
    if config.embedding and not config.diversity:
        raise UsageError("--embedding is for the section on diversity: give --diversity as well.")
    check_writable_file(config.out)
    write_report(
        config.out,
        config.store,
        Inputs(
            heads=config.heads,
            selection=config.selection,
            stability=config.stability,
            validity=config.validity,
            judge=config.judge,
            experiment=config.experiment,
            scorer=_scorer(config),
            embed=load_embedder(config.embedding) if config.diversity else None,
            texts=config.sample,
            seed=config.seed,
            warnings=load_heads(config.heads).warnings() if config.heads else [],
        ),
    )
    return Result(f"written: {config.out}", {"report": config.out})


def _scorer(config: ReportConfig) -> "Scorer | None":
    if config.model is None:
        return None
    if config.heads is None:
        raise UsageError("--model colours tokens by the heads that are masked: give --heads as well.")
    from attention_influence.commands.preparing.loading import load
    from attention_influence.scoring.scorer import Scorer

    model = load(config.model, config)
    run = open_run(config.store)
    scored_with = {} if run is None else run.run["fingerprint"]
    window = scored_with.get("window") if scored_with.get("weights") == model.identity.weights else None
    return Scorer(model, load_heads(config.heads), window=window)
