"""Whether this very model, with these heads, is scored exactly: seconds, before the first document.

Compares the fast path with `oracle`, finds out whether windows may share a row, and measures the noise floor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attention_influence.errors import ModelError
from attention_influence.model.attention.function import WITH_MASKS
from attention_influence.model.attention.pass_state import AttentionPass, Observed, attention_pass
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.memory import is_out_of_memory
from attention_influence.model.oracle import oracle_head, oracle_hidden
from attention_influence.progress import stage

# Tokens of the text: as few as names and numbers come back in, or enough to leave a sliding window, up to a most.
_SHORTEST_TEXT, _LONGEST_TEXT = 128, 2048
# Positions at which masks are looked at: beyond any window, because a mask that is causal only so far is another mask.
_FAR = 2**20
_ALLOWED_SHARE = 0.05  # of |L_ref − L_base|
# Nats/token that rounding alone explains, by type of the weights: a model whose heads matter less is let through.
_ROUNDING = {torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
# Of a head's output, as a share of the largest value.
_HEAD_ROUNDING = {torch.float32: 1e-3, torch.float16: 5e-3, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class SelfTest:
    """What was found; written into the run."""

    packing: bool
    """Whether windows may share a row: false where positions are mixed by more than attention, or RoPE looks at the
    longest position of the call."""
    loss_base: float
    """Of the test's text, nats/token."""
    loss_ref: float
    error: float
    """|error of L_ref − L_base| against the oracle, nats/token."""
    noise: float
    """Noise floor: largest change of influence when the same text is scored in another pack, or by the slow way."""


@stage("testing the model")
def self_test(model: LanguageModel, masked: Mapping[int, Sequence[int]], window: int) -> SelfTest:
    """Raises ModelError that names the first thing that is wrong with scoring `model` in windows of `window` tokens."""
    try:
        with model.lock:
            test = _SelfTest(model, masked, window)
            test.check_masks()
            test.check_output_layer()
            packing = test.packing_allowed()
            return test.compare(packing)
    except (TypeError, AttributeError, ValueError, RuntimeError, IndexError, MemoryError) as error:
        if is_out_of_memory(error):
            raise ModelError(
                f"{model.identity.name}: {model.device} has too little memory beside its weights for the self-test's "
                f"text of {min(window, _LONGEST_TEXT):,} tokens at most; use a device with more, or lower --window"
            ) from error
        raise ModelError(
            f"{model.identity.name} ({model.network.config.model_type}): its layers do not run on windows in one row "
            f"that becomes two where the heads are masked{', compiled' if model.is_compiled else ''}: {error}"
        ) from error


class _SelfTest:
    def __init__(self, model: LanguageModel, masked: Mapping[int, Sequence[int]], window: int) -> None:
        self.model, self.masked, self.window = model, masked, window
        self.fork = min(masked, default=min(model.heads))
        self.name = f"{model.identity.name} ({model.network.config.model_type})"
        self.text = self._tokens(16)
        self.mask_functions: list[Callable[..., Tensor]] = []
        self.sliding: list[int | None] = []
        """Of each attention that was called, in their order; with the mask function that the model meant for it:"""
        self.meant: list[Callable[..., Tensor] | None] = []
        state = AttentionPass([len(self.text)], [{}], observe=self._note_mask, observe_mask=self._number_mask)
        with torch.inference_mode(), model.unmodified(WITH_MASKS), attention_pass(state):
            model.body(input_ids=torch.tensor([self.text], device=model.device), use_cache=False)
        reach = max((w for w in self.sliding if w is not None and w < _LONGEST_TEXT), default=0)
        self.text = self._tokens(min(self.window, max(_SHORTEST_TEXT, reach + 64)))

    def _tokens(self, count: int) -> list[int]:
        bos = [] if self.model.tokens.bos is None else [self.model.tokens.bos]
        text = self.model.tokens.encode([_TEXT])[0]
        return (bos + text * (count // max(1, len(text)) + 1))[:count]

    def _number_mask(self, function: Callable[..., Tensor]) -> Tensor:
        self.mask_functions.append(function)
        return torch.full((1, 1, 1, 1), len(self.mask_functions) - 1, device=self.model.device)

    def _note_mask(self, seen: Observed) -> None:
        self.sliding.append(seen.sliding_window)
        self.meant.append(None if seen.mask is None else self.mask_functions[int(seen.mask)])

    def check_masks(self) -> None:
        """The mask that the model means for a layer is causal, full or sliding as the layer's attention is told."""
        key = torch.arange(_FAR)
        zero = torch.zeros((), dtype=torch.long)
        for mask, sliding in set(zip(self.meant, self.sliding, strict=True)):
            for at in (_FAR - 1, _FAR // 2, _FAR // 3):
                if mask is None:
                    continue
                seen = mask(zero, zero, torch.tensor(at), key).expand(_FAR).cpu()
                expected = (key <= at) & (key > at - (sliding or _FAR))
                if not torch.equal(seen, expected):
                    raise ModelError(
                        f"{self.name}: position {at} sees {int(seen.sum())} positions by the model's mask and "
                        f"{int(expected.sum())} by what its attention is told: neither causal nor a sliding window "
                        "(chunked or bidirectional attention is not handled)"
                    )

    def check_output_layer(self) -> None:
        tokens = self.text[:8]
        with self.model.unmodified() as network, torch.inference_mode():
            theirs = network(input_ids=torch.tensor([tokens], device=self.model.device), use_cache=False).logits[0]
        body = self.model.forward([tokens])
        ours = self.model.output.logits(body, body.last_hidden_state[0])
        if not torch.isfinite(theirs).all():
            raise ModelError(f"{self.name} gives logits that are not finite; check its weights and its precision")
        if ours.shape != theirs.shape or not self._close(ours, theirs):
            raise ModelError(f"{self.name}: logits from its hidden states differ from its own (special LM head)")

    def packing_allowed(self) -> bool:
        """Whether a window's hidden states stay the same beside a longer one, and beside late positions."""
        short, longer = self.text[:24], self.text
        if len(short) + len(longer) <= 2 or self.window < 8:
            return False
        alone = self.model.forward([short]).last_hidden_state[0]
        packed = self.model.forward([longer, short, short]).last_hidden_state[0]
        if not self._close(packed[len(longer) : len(longer) + len(short)], alone):
            return False
        few = short[:4]
        late = torch.arange(self.window - 4, self.window)
        positions = torch.cat([torch.arange(4), late]).to(self.model.device)
        with torch.inference_mode(), attention_pass(AttentionPass([4, 4], [{}])):
            tokens = torch.tensor([few + few], device=self.model.device)
            beside_late = self.model.body(input_ids=tokens, position_ids=positions[None], use_cache=False)
        return self._close(beside_late.last_hidden_state[0, :4], self.model.forward([few]).last_hidden_state[0])

    def compare(self, packing: bool) -> SelfTest:
        """Both losses of the text against the oracle's; masked layers one by one; the same text in other packs."""
        output, target = self.model.output, torch.tensor(self.text[1:], device=self.model.device)
        body = self.model.forward([self.text], self.masked, self.fork, self._check_layer)
        at = torch.arange(len(target), device=self.model.device)
        base, ref = output.losses(body, at, target).mean(1, dtype=torch.float64).tolist()
        hidden = [oracle_hidden(self.model, self.text, masked) for masked in ({}, self.masked)]
        body.last_hidden_state = torch.stack(hidden)
        oracle_base, oracle_ref = output.losses(body, at, target).mean(1, dtype=torch.float64).tolist()
        error = abs((ref - base) - (oracle_ref - oracle_base))
        rounding = _ROUNDING.get(self.model.dtype, 2e-2)
        if not abs(base - oracle_base) <= rounding * max(1.0, oracle_base):
            raise ModelError(
                f"{self.name}: base loss {base:.6f} differs from the unmodified model's {oracle_base:.6f}; "
                "its attention does more than scoring knows of"
            )
        if not error <= max(_ALLOWED_SHARE * abs(oracle_ref - oracle_base), rounding):
            raise ModelError(
                f"{self.name}: the rise in loss is {ref - base:.6f} nats/token, by the slow way "
                f"{oracle_ref - oracle_base:.6f}: more than {_ALLOWED_SHARE:.0%} apart"
            )
        influence = (ref - base) / base
        slow_way = abs(influence - (oracle_ref - oracle_base) / oracle_base)
        return SelfTest(packing, base, ref, error, max(slow_way, self._noise(influence) if packing else 0.0))

    def _check_layer(self, seen: Observed) -> None:
        """Each masked head, and one that is not, against a softmax and a plain mean written out in float32."""
        masked = self.masked.get(seen.layer, ())
        others = [h for h in range(seen.out_BTHD.shape[2]) if h not in masked]
        base, ref = seen.out_BTHD[0], seen.out_BTHD[-1]
        if seen.layer == self.fork and not torch.equal(base[:, others], ref[:, others]):
            raise ModelError(f"{self.name}: masking heads {list(masked)} of layer {seen.layer} changes other heads")
        allowed = _HEAD_ROUNDING.get(self.model.dtype, 2e-2) * seen.value_BKTD.abs().max()
        for head in [*masked, *others[:1]]:
            for row in range(len(seen.out_BTHD)):
                uniform = head in masked and row > 0
                error = (seen.out_BTHD[row, :, head] - oracle_head(seen, row, head, uniform)).abs().max()
                if not error <= allowed:
                    raise ModelError(
                        f"{self.name}: head {head} of layer {seen.layer} is {float(error):.2g} away from "
                        f"{'the plain mean' if uniform else 'a softmax'} over the values that it sees"
                    )

    def _noise(self, influence: float) -> float:
        """Of the text, whose `influence` alone is known, of its halves, quarters and eighths: in one pack, and alone.

        The shorter a document, the more one token's rounding weighs; kernels may round by the number of rows.
        """
        size = len(self.text)
        pieces = [
            self.text[low : low + size // n] for n in (2, 4, 8) for low in range(0, size - size // n + 1, size // n)
        ]
        pieces = [piece for piece in pieces if len(piece) > 1]
        together = self._influences([self.text, *pieces])
        alone = [influence, *(self._influences([piece])[0] for piece in pieces)]
        return max(abs(a - b) for a, b in zip(together, alone, strict=True))

    def _influences(self, windows: Sequence[Sequence[int]]) -> list[float]:
        body = self.model.forward(windows, self.masked, self.fork)
        influences, start = [], 0
        for window in windows:
            at = torch.arange(start, start + len(window) - 1, device=self.model.device)
            target = torch.tensor(window[1:], device=self.model.device)
            base, ref = self.model.output.losses(body, at, target).mean(1, dtype=torch.float64).tolist()
            influences.append((ref - base) / base)
            start += len(window)
        return influences

    def _close(self, ours: Tensor, theirs: Tensor) -> bool:
        """Whether they differ by no more than rounding through all layers explains."""
        scale = theirs.float().std() + 1e-6
        error = (ours.float() - theirs.float()).abs().max() / scale
        return bool(error < (2e-3 if self.model.dtype == torch.float32 else 0.3))


# Ours: plain sentences with names and numbers that come back, so that copying heads have something to copy.
_TEXT = """The lighthouse at Varn Point was built in 1874 by the engineer Ida Kessler, who had already finished two
smaller towers further north. Kessler kept a notebook in which she wrote down the height of every tide, and the notebook
shows that the tide of 9 October 1875 reached the door of the lighthouse. If the tide reached the door, and the
door stands four metres above the rocks, then the tide rose at least four metres that day. A second keeper, Tomas
Brandt, copied the figures into a table: 9 October 1875, four metres; 2 March 1876, three metres; 17 March 1876,
three metres and a half. Kessler disagreed with the last figure. She argued that Tomas Brandt had read the mark
from the wrong side of the pole, because from the western side the pole leans, and a leaning pole gives a longer
reading. To settle the matter they measured the pole again. From the eastern side it gave three metres; from the
western side, three metres and a half. So the notebook of Ida Kessler was right, and the table of Tomas Brandt was
mended. Today the lighthouse at Varn Point is a museum. Visitors can see the notebook, the table, and the pole, and
each of them is asked the same question: from which side would you have read the tide?
"""
