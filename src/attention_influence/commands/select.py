"""`select`: the top of each domain, as a dataset or a manifest."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from attention_influence.commands.printing.result import Result, some, table_of_largest
from attention_influence.config import SelectConfig
from attention_influence.progress import stage
from attention_influence.selection.repetition import SAMPLE, Repetition
from attention_influence.selection.result import HEADINGS
from attention_influence.selection.rule import parse_limits
from attention_influence.selection.select import select


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
    lines += _repetition(selection.repetition)
    lines += some([f"warning: {warning}" for warning in selection.warnings])
    return Result("\n".join([*lines, f"written: {selection.out}"]), selection.to_json())


def _repetition(domains: Sequence[Repetition]) -> Iterator[str]:
    if not domains:
        return
    yield ""
    yield "tokens in documents that repeat themselves"
    yield table_of_largest(("domain", "of the chosen", "of all"), [(d.domain, d.chosen, d.ranked) for d in domains])
    rows = []
    for name, instead in ((d.domain, d.instead) for d in domains):
        if instead is not None:
            a, b = instead.influence, instead.controlled
            means = (a.copy_share, b.copy_share, a.loss_base, b.loss_base, round(a.n_tokens), round(b.n_tokens))
            rows.append((name, instead.explained, instead.overlap, instead.chance, *means))
    if rows:
        yield ""
        yield (
            "what --rank-by controlled (influence less what length, loss and repetition explain) would have chosen, "
            f"on at most {SAMPLE:,} documents a domain; means: chosen → instead"
        )
        headings = ("domain", "explained", "overlap", "by chance", "copy_share", "→", "loss_base", "→", "tokens", "→")
        yield table_of_largest(headings, rows)
    else:
        yield "not compared with --rank-by controlled: too few documents, or columns that it needs are missing"
