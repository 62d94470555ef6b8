"""A causal language model, taken apart as far as scoring needs: layers, attention heads, LM head, tokens."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from attention_influence.errors import HeadsError, ModelError
from attention_influence.model.attention import function as attention
from attention_influence.model.attention.pass_state import Masked, Observed, Observer
from attention_influence.model.attention.varlen import why_not
from attention_influence.model.compiled import compile_layers
from attention_influence.model.loss import LMHead
from attention_influence.model.memory import is_out_of_memory
from attention_influence.model.passes.fork import forked_forward
from attention_influence.model.passes.pass_lock import PassLock
from attention_influence.model.precision import matmul_dtype
from attention_influence.model.residual import Float32Residual
from attention_influence.model.tokens import Tokens

_log = logging.getLogger(__name__)

_DEFAULT_CONTEXT = 2048  # where the model names no longest position


@dataclass(frozen=True)
class Identity:
    """What makes two models the same: written into heads.json and into the fingerprint of a run."""

    name: str
    weights: str
    """sha256 over the weight files and the configuration, or over the tensors of a model made in memory."""
    tokenizer: str
    """sha256 of the tokenizer's definition."""


class LanguageModel:
    """A loaded model, prepared for scoring: its attention is replaced, everything else is the model's own code.

    `heads` maps each layer that has attention to its number of query heads; `layers` holds all layers. Threads may
    share a model: their passes wait for one another on `lock`, which is also for those who call `body` directly.
    Raises ModelError, naming what is missing, where the model's attention cannot be reached.
    """

    def __init__(self, network: Any, tokenizer: Any, name: str, weights_hash: str) -> None:
        self.lock = PassLock()
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        """Transformers' own, for calls of the unmodified network; scoring uses `tokens`."""
        self.tokens = Tokens(tokenizer)
        self.identity = Identity(name, weights_hash, self.tokens.hash)
        self.loaded_by: tuple[str, str, bool, str | None] | None = None
        """Name, dtype, trust_remote_code and commit for `load_model`; None for a model made in memory."""
        # The class of llama4 names a body that it does not have.
        self.body: nn.Module = (
            getattr(network, "model", network) if network.base_model is network else network.base_model
        )
        if network.get_output_embeddings() is None or all(part is not self.body for part in network.children()):
            raise ModelError(f"{name} has no LM head over a body of its own; a causal language model is needed")
        self.device: torch.device = network.get_input_embeddings().weight.device
        self.dtype: torch.dtype = network.dtype
        """What its matmuls are computed in."""
        self._weights_dtype = network.dtype
        self._castable = [weights for weights in network.parameters() if weights.dtype == network.dtype]
        config = network.config.get_text_config()
        named: int | None = getattr(config, "max_position_embeddings", None) or None
        rope = getattr(config, "rope_parameters", None) or {}
        # Dynamic RoPE is made for windows beyond the context that the configuration names.
        self.longest_context = None if rope.get("rope_type") == "dynamic" else named
        """Tokens, as the model names them; None where it names none."""
        self.context: int = named or _DEFAULT_CONTEXT
        try:
            network.set_attn_implementation(attention.NAME)
        except (ValueError, ImportError, KeyError) as error:
            raise ModelError(
                f"{name}: transformers cannot replace the attention of {config.model_type}: {error}"
            ) from None
        self.is_compiled = False
        self._residual = Float32Residual(network, self.body)
        self._residual_refused = ""
        self._head_sizes: set[int] = set()
        self._try_residual()
        self.heads, self.layers = self._reach_attention()
        self.output = LMHead(network, self.body, self.lock)

    def forward(
        self,
        windows: Sequence[Sequence[int]],
        masked: Masked | None = None,
        fork_layer: int | None = None,
        observe: Observer | None = None,
    ) -> Any:
        """The body's output for packed windows (see `forked_forward`): one row, in which `masked` heads attend
        uniformly; or from `fork_layer` on two, base and reference, in the latter of which they do."""
        rows = [masked or {}] if fork_layer is None else [{}, masked or {}]
        with self.lock:
            return forked_forward(self.body, self.layers, windows, rows, fork_layer, observe)

    def on(self, device: str) -> "LanguageModel":
        """This model, moved to a device, its weights held in the type that its matmuls are computed in there."""
        with self.lock:
            self.network.to(device)
            self.device = torch.device(device)
            self.dtype = matmul_dtype(self._weights_dtype, self.device)
            for weights in self._castable:
                weights.data = weights.data.to(self.dtype)
            self._try_residual()
            self.output = LMHead(self.network, self.body, self.lock)
        return self

    def compile_layers(self, backend: str = "inductor") -> None:
        """From now on passes that only score run each layer as one compiled graph (see `model/compiled.py`)."""
        with self.lock:
            if not self.is_compiled:
                compile_layers(self.layers, backend)
                self.is_compiled = True

    def check_heads(self, heads: Iterable[tuple[int, int]]) -> None:
        """Raises HeadsError for the first (layer, head) that the model does not have."""
        for layer, head in heads:
            if not 0 <= head < self.heads.get(layer, 0):
                has = f"layer {layer} has {self.heads[layer]} heads" if layer in self.heads else "no attention there"
                raise HeadsError(
                    f"{self.identity.name} has no head {head} in layer {layer} ({has}); detect heads on it"
                )

    @contextmanager
    def unmodified(self, implementation: str = "eager") -> Iterator[Any]:
        """The network with another attention of transformers, for as long as the context lasts; others wait."""
        with self.lock:
            self.network.set_attn_implementation(implementation)
            try:
                yield self.network
            finally:
                self.network.set_attn_implementation(attention.NAME)

    def arithmetic(self) -> dict[str, str]:
        """How passes compute attention and keep the residual stream, and why not in the best way, for the record."""
        refused = {why_not(self.device, self.dtype, size) for size in self._head_sizes} - {None}
        return {
            "attention": "; ".join(["SDPA", *sorted(map(str, refused))]) if refused else "variable-length kernel",
            "layers": "compiled" if self.is_compiled else "not compiled",
            "residual": "float32" if self._residual.active or self.dtype == torch.float32 else self._residual_refused,
        }

    def _try_residual(self) -> None:
        """Leaves the sum of the layers in the weights' type where the family's own code takes no mixed types."""
        self._residual.active = self.dtype != torch.float32
        if not self._residual.active or (refused := self._run_two_tokens()) is None:
            return
        # What is wrong without it as well is not its fault: that is found, and said, by those who run the model next.
        self._residual.active = False
        if self._run_two_tokens() is None:
            kind = str(self.dtype).removeprefix("torch.")
            self._residual_refused = f"{kind}; {type(refused).__name__}: {refused}"
            _log.warning("%s: the sum of its layers is kept in %s", self.identity.name, self._residual_refused)

    def _run_two_tokens(self) -> Exception | None:
        try:
            forked_forward(self.body, nn.ModuleList(), [[0, 0]], [{}])
        except (ModelError, TypeError, AttributeError, ValueError, RuntimeError, LookupError) as error:
            if is_out_of_memory(error):
                raise
            return error
        return None

    def _reach_attention(self) -> tuple[dict[int, int], nn.ModuleList]:
        modules: dict[int, nn.Module] = {}
        heads: dict[int, int] = {}

        def note(seen: Observed) -> None:
            if modules.setdefault(seen.layer, seen.module) is not seen.module:
                raise ModelError(f"layer {seen.layer} has more than one attention")
            heads[seen.layer] = seen.query_BHTD.shape[1]
            self._head_sizes.add(seen.query_BHTD.shape[-1])

        model_type = self.network.config.model_type
        try:
            forked_forward(self.body, nn.ModuleList(), [[0, 0]], [{}], observe=note)
        except ModelError as error:
            raise ModelError(f"{self.identity.name} ({model_type}): {error}") from None
        except (TypeError, AttributeError, ValueError, RuntimeError, IndexError) as error:
            raise ModelError(
                f"{self.identity.name} ({model_type}) does not run on tokens with explicit positions and without a "
                f"mask: {error}"
            ) from error
        if not heads:
            raise ModelError(
                f"{self.identity.name} ({model_type}): no layer calls its attention through transformers' "
                "AttentionInterface, so no head can be masked; choose a model whose layers do (llama, qwen, gemma …)"
            )
        for layers in self.body.modules():
            if isinstance(layers, nn.ModuleList) and all(
                layer < len(layers) and any(m is module for m in layers[layer].modules())
                for layer, module in modules.items()
            ):
                return dict(sorted(heads.items())), layers
        raise ModelError(
            f"{self.identity.name} ({model_type}): its attention layers do not stand in one list of layers"
        )
