"""Why a detected set of heads should not be trusted, in words, by the method that found it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scipy.special import bdtrc, ndtri  # without scipy.stats, every command begins a second earlier

if TYPE_CHECKING:
    from attention_influence.heads.head_set import HeadSet

_LOW_ACCURACY = 0.5
_LOW_SCORE = 0.1  # a top head below it copies no more than by chance
_LEVEL = 0.05


def retrieval_doubts(found: "HeadSet") -> list[str]:
    """Of heads found by the retrieval score."""
    doubts = []
    if found.probe_accuracy is not None and found.probe_accuracy < _LOW_ACCURACY:
        doubts.append(
            f"the model fails the retrieval task; its heads are unreliable: only {found.probe_accuracy:.0%} of the "
            "answer tokens are predicted right. Use a better model, or a shorter --context"
        )
    for name, counts in found.probe_texts.items():
        if not counts["sentences"]:
            doubts.append(f"no sentence for the probes was found in the {counts['texts']:,} texts of {name}")
        accuracy = counts.get("accuracy")
        if len(found.probe_texts) > 1 and accuracy is not None and accuracy < _LOW_ACCURACY:
            doubts.append(
                f"the model fails the retrieval task on {name}: {accuracy:.0%} of the answer tokens of its "
                f"{counts['probes']:,} probes are predicted right; do not score such texts with this model"
            )
        if counts["shortened"]:
            doubts.append(
                f"{counts['shortened']:,} sentences of {name} are only the first words of longer ones, which are "
                "too many tokens for the probes with this tokenizer"
            )
    if found.scores is not None and found.heads:
        layer, head = found.heads[0]
        top = found.scores[layer][head] or 0.0
        if top < _LOW_SCORE:
            doubts.append(f"no head stands out: the highest retrieval score is {top:.2f}")
    return doubts


def ablation_doubts(found: "HeadSet") -> list[str]:
    """Of heads found by ablation."""
    return [*_of_tasks(found), *_of_noise(found)]


def _of_tasks(found: "HeadSet") -> Iterator[str]:
    for task, about in found.tasks.items():
        items, accuracy, chance = about["items"] or 0, about["accuracy"], about["chance"]
        if accuracy is None:
            yield f"no item of {task} was measured before the set had settled"
        elif chance is not None and bdtrc(round(accuracy * items) - 1, items, chance) > _LEVEL:
            yield (
                f"{task}: the model picks the right choice of {accuracy:.0%} of {items:,.0f} items, no more than by "
                f"guessing ({chance:.0%}); heads cannot be found with what the model cannot do"
            )
        elif accuracy == 0:
            yield (
                f"{task}: the model predicts no answer token of {items:,.0f} items right; heads cannot be found with "
                "what the model cannot do"
            )


def _of_noise(found: "HeadSet") -> Iterator[str]:
    if found.scores is None or found.standard_errors is None:
        return
    if (found.n_samples or 0) < 2:
        yield "one item was measured, so nothing is known of the noise; give more items"
        return
    heads = [(layer, head) for layer, row in enumerate(found.scores) for head, s in enumerate(row) if s is not None]
    measured = [(layer, head) for layer, head in found.parameters.get("measured", heads)]

    def significant(of: list[tuple[int, int]], level: float) -> list[tuple[int, int]]:
        certain = -ndtri(level)
        return [(layer, h) for layer, h in of if _ratio(found, layer, h) > certain]

    # The largest of so many is large by chance as well: Bonferroni.
    if not significant(measured, _LEVEL / len(heads)):
        yield (
            f"no head stands out of the noise of {found.n_samples:,} items: masking none raises the loss "
            "significantly. Give more items, or items that the model answers"
        )
        return
    noisy = len(found.heads) - len(significant(list(found.heads), _LEVEL))
    if noisy:
        yield (
            f"{noisy} of the {len(found.heads)} chosen heads raise the loss by no more than noise; give more items, or "
            "a smaller --share"
        )


def _ratio(found: "HeadSet", layer: int, head: int) -> float:
    """A head's score in its standard errors."""
    assert found.scores is not None
    assert found.standard_errors is not None
    score, error = found.scores[layer][head] or 0.0, found.standard_errors[layer][head] or 0.0
    return score / error if error > 0 else float("inf") * score if score else 0.0
