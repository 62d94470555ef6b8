"""Cross-entropy of every token without the [tokens × vocabulary] matrix.

Hidden states go through the LM head some rows at a time, on a CPU some entries of the vocabulary at a time as well,
so that the logits never leave the cache; log-sum-exp and the target's logit are taken in float32. On a GPU one kernel
reads each logit once (`token_losses`). What a family does to its logits (capping, scaling, a bias) is the model's own
code, run on each block.

A CPU rounds the logits of a 16-bit matmul to 16 bits, less than three digits. So the few that a loss hangs on, the
target's and the largest of some blocks, are computed again in float32.

Letters: B rows, N scored tokens, E hidden size, V vocabulary, W entries of one block, R rows of a part, K entries of a
token that are computed again.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from attention_influence.model.memory import Shortage
from attention_influence.model.passes.pass_lock import PassLock
from attention_influence.model.token_losses import token_losses

# Rows and entries of a block on a CPU: enough for the matmul to run at full speed, few enough for the cache.
_BLOCK_ROWS, _BLOCK_ENTRIES = 1024, 2048
# Logits of a chunk, in elements, where the vocabulary is not cut: some hundred megabytes on a CPU, and enough to fill
# a GPU.
_CHUNK_LOGITS = {"cpu": 2**25, "cuda": 2**29}
# What memory must suffice for.
_SMALLEST_CHUNK_LOGITS = 2**22
# Float32 logits of which log-sum-exp is taken at once: a part of a core's cache.
_CACHED_LOGITS = 2**19
# Entries of which the largest is taken at once: enough for vector registers, few enough to be searched.
_GROUP = 64
# How many logits of a token are computed again, beside the target's: each the largest of a block.
_SHARPENED = 4
# Rows on which a cut vocabulary is tried.
_TRIED_ROWS = 4


class LMHead:
    """The model's own way from final hidden states to logits, detached from its layers; one call at a time."""

    def __init__(self, network: Any, body: nn.Module, lock: PassLock) -> None:
        self._lock = lock
        self._network = copy.copy(network)
        self._network._modules = dict(network._modules)
        self._body = _Given(body)
        self._network._modules[next(name for name, part in network.named_children() if part is body)] = self._body
        self.vocabulary: int = network.config.get_text_config().vocab_size
        self.shortage = Shortage(max(1, _SMALLEST_CHUNK_LOGITS // self.vocabulary))
        """How often memory ran out for a chunk of logits."""
        self._dtype = next(network.get_output_embeddings().parameters()).dtype
        # None where it is no plain linear layer of the network's own.
        self._linear: _Linear | None = None
        for name, part in network.named_children():
            if part is network.get_output_embeddings() and type(part) is nn.Linear:
                self._linear = self._network._modules[name] = _Linear(part)
        self._cut_changes_nothing: bool | None = None

    def logits(self, body_output: Any, hidden_NE: Tensor, entries: slice | Tensor = slice(None)) -> Tensor:
        """Logits [N, V] of hidden states [N, E]; `body_output` is any output of the same body, for its other fields.

        Of some entries, or in float32 of each token's own entries [N, K], only where the vocabulary may be cut.
        """
        if not isinstance(entries, Tensor):
            hidden_NE = hidden_NE.to(self._dtype)
        tokens = torch.zeros(1, len(hidden_NE), dtype=torch.long, device=hidden_NE.device)
        with self._lock:
            self._body.output = copy.copy(body_output)
            self._body.output.last_hidden_state = hidden_NE[None]
            if self._linear is not None:
                self._linear.entries = entries
            return self._network(input_ids=tokens, use_cache=False).logits[0]  # type: ignore[no-any-return]

    def losses(self, body_output: Any, predicting_N: Tensor, target_N: Tensor) -> Tensor:
        """Losses [B, N] in nats, float32: row b's −log p(target_N[i]) at position predicting_N[i]."""
        return self.losses_and_firsts(body_output, predicting_N, target_N)[0]

    @torch.inference_mode()
    def losses_and_firsts(self, body_output: Any, predicting_N: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """`losses`, and whether each target has the highest logit [B, N], bool.

        Where memory runs out, logits are computed for half as many tokens at a time; later calls try more again.
        """
        hidden_BTE = body_output.last_hidden_state
        rows, kind = hidden_BTE.shape[0], hidden_BTE.device.type
        width, chunk = self.vocabulary, max(1, _CHUNK_LOGITS.get(kind, _CHUNK_LOGITS["cpu"]) // self.vocabulary)
        may_be_cut = kind == "cpu" and self._may_be_cut(body_output, hidden_BTE[0, :_TRIED_ROWS])
        if may_be_cut and width > _BLOCK_ENTRIES:
            width, chunk = _BLOCK_ENTRIES, _BLOCK_ROWS
        sharpened = may_be_cut and self._dtype != torch.float32
        losses_BN = torch.empty(rows, len(target_N), dtype=torch.float32, device=hidden_BTE.device)
        first_BN = torch.empty_like(losses_BN, dtype=torch.bool)
        before = self.shortage.times
        for row in range(rows):
            low = 0
            while low < len(target_N):
                part = slice(low, low + self.shortage.allows(chunk))
                try:
                    losses_BN[row, part], first_BN[row, part] = self._losses_of_chunk(
                        body_output, hidden_BTE[row, predicting_N[part]], target_N[part], width, sharpened
                    )
                except (RuntimeError, MemoryError) as error:
                    if not self.shortage.worsen(error, chunk):
                        raise
                else:
                    low = part.stop
        if self.shortage.times == before:
            self.shortage.ease()
        return losses_BN, first_BN

    def _losses_of_chunk(
        self, body_output: Any, hidden_NE: Tensor, target_N: Tensor, width: int, sharpened: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses and firsts [N], out of logits of `width` entries at a time."""
        rounded_NE = hidden_NE.to(self._dtype)  # once for all blocks
        if hidden_NE.is_cuda:
            losses_N, largest_N, at_target_N = token_losses(self.logits(body_output, rounded_NE), target_N)
            return losses_N, at_target_N >= largest_N
        sums = LogSumExp(target_N, sharpened)
        for entries in self._blocks(width):
            sums.add(self.logits(body_output, rounded_NE, entries), entries.start)
        if sharpened:
            sums.sharpen(partial(self.logits, body_output, hidden_NE))
        return sums.losses(), sums.firsts()

    def _blocks(self, width: int) -> list[slice]:
        return [slice(low, min(low + width, self.vocabulary)) for low in range(0, self.vocabulary, width)]

    def _may_be_cut(self, body_output: Any, hidden_NE: Tensor) -> bool:
        """Whether the family treats each logit by itself, so that blocks of entries give the same; tried once."""
        if self._cut_changes_nothing is None:
            self._cut_changes_nothing = False
            if self._linear is not None:
                whole_NV = self.logits(body_output, hidden_NE)
                width = min(_BLOCK_ENTRIES, -(-self.vocabulary // 2))
                cut_NV = torch.cat(
                    [self.logits(body_output, hidden_NE, entries) for entries in self._blocks(width)], dim=1
                )
                # Far more than rounding, far less than what one entry's logit does to another's anywhere.
                allowed = 0.03 * whole_NV.abs().max()
                self._cut_changes_nothing = cut_NV.shape == whole_NV.shape and bool(
                    ((cut_NV - whole_NV).abs() <= allowed).all()
                )
        return self._cut_changes_nothing


class LogSumExp:
    """−log p of targets, out of their logits block by block; a few rows at a time, which stay in the cache."""

    def __init__(self, target_N: Tensor, sharpened: bool = False) -> None:
        """`sharpened`: whether the logits are rounded, and `sharpen` will be told some that are not."""
        self._target_N = target_N
        self._at_target_N = torch.full_like(target_N, torch.nan, dtype=torch.float32)
        self._largest_N = torch.full_like(self._at_target_N, -torch.inf)
        self._sum_N = torch.zeros_like(self._at_target_N)
        """Of exp(logit − largest)."""
        self._of_blocks: list[tuple[Tensor, Tensor]] | None = [] if sharpened else None
        """Of each block the largest logits [N], and their entries [N]."""

    def add(self, logits_NW: Tensor, first_entry: int) -> None:
        rows, width = logits_NW.shape
        few = max(1, _CACHED_LOGITS // width)
        held = torch.empty(min(few, rows), width, dtype=torch.float32, device=logits_NW.device)
        place_N = self._target_N - first_entry
        here_N = (place_N >= 0) & (place_N < width)
        at_place_N = logits_NW.gather(1, place_N.clamp(0, width - 1)[:, None])[:, 0].float()
        self._at_target_N = torch.where(here_N, at_place_N, self._at_target_N)
        places = []
        for low in range(0, rows, few):
            part = slice(low, min(low + few, rows))
            before_R = self._largest_N[part]
            largest_R = torch.maximum(before_R, logits_NW[part].amax(1).float())
            # Entries that are ruled out altogether, at −inf, have no largest to subtract.
            shift_R = largest_R.masked_fill(largest_R == -torch.inf, 0)
            exp_RW = torch.sub(logits_NW[part], shift_R[:, None], out=held[: part.stop - low]).exp_()
            self._sum_N[part] = self._sum_N[part] * (before_R - shift_R).exp() + exp_RW.sum(1)
            self._largest_N[part] = largest_R
            if self._of_blocks is not None:
                places.append(_place_of_largest(exp_RW))
        if self._of_blocks is not None:
            at_N = torch.cat(places)
            self._of_blocks.append((logits_NW.gather(1, at_N[:, None])[:, 0].float(), at_N + first_entry))

    def sharpen(self, logits_of: Callable[[Tensor], Tensor]) -> None:
        """Puts exact logits in the place of rounded ones: the target's, and the largest of the blocks that have most.

        `logits_of` gives those of each token's own entries [N, K].
        """
        assert self._of_blocks is not None
        rounded_NK, entry_NK = (torch.stack(side, 1) for side in zip(*self._of_blocks, strict=True))
        rounded_NK, block_NK = rounded_NK.topk(min(_SHARPENED, rounded_NK.shape[1]), dim=1)
        entry_NK = torch.cat([self._target_N[:, None], entry_NK.gather(1, block_NK)], 1)
        logits_NK = logits_of(entry_NK).float()
        self._at_target_N, exact_NK = logits_NK[:, 0], logits_NK[:, 1:]
        largest_N = exact_NK.amax(1)
        shift_N = largest_N.masked_fill(largest_N == -torch.inf, 0)
        self._sum_N *= (self._largest_N - shift_N).exp()
        self._sum_N += ((exact_NK - shift_N[:, None]).exp() - (rounded_NK - shift_N[:, None]).exp()).sum(1)
        self._largest_N = largest_N

    def losses(self) -> Tensor:
        """[N], float32."""
        return self._sum_N.log() + self._largest_N - self._at_target_N

    def firsts(self) -> Tensor:
        """[N], bool: whether no logit is above the target's."""
        return self._at_target_N >= self._largest_N


def _place_of_largest(exp_RW: Tensor) -> Tensor:
    """argmax [R] of rows of values that are not negative, group by group: torch's own does not use vector registers."""
    exp_RGW = nn.functional.pad(exp_RW, (0, -exp_RW.shape[1] % _GROUP)).view(len(exp_RW), -1, _GROUP)
    group_R = exp_RGW.amax(2).argmax(1)
    return group_R * _GROUP + exp_RGW[torch.arange(len(group_R)), group_R].argmax(1)


class _Linear(nn.Module):
    """An LM head for a part of the entries, or in float32 for each token's own entries."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.entries: slice | Tensor = slice(None)

    def forward(self, hidden: Tensor) -> Tensor:
        if isinstance(self.entries, Tensor):
            return self._of_own_entries(hidden[0], self.entries)[None]
        weight, bias = self.weight[self.entries], None if self.bias is None else self.bias[self.entries]
        if not weight.is_cuda or weight.dtype == torch.float32 or hidden.requires_grad:
            return nn.functional.linear(hidden, weight, bias)
        # A GPU delivers a 16-bit matmul in float32.
        logits = torch.mm(hidden.flatten(0, -2), weight.T, out_dtype=torch.float32)
        return (logits if bias is None else logits + bias).view(*hidden.shape[:-1], -1)

    def _of_own_entries(self, hidden_NE: Tensor, entry_NK: Tensor) -> Tensor:
        logits_NK = torch.stack(
            [(hidden_NE.float() * self.weight[entry_N].float()).sum(1) for entry_N in entry_NK.unbind(1)], 1
        )
        return logits_NK if self.bias is None else logits_NK + self.bias[entry_NK].float()


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
