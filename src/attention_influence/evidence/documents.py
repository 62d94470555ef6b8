"""Documents as questions: every token is to be predicted."""

from attention_influence.model.tokens import Tokens
from attention_influence.model.windows import cut
from attention_influence.scoring.scorer import MAX_DOCUMENT_TOKENS
from attention_influence.tasks.items import Question, Reading


def of_document(text: str, tokens: Tokens, context: int) -> Question | None:
    """All of a document to be predicted, in the windows in which it would be scored.

    None for less than two tokens, and for a document that is certain to be too long to be scored.
    """
    if tokens.surely_more_than(MAX_DOCUMENT_TOKENS, text):
        return None
    bos = () if tokens.bos is None else (tokens.bos,)
    ids = tokens.encode([text])[0]
    windows = [(*bos, *ids[part.start : part.stop]) for part in cut(len(ids), context, bool(bos))]
    readings = [Reading(w[:-1], tuple(range(len(w) - 1)), w[1:], (0,) * (len(w) - 1)) for w in windows if len(w) > 1]
    return Question(tuple(readings)) if readings else None
