"""The heads that a target needs, from its items: ablation and its growth in rounds, as one call."""

from collections.abc import Iterable

from attention_influence.errors import HeadsError
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.greedy import Greedy
from attention_influence.heads.head_set import HeadSet
from attention_influence.heads.questions import Questions
from attention_influence.model.language_model import LanguageModel
from attention_influence.tasks.items import Choices, Item

LONGEST_ITEM = 1024
"""Tokens, answer included, where nothing else is asked for and the model's context is no shorter."""


def detect_heads_for(
    model: LanguageModel,
    items: Iterable[Item | Choices],
    *,
    share: float = 0.05,
    rounds: int = 1,
    context: int | None = None,
    seed: int = 0,
    until_stable: bool = False,
) -> HeadSet:
    """The ceil(`share` × heads) heads without which the items' right answers lose most, with all scores.

    A head's score is the mean rise of the right answer's loss (nats/token) when it alone attends uniformly; with more
    `rounds`, beside the heads of earlier rounds. Items longer than `context` tokens are left out. The paper (section 3)
    describes this and stands in the retrieval score for it: see `detect_heads`.

    Raises HeadsError where no item fits and for an impossible share or number of rounds, ModelError where heads cannot
    be masked exactly.
    """
    questions = Questions(model, context or min(LONGEST_ITEM, model.context))
    questions.add_items(items)
    if not questions.by_task:
        raise HeadsError(
            f"no item fits into {questions.context:,} tokens: " + ("; ".join(questions.notes) or "none given")
        )
    ablation = Ablation(model, questions.by_task, share=share, seed=seed)
    return (ablation if rounds == 1 else Greedy(ablation, rounds)).run(until_stable)
