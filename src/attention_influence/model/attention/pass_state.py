"""What the attention function must know of the forward pass that it is called in, and what it lets be seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


class Observed(NamedTuple):
    """What one layer's attention was given, and what it gave."""

    layer: int
    module: nn.Module
    query_BHTD: Tensor
    key_BKTD: Tensor
    value_BKTD: Tensor
    out_BTHD: Tensor
    scaling: float | None
    sliding_window: int | None
    mask: Tensor | None
    """What `observe_mask` gave for this layer's kind of mask."""


Observer = Callable[[Observed], None]
Masked = Mapping[int, Sequence[int]]
"""Layer → heads that attend uniformly."""


@dataclass(frozen=True)
class AttentionPass:
    """What the attention function must know of the forward pass under way."""

    lengths: Sequence[int]
    """Tokens of each window; the windows stand one after another in the row and fill it."""
    rows: Sequence[Masked]
    """The heads that attend uniformly in each row of the batch; below the fork, where there is one row, none do."""
    gates: Mapping[int, Tensor] | None = None
    """Layer → gates [windows, heads] between attention (1) and uniform attention (0), to derive a loss by them."""
    observe: Observer | None = None
    """Called in every layer that has attention."""
    observe_mask: Callable[[Callable[..., Tensor]], Tensor] | None = None
    """Called with the mask function (batch, head, query, key → visible) of each kind of mask the model asks for; what
    it returns comes back as `Observed.mask` from the layers of that kind, and masks nothing."""


_current: ContextVar[AttentionPass] = ContextVar("attention_pass")


@contextmanager
def attention_pass(state: AttentionPass) -> Iterator[None]:
    """Makes `state` the pass that attention layers of this thread belong to."""
    token = _current.set(state)
    try:
        yield
    finally:
        _current.reset(token)


def current_pass() -> AttentionPass | None:
    return _current.get(None)
