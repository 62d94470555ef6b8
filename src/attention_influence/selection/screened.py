"""Selecting from a store that was screened: documents that the model did not see count, and are never chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from attention_influence.errors import UsageError
from attention_influence.screening.plan import SCREENED_OUT
from attention_influence.selection.cutting.count import Counts
from attention_influence.selection.rule import Rule
from attention_influence.store.reader import ScoreStore
from attention_influence.store.screening_file import screened_url


def screening_settings(store: ScoreStore) -> Mapping[str, Any] | None:
    """What the store was screened for, None where it was not."""
    settings: Mapping[str, Any] | None = (store.run.get("fingerprint") or {}).get("screening")
    return settings


def check_screened(store: ScoreStore, rule: Rule) -> list[str]:
    """What to beware of. Raises UsageError where a rule needs scores that a screened store does not have."""
    settings = screening_settings(store)
    if settings is None:
        return []
    if "provisional_plan" in settings:
        raise UsageError(f"{store.url} holds a part of a screened store. Select from {screened_url(store.url)}")
    others = {
        "--rank-by": rule.rank_by != "influence",
        "--by tokens": rule.by == "tokens",
        "--tokens": rule.tokens is not None,
        "--apply": rule.apply is not None,
        "--cap": bool(rule.caps),
        "--floor": bool(rule.floors),
        "--temperature": rule.temperature is not None,
    }
    if given := [option for option, is_given in others.items() if is_given]:
        raise UsageError(
            f"{given[0]}: {store.url} was scored with --screen, so that only its top {settings['keep_top']:g} by "
            "influence can be selected. Omit it, or score without --screen."
        )
    if rule.top is not None and rule.top > settings["keep_top"]:
        raise UsageError(
            f"--top {rule.top:g}: {store.url} was scored with --screen --keep-top {settings['keep_top']:g}, and below "
            "that documents have no exact score. Give at most that, or score without --screen."
        )
    if rule.top is not None and rule.top < settings["keep_top"]:
        return [
            f"the store was screened for the top {settings['keep_top']:g}: what is promised holds for that share, not "
            f"for {rule.top:g}"
        ]
    return []


def screened_out(counts: Counts) -> list[int]:
    """Documents of each domain that have a text, but that the model did not see."""
    return [counts.unranked.get(name, {}).get(SCREENED_OUT, 0) for name in counts.domains]


def check_enough(domains: Sequence[str], wanted: Sequence[int], has: Sequence[int]) -> None:
    """Raises UsageError where more documents are to be chosen than were scored exactly."""
    for name, documents, scored in zip(domains, wanted, has, strict=True):
        if documents > scored:
            raise UsageError(
                f"domain {name}: {documents:,} documents are to be selected, and only {scored:,} were scored; the "
                "others were screened out. Lower --top, or score without --screen."
            )
