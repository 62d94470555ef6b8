"""Where heads look: the positions that get most of a head's attention, seen from given positions.

Letters: H query heads, K key/value heads, A positions that look, T tokens of the window, D head size.
"""

from collections.abc import Mapping, Sequence

import torch

from attention_influence.heads.head_set import Head
from attention_influence.heads.retrieval import visible_logits
from attention_influence.model.attention.pass_state import Observed
from attention_influence.model.language_model import LanguageModel


def attended(
    model: LanguageModel, window: Sequence[int], at: Sequence[int], heads: Mapping[int, Sequence[int]], most: int
) -> dict[Head, list[list[tuple[int, float]]]]:
    """(layer, head) → for each position of `at`, the `most` (position, weight) of the highest weight, highest first.

    `heads` are by layer. The weights are those of the model itself, no head masked, in one pass over the window. A
    position sees itself and what is before it, within the sliding window.
    """
    found: dict[Head, list[list[tuple[int, float]]]] = {}

    def note(seen: Observed) -> None:
        if seen.layer not in heads:
            return
        at_A = torch.tensor(at, device=seen.query_BHTD.device)
        query_HAD, key_KTD = seen.query_BHTD[0, :, at_A], seen.key_BKTD[0]
        scaling = query_HAD.shape[-1] ** -0.5 if seen.scaling is None else seen.scaling
        logits_HAT = visible_logits(query_HAD, key_KTD, at_A, seen.sliding_window)[list(heads[seen.layer])] * scaling
        weight_HAM, position_HAM = logits_HAT.softmax(-1).topk(min(most, len(window)))
        is_visible_HAM = logits_HAT.gather(-1, position_HAM) > -torch.inf
        columns = (weight_HAM.tolist(), position_HAM.tolist(), is_visible_HAM.tolist())
        for head, *of_head in zip(heads[seen.layer], *columns, strict=True):
            found[seen.layer, head] = [
                [(position, weight) for weight, position, is_visible in zip(*of_query, strict=True) if is_visible]
                for of_query in zip(*of_head, strict=True)
            ]

    model.forward([window], observe=note)
    return found
