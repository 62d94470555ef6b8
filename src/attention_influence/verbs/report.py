"""`report`: one HTML page that shows a score store and a selection."""

from pathlib import Path

from attention_influence.config import ReportConfig
from attention_influence.heads.head_set import load_heads
from attention_influence.report.page import write_report
from attention_influence.verbs.result import Result


def report(config: ReportConfig) -> Result:
    warnings = load_heads(config.heads).warnings() if config.heads else []
    page = write_report(
        Path(config.out),
        Path(config.store),
        Path(config.heads) if config.heads else None,
        Path(config.selection) if config.selection else None,
        warnings=warnings,
    )
    return Result(f"written: {page}", {"report": str(page)})
