"""Cross-entropy of every token without the [tokens × vocabulary] matrix.

Hidden states go through the output layer in chunks; log-sum-exp and the target's logit are taken in float32. What a
family does to its logits (capping, scaling, a bias) is the model's own code, run on each chunk.

Letters: B rows, N scored tokens, E hidden size, V vocabulary.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

# Float32 logits of which log-sum-exp is taken at once: a part of a core's cache, or all of a chunk on a card.
_CACHED_LOGITS = {"cpu": 2**19, "cuda": 2**29}
# Logits of one chunk, in elements: keeps the product, its float32 copy and the sums inside some hundred megabytes
# on a CPU, and large enough to fill the card on CUDA.
_CHUNK_LOGITS = {"cpu": 2**25, "cuda": 2**29}


class OutputLayer:
    """The model's own way from final hidden states to logits, detached from its layers."""

    def __init__(self, network: Any, body: nn.Module) -> None:
        self._network = copy.copy(network)
        self._network._modules = dict(network._modules)
        self._body = _Given(body)
        self._network._modules[next(name for name, part in network.named_children() if part is body)] = self._body
        self.vocabulary: int = network.config.get_text_config().vocab_size
        product = network.get_output_embeddings()
        if type(product) is nn.Linear and product.weight.is_cuda and product.weight.dtype != torch.float32:
            self._network.set_output_embeddings(_FullPrecisionProduct(product))

    @torch.inference_mode()
    def logits(self, body_output: Any, hidden_NE: Tensor) -> Tensor:
        """Logits [N, V] of hidden states [N, E]; `body_output` is any output of the same body, for its other fields."""
        self._body.output = copy.copy(body_output)
        self._body.output.last_hidden_state = hidden_NE[None]
        tokens = torch.zeros(1, len(hidden_NE), dtype=torch.long, device=hidden_NE.device)
        return self._network(input_ids=tokens, use_cache=False).logits[0]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def losses(self, body_output: Any, predicting_N: Tensor, target_N: Tensor) -> Tensor:
        """Losses [B, N] in nats, float32: row b's −log p(target_N[i]) at position predicting_N[i]."""
        hidden_BTE = body_output.last_hidden_state
        rows = hidden_BTE.shape[0]
        chunk = max(1, _CHUNK_LOGITS.get(hidden_BTE.device.type, _CHUNK_LOGITS["cpu"]) // self.vocabulary)
        losses_BN = torch.empty(rows, len(target_N), dtype=torch.float32, device=hidden_BTE.device)
        for row in range(rows):
            for low in range(0, len(target_N), chunk):
                part = slice(low, low + chunk)
                logits_NV = self.logits(body_output, hidden_BTE[row, predicting_N[part]])
                losses_BN[row, part] = cross_entropy(logits_NV, target_N[part])
        return losses_BN


def cross_entropy(logits_NV: Tensor, target_N: Tensor) -> Tensor:
    """−log p(target) [N], float32, of logits of any float type; a few rows at a time, which stay in the cache."""
    rows, vocabulary = logits_NV.shape
    few = max(1, _CACHED_LOGITS.get(logits_NV.device.type, _CACHED_LOGITS["cpu"]) // vocabulary)
    losses_N = torch.empty(rows, dtype=torch.float32, device=logits_NV.device)
    held = torch.empty(min(few, rows), vocabulary, dtype=torch.float32, device=logits_NV.device)
    for low in range(0, rows, few):
        part = slice(low, min(low + few, rows))
        logits_RV = held[: part.stop - low].copy_(logits_NV[part])
        at_target_R = logits_RV.gather(1, target_N[part, None])[:, 0]
        largest_R = logits_RV.amax(1)
        losses_N[part] = logits_RV.sub_(largest_R[:, None]).exp_().sum(1).log_() + largest_R - at_target_R
    return losses_N


class _Given(nn.Module):
    """Stands where the body was and returns what it was given; so does each part of it (opt calls its decoder)."""

    output: Any = None

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.__dict__["_body"] = body  # not a child: the network must not find its layers again

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["_body"], name)
        return self if isinstance(value, nn.Module) else value

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


class _FullPrecisionProduct(nn.Module):
    """A linear layer that delivers its 16-bit product in float32, where the device can."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, hidden: Tensor) -> Tensor:
        product = torch.mm(hidden.flatten(0, -2), self.weight.T, out_dtype=torch.float32)
        return (product if self.bias is None else product + self.bias).view(*hidden.shape[:-1], -1)
