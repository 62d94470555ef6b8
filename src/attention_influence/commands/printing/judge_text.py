"""What `judge` prints: what judging takes, and what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from attention_influence.commands.printing.result import MOST_LINES, table
from attention_influence.judging.prompt import QUESTIONS
from attention_influence.judging.verdicts import OUTCOMES


def estimate_text(cost: Mapping[str, int], judge: Mapping[str, Any]) -> str:
    """One line, before the first request."""
    kept = f" ({cost['kept']:,} more were answered before, and are kept)" if cost["kept"] else ""
    return (
        f"judging takes {cost['requests']:,} requests to {judge['model']}{kept}: about {cost['input_tokens']:,} tokens "
        f"in and {cost['output_tokens']:,} out, estimated at 4 characters a token, without thoughts and retries"
    )


def result_text(data: Mapping[str, Any]) -> str:
    """Shares with intervals, then what else may have decided them."""
    return "\n".join(_lines(data))


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    judge = data["judge"]
    at = f" at {judge['endpoint']}" if "endpoint" in judge else ", a local model"
    yield f"judge: {judge['model']}{at}; prompt {data['prompt']}"
    has_probabilities = any(one["share"]["probability"] is not None for one in data["shares"])
    for question in QUESTIONS:
        rows = [one for one in data["shares"] if one["share"]["question"] == question]
        yield ""
        yield f"{question}: share of the documents for which the judge says true, in brackets 95% intervals"
        yield table(
            ("domain", "ranking", "documents", "share", "minus random"), [_share(one) for one in rows[:MOST_LINES]]
        )
        if has_probabilities:
            yield f"\n{question}: mean P(true)"
            yield table(("domain", "ranking", "mean", "minus random"), [_probability(one) for one in rows[:MOST_LINES]])
        if len(rows) > MOST_LINES:
            yield f"{len(rows) - MOST_LINES:,} more: --json lists all"
    yield ""
    yield "by length: each domain's judged documents in thirds by characters"
    yield table(("ranking", "length", "documents", *QUESTIONS), list(_by_length(data["by_length"])))
    yield ""
    yield "by order: the same question when it is asked first and when it is asked second"
    yield table(
        ("question", "", "asked first", "asked second", "difference"),
        list(_by_order(data["by_order"], has_probabilities)),
    )
    if data["agreement"]:
        yield ""
        yield "agreement of repeats, whose order of questions alternates"
        yield table(
            ("question", "pairs of answers", "the same", "Cohen's kappa"),
            [(one["question"], one["documents"], one["same"], one["kappa"]) for one in data["agreement"]],
        )
    yield ""
    yield ", ".join(f"{count:,} {name} ({OUTCOMES[name]})" for name, count in data["outcomes"].items() if count)
    yield (
        f"{data['judged']:,} documents, of which {data['cut']:,} were cut at "
        f"{data['configuration']['max_characters']:,} characters; {data['unread']:,} more could not be read"
    )
    if data["shortened"]:
        yield f"{data['shortened']:,} times the judge's context was shorter than that"
    yield from (f"warning: {warning}" for warning in data["warnings"])


def _share(one: Mapping[str, Any]) -> tuple[object, ...]:
    share, more = one["share"], one["more_than_random"] or {}
    return (
        *_named(one),
        share["documents"],
        _with_interval(share["share"], share["interval"]),
        _with_interval(more.get("share"), more.get("interval")),
    )


def _probability(one: Mapping[str, Any]) -> tuple[object, ...]:
    more = one["more_than_random"] or {}
    difference = _with_interval(more.get("probability"), more.get("probability_interval"), digits=3)
    return *_named(one), one["share"]["probability"], difference


def _named(one: Mapping[str, Any]) -> tuple[str, str]:
    return "all" if one["domain"] is None else one["domain"], one["ranking"]


def _by_length(rows: list[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in rows:
        by_place.setdefault((one["ranking"], one["length"]), []).append(one["share"])
    for (ranking, length), shares in by_place.items():
        cells = (_with_interval(share["share"], share["interval"]) for share in shares)
        yield ranking, length, shares[0]["documents"], *cells


def _by_order(rows: list[Mapping[str, Any]], has_probabilities: bool) -> Iterator[tuple[object, ...]]:
    kinds = (("share", "share", "interval"), ("mean P(true)", "probability", "probability_interval"))
    for one in rows:
        for name, value, interval in kinds[: 1 + has_probabilities]:
            difference = _with_interval(one["difference"][value], one["difference"][interval])
            yield one["question"], name, one["first"][value], one["second"][value], difference


def _with_interval(value: float | None, bounds: tuple[float, float] | None, digits: int = 2) -> str | None:
    if value is None:
        return None
    return f"{value:.{digits}f}" + (f" ({bounds[0]:.{digits}f} to {bounds[1]:.{digits}f})" if bounds else "")
