"""Whether a selection can be trusted, question by question, each with the figure that answers it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from attention_influence.heads.head_set import HeadSet
from attention_influence.report.sample import Sample
from attention_influence.report.store_statistics import StoreStatistics
from attention_influence.screening.plan import SCREENED_OUT
from attention_influence.selection.record import SelectionRecord
from attention_influence.selection.repetition import MOSTLY
from attention_influence.store.reader import ScoreStore
from attention_influence.store.run import differing_fields

Verdict = Literal["look", "unknown", "good"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_ACCURATE = 0.5
_STABLE = 0.7
_SCORED = 0.95
_EXPLAINED = 0.5
_LIKE_ANOTHER = 0.7


@dataclass(frozen=True)
class Check:
    verdict: Verdict
    """Whether the figure is as one would wish, needs a look, or is not at hand."""
    question: str
    answer: str


def checks(
    store: ScoreStore,
    statistics: StoreStatistics,
    sample: Sample,
    selected: SelectionRecord | None,
    heads: HeadSet | None,
    stability: Mapping[str, Any] | None,
    validity: Mapping[str, Any] | None,
) -> list[Check]:
    """All of them, those that need a look first."""
    answered = [_scored(store, statistics)]
    if selected is not None:
        answered.append(_same_scores(store, selected))
    answered += [_does_the_task(heads), _stable(stability), _matters(validity), *_means_more(sample, selected)]
    return sorted(answered, key=lambda check: VERDICTS.index(check.verdict))


def _scored(store: ScoreStore, statistics: StoreStatistics) -> Check:
    documents, ranked = (sum(getattr(d, name) for d in statistics.domains) for name in ("documents", "ranked"))
    spared = sum(rows for _, reason, rows in statistics.unscored if reason == SCREENED_OUT)
    share = ranked / (documents - spared) if documents > spared else 0.0
    answer = f"{ranked:,} of {documents - spared:,} rows have a score"
    if spared:
        answer += f", and {spared:,} more were left out by screening"
    if not store.is_complete:
        answer += f", in the {len(store.units):,} of {store.n_planned:,} units that are finished"
    return Check(
        "good" if store.is_complete and share >= _SCORED else "look", "Is the whole corpus scored?", answer + "."
    )


def _same_scores(store: ScoreStore, selected: SelectionRecord) -> Check:
    question = "Was the selection made from these scores?"
    recorded, current = selected.content.get("fingerprint"), store.run.get("fingerprint")
    if not recorded or not current:
        return Check("unknown", question, "The store or the selection records no fingerprint.")
    if different := sorted(differing_fields(recorded, current)):
        return Check("look", question, f"The fingerprints differ in {', '.join(different)}.")
    return Check("good", question, "The fingerprints are the same: weights, tokenizer, heads, window, precision.")


def _does_the_task(heads: HeadSet | None) -> Check:
    question = "Does the model do the retrieval task that its heads were found on?"
    if heads is not None and heads.tasks:
        return Check("unknown", question, "They were found by ablation; see the accuracies in the section on heads.")
    if heads is None or heads.probe_accuracy is None:
        return Check(
            "unknown", question, "Not said: give the heads.json that `attention-influence detect` wrote as `--heads`."
        )
    return Check(
        "good" if heads.probe_accuracy >= _ACCURATE else "look",
        question,
        f"It predicts {heads.probe_accuracy:.0%} of the answer tokens right.",
    )


def _stable(stability: Mapping[str, Any] | None) -> Check:
    question = "Would other probes find the same heads?"
    if stability is None:
        return Check(
            "unknown",
            question,
            "Not measured: run `attention-influence stability`, and give its file as `--stability`.",
        )
    sure, of = stability["certainty"]["sure"], stability["certainty"]["of"]
    answer = f"{sure} of {of} are chosen in at least 95% of draws of the probes"
    lowest = min(stability["variations"], key=lambda one: one["overlap"], default=None)
    if lowest:
        answer += f"; the set least alike, with another {lowest['kind']} ({lowest['name']}), shares "
        answer += f"{lowest['overlap']:.0%}"
    is_stable = lowest is None or lowest["overlap"] >= _STABLE
    return Check("good" if is_stable else "look", question, answer + ".")


def _matters(validity: Mapping[str, Any] | None) -> Check:
    question = "Do these heads matter more than random ones of their layers?"
    if validity is None:
        return Check(
            "unknown", question, "Not measured: run `attention-influence validate`, and give its file as `--validity`."
        )
    leaning = [task["task"] for task in validity["tasks"] if task["loss_excess"]["verdict"] == "leans on these heads"]
    answer = f"{len(leaning)} of {len(validity['tasks'])} tasks lean on them: {', '.join(leaning) or 'none'}."
    return Check("good" if "retrieval" in leaning else "look", question, answer)


def _means_more(sample: Sample, selected: SelectionRecord | None) -> Iterator[Check]:
    explained = {name: control.explained for name, control in sample.controls.items() if control.documents}
    question = "Is influence more than length, base loss and repetition?"
    if explained:
        most, least = max(explained, key=lambda name: explained[name]), min(explained.values())
        answer = f"They explain {explained[most]:.0%} of its variance in {most}"
        answer += f", {least:.0%} where they explain least." if len(explained) > 1 else "."
        yield Check("look" if explained[most] > _EXPLAINED else "good", question, answer)
    else:
        yield Check("unknown", question, "The store lacks the columns to control for.")
    if "perplexity" in sample.rank_values and sample.kept.any():
        alike = sample.agreement("perplexity")
        yield Check(
            "look" if alike.share > _LIKE_ANOTHER else "good",
            "Would a plain perplexity filter have kept the same?",
            f"It would have kept {alike.share:.0%} of the same documents; a random choice, {alike.chance:.0%}.",
        )
    repetition: Sequence[Mapping[str, Any]] = selected.content.get("repetition") or [] if selected else []
    known = [one for one in repetition if one["chosen"] is not None]
    if known:
        most_of = max(known, key=lambda one: one["chosen"])
        of_all = "" if most_of["ranked"] is None else f", {most_of['ranked']:.0%} of all tokens"
        yield Check(
            "look" if most_of["chosen"] > MOSTLY else "good",
            "Is what was kept mostly repetition?",
            f"At most in {most_of['domain']}: {most_of['chosen']:.0%} of the kept tokens are in documents that repeat "
            f"themselves{of_all}.",
        )
