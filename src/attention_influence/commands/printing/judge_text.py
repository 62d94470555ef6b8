"""What `judge` prints: what judging takes, and what came of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from attention_influence.commands.printing.result import MOST_LINES, table
from attention_influence.judging.prompt import QUESTIONS
from attention_influence.judging.verdicts import OUTCOMES

_ALL = "all domains"


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
        yield ""
        yield f"{question}: share of the documents for which the judge says true"
        rows = [one for one in data["shares"] if one["share"]["question"] == question]
        headings = ["domain", "ranking", "documents", "share", "95% interval", "minus random", "95% interval"]
        headings += ["mean P(true)", "minus random", "95% interval"] if has_probabilities else []
        yield table(headings, [_row(one, has_probabilities) for one in rows[:MOST_LINES]])
        if len(rows) > MOST_LINES:
            yield f"{len(rows) - MOST_LINES:,} more: --json lists all"
    yield ""
    yield "by length: each domain's judged documents in thirds by characters"
    yield table(
        ("ranking", "length", "documents", *(f"{name}, 95% interval" for name in QUESTIONS)),
        list(_by_length(data["by_length"])),
    )
    yield ""
    yield "by order: the same question when it is asked first and when it is asked second"
    yield table(
        ("question", "", "asked first", "asked second", "difference", "95% interval"),
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


def _row(one: Mapping[str, Any], has_probabilities: bool) -> list[object]:
    share, more = one["share"], one["more_than_random"] or {}
    cells = [one["domain"] or _ALL, one["ranking"], share["documents"], share["share"], _range(share["interval"])]
    cells += [more.get("share"), _range(more.get("interval"))]
    if has_probabilities:
        cells += [share["probability"], more.get("probability"), _range(more.get("probability_interval"))]
    return cells


def _by_length(rows: list[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    by_place: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in rows:
        by_place.setdefault((one["ranking"], one["length"]), []).append(one["share"])
    for (ranking, length), shares in by_place.items():
        cells = (
            None if share["share"] is None else f"{share['share']:.4f}, {_range(share['interval'])}" for share in shares
        )
        yield ranking, length, shares[0]["documents"], *cells


def _by_order(rows: list[Mapping[str, Any]], has_probabilities: bool) -> Iterator[tuple[object, ...]]:
    for one in rows:
        for name, value, interval in (
            ("share", "share", "interval"),
            ("mean P(true)", "probability", "probability_interval"),
        )[: 1 + has_probabilities]:
            difference = one["difference"]
            cells = (one["first"][value], one["second"][value], difference[value], _range(difference[interval]))
            yield one["question"], name, *cells


def _range(bounds: tuple[float, float] | None) -> str | None:
    return None if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
