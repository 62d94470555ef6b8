"""`select`: the top of each domain, as a dataset or a manifest."""

from dataclasses import asdict

from attention_influence.config import SelectConfig
from attention_influence.selection.select import select
from attention_influence.verbs.result import Result, table


def select_verb(config: SelectConfig) -> Result:
    selection = select(**asdict(config))
    headings = ("domain", "documents", "ranked", "chosen", "tokens", "tokens chosen", "threshold")
    rows = [
        (t.domain, t.documents, t.ranked, t.chosen, t.tokens, t.tokens_chosen, t.value) for t in selection.thresholds
    ]
    text = f"{table(headings, rows)}\n{selection.documents:,} documents, {selection.tokens:,} tokens"
    return Result(f"{text}\nwritten: {selection.out}", selection.to_json())
