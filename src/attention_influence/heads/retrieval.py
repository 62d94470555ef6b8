"""How often a head looks at the token that is to be copied (paper, section 3; Wu et al. 2024, arXiv 2404.15574).

Letters: H query heads, K key/value heads, A answer tokens, T tokens of the probe, D head size.
"""

from typing import Literal

import torch
from torch import Tensor

Where = Literal["needle", "anywhere"]


def hits(
    query_HAD: Tensor,
    key_KTD: Tensor,
    token_T: Tensor,
    answer_A: Tensor,
    needle: Tensor,
    sliding_window: int | None = None,
    where: Where = "needle",
) -> Tensor:
    """Hits [H, A], bool: the head attends most to a position that holds the same token as the answer.

    `query_HAD` are the queries of the positions that *predict* the answer tokens, `answer_A` − 1; each sees itself
    and what is before it, within the sliding window. With `where` = "needle" the position must also be one of
    `needle`, the value's own tokens; with "anywhere" any visible position counts. The argmax is taken in float32 and
    needs no scaling; equal logits go to the earliest position.
    """
    most_HA = visible_logits(query_HAD, key_KTD, answer_A - 1, sliding_window).argmax(-1)
    hit_HA = token_T[most_HA] == token_T[answer_A]
    if where == "needle":
        hit_HA &= torch.isin(most_HA, needle)
    return hit_HA


def visible_logits(query_HAD: Tensor, key_KTD: Tensor, at_A: Tensor, sliding_window: int | None) -> Tensor:
    """Logits [H, A, T] in float32, not scaled, of the queries at the positions `at_A`; −∞ where they do not see."""
    heads, queries, _ = query_HAD.shape
    kv_heads, tokens, size = key_KTD.shape
    position_T = torch.arange(tokens, device=key_KTD.device)
    visible_AT = position_T <= at_A[:, None]
    if sliding_window is not None:
        visible_AT &= position_T > at_A[:, None] - sliding_window
    grouped_KGD = query_HAD.float().reshape(kv_heads, heads // kv_heads * queries, size)
    logits_HAT = (grouped_KGD @ key_KTD.float().mT).view(heads, queries, tokens)
    return logits_HAT.masked_fill_(~visible_AT, -torch.inf)
