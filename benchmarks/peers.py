"""What other people's code does for the same figures: plain transformers, one or two passes over whole documents.

The reference model is what a user would write: transformers' own attention, then the masked heads' outputs replaced by
the running mean of their values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class Peer:
    """A transformers model whose chosen heads can be made to attend uniformly."""

    def __init__(
        self, network: Any, tokenizer: Any, masked: Mapping[int, Sequence[int]], attention: str = "sdpa"
    ) -> None:
        """`attention` is one of transformers'. Raises ImportError or ValueError where that is not installed."""
        self.network, self.tokenizer, self.masked, self.attention = network.eval(), tokenizer, masked, attention
        network.set_attn_implementation(attention)
        self.uniform = f"uniform_heads_{id(self)}"
        AttentionInterface.register(self.uniform, self._uniform)
        AttentionMaskInterface.register(self.uniform, ALL_MASK_ATTENTION_FUNCTIONS[attention])

    def one_by_one(self, texts: Sequence[str]) -> list[float]:
        """Influence from two passes over each document alone, with the network's own mean loss."""
        return [self._influence(*(self._own_loss(text, masked) for masked in (False, True))) for text in texts]

    def padded(self, texts: Sequence[str], batch_tokens: int, passes: int = 2) -> list[list[float]]:
        """Mean losses [passes][documents] from batches of documents of like length, padded to the longest."""
        ids = [self.tokenizer(text).input_ids for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        losses = [[0.0] * len(ids) for _ in range(passes)]
        while order:
            longest = len(ids[order[-1]])
            batch, order = order[-max(1, batch_tokens // longest) :], order[: -max(1, batch_tokens // longest)]
            tokens = torch.zeros(len(batch), longest, dtype=torch.long)
            mask = torch.zeros_like(tokens)
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            for number in range(passes):
                on_device = tokens.to(self.network.device), mask.to(self.network.device)
                for i, loss in zip(batch, self._batch_losses(*on_device, number == 1), strict=True):
                    losses[number][i] = loss
        return losses

    @torch.inference_mode()
    def _own_loss(self, text: str, masked: bool) -> float:
        tokens = self.tokenizer(text, return_tensors="pt").input_ids.to(self.network.device)
        self.network.set_attn_implementation(self.uniform if masked else self.attention)
        return float(self.network(input_ids=tokens, labels=tokens).loss)

    @torch.inference_mode()
    def _batch_losses(self, tokens: Tensor, mask: Tensor, masked: bool) -> list[float]:
        self.network.set_attn_implementation(self.uniform if masked else self.attention)
        logits = self.network(input_ids=tokens, attention_mask=mask, use_cache=False).logits[:, :-1]
        means = []
        for row, row_logits in enumerate(logits):  # the whole batch in fp32 at once would not fit
            losses = cross_entropy(row_logits.float(), tokens[row, 1:], reduction="none")
            means.append((losses * mask[row, 1:]).sum() / mask[row, 1:].sum())
        return torch.stack(means).tolist()

    def _uniform(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        out, _ = ALL_ATTENTION_FUNCTIONS[self.attention](module, query, key, value, attention_mask, **kwargs)
        if heads := self.masked.get(module.layer_idx):
            group = query.shape[1] // value.shape[1]
            counts = torch.arange(1, value.shape[2] + 1, device=value.device)[:, None]
            for head in heads:
                mean = value[:, head // group].float().cumsum(1) / counts
                out[:, :, head] = mean.to(out.dtype)
        return out, None

    @staticmethod
    def _influence(base: float, ref: float) -> float:
        return (ref - base) / base
