"""The sum of the layers in float32 beside 16-bit weights, and what is done where a family does not take it."""

from typing import Any

import pytest
import torch

from attention_influence import from_network
from attention_influence.errors import ModelError
from tiny_models import tokenizer, untouched


def network(refuse: Any = None, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A tiny llama whose second norm calls `refuse` with its input first."""
    made = untouched("llama", dtype=dtype)
    if refuse is not None:
        made.model.layers[1].input_layernorm.register_forward_pre_hook(lambda module, args: refuse(args[0]))
    return made


def only_bf16(hidden: torch.Tensor) -> None:
    if hidden.dtype != torch.bfloat16:
        raise RuntimeError("expected scalar type BFloat16 but found Float")


def nothing(hidden: torch.Tensor) -> None:
    raise RuntimeError("a shape that does not fit")


def test_beside_16_bit_weights_it_is_float32(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[torch.dtype] = []
    model = from_network(network(lambda hidden: seen.append(hidden.dtype)), tokenizer())
    seen.clear()
    model.forward([[5, 6, 7]])
    assert seen == [torch.float32]
    assert model.arithmetic() == {
        "attention": "SDPA; no kernel for cpu",
        "layers": "not compiled",
        "residual": "float32",
    }
    assert not caplog.messages


def test_a_family_that_takes_no_mixed_types_keeps_its_own_and_this_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = from_network(network(only_bf16), tokenizer(), "strict")
    assert model.forward([[5, 6, 7]]).last_hidden_state.dtype == torch.bfloat16
    assert model.arithmetic()["residual"] == "bfloat16; RuntimeError: expected scalar type BFloat16 but found Float"
    assert caplog.messages == [
        "strict: the sum of its layers is kept in bfloat16; RuntimeError: expected scalar type BFloat16 but found Float"
    ]


def test_what_is_wrong_in_any_type_is_not_taken_for_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelError, match="a shape that does not fit"):
        from_network(network(nothing), tokenizer())
    assert not caplog.messages


def test_with_float32_weights_there_is_nothing_to_switch() -> None:
    assert from_network(network(dtype=torch.float32), tokenizer()).arithmetic()["residual"] == "float32"
