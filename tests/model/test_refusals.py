"""Models that cannot be scored exactly are refused, by what is missing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PythonBackend

from attention_influence.errors import ModelError
from attention_influence.model.attention.windowed import windowed_attention
from attention_influence.model.loading.load import from_network, load_model
from attention_influence.model.self_test import self_test
from tiny_models import CONTEXT, random_tokens, tiny, tokenizer, untouched

AT_LOADING: dict[str, tuple[dict[str, Any], str]] = {
    "falcon": ({}, "AttentionInterface"),
    "bloom": ({}, "AttentionInterface"),
    "mamba": ({}, "AttentionInterface"),
    "gptj": ({}, "AttentionInterface"),
    "deepseek_v3": ({}, "values of another size than its queries"),
    "bert": ({}, "not causal attention"),
    "gpt_oss": ({"head_dim": 8}, "s_aux, which is not handled"),
    "gemma2": ({}, "softcap, which is not handled"),
    "gemma3_text": ({"use_bidirectional_attention": True}, "not causal attention"),
    "doge": ({}, "not causal attention"),
    "hrm_text": ({}, "more than one attention"),
}


@pytest.mark.parametrize("family", AT_LOADING)
def test_a_model_whose_attention_is_out_of_reach_is_refused_by_what_is_missing(family: str) -> None:
    changes, said = AT_LOADING[family]
    with pytest.raises(ModelError, match=said) as refused:
        tiny(family, **changes)
    assert f"tiny {family} ({family})" in str(refused.value)


@pytest.mark.parametrize("chunk", [64, 3000, 8192])
def test_chunked_attention_is_refused_however_long_the_chunks(chunk: int) -> None:
    model = tiny("llama4_text", attention_chunk_size=chunk).model
    with pytest.raises(ModelError, match=r"by the model's mask.*chunked"):
        self_test(model, {1: [0]}, CONTEXT)


def test_layers_that_cannot_become_two_rows_are_refused() -> None:
    with pytest.raises(ModelError, match="becomes two where the heads are masked"):
        self_test(tiny("gpt_bigcode").model, {1: [0]}, CONTEXT)


def test_a_network_without_an_output_layer_is_refused() -> None:
    body = untouched("llama").model
    with pytest.raises(ModelError, match="no LM head"):
        from_network(body, tokenizer(), "a body")


def test_weights_that_are_not_finite_are_refused() -> None:
    made = tiny("llama")
    made.model.network.lm_head.weight[7, 3] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        self_test(made.model, {1: [0]}, CONTEXT)


@pytest.mark.parametrize(
    ("from_tokens", "said"), [(1, "logits from its hidden states differ"), (20, r"base loss .* differs from")]
)
def test_attention_that_does_more_than_it_says_is_refused(from_tokens: int, said: str) -> None:
    model = tiny("llama").model
    layer = model.layers[2].self_attn
    own = type(layer).forward

    def sharper_in_eager_attention(hidden_states: Any, **others: Any) -> Any:
        sharper = layer.config._attn_implementation == "eager" and hidden_states.shape[1] >= from_tokens
        layer.scaling = 0.8 if sharper else 0.35
        return own(layer, hidden_states, **others)

    layer.forward = sharper_in_eager_attention
    with pytest.raises(ModelError, match=said):
        self_test(model, {1: [0]}, CONTEXT)


BROKEN_MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": torch.zeros_like,
    "the value of the position itself": lambda value: value,
    "the mean of all positions, later ones too": lambda value: value.mean(1, keepdim=True).expand_as(value),
    "every weight 1/L": lambda value: value.cumsum(1) / value.shape[1],
    "one position more in the divisor": lambda value: value.cumsum(1) / torch.arange(2, value.shape[1] + 2)[:, None],
    "without the position itself": lambda value: (
        (value.cumsum(1) - value) / torch.arange(1, value.shape[1] + 1)[:, None]
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("broken", BROKEN_MEANS.values(), ids=BROKEN_MEANS)
def test_a_masked_head_that_gives_anything_but_the_plain_mean_is_refused(
    broken: Callable[[Tensor], Tensor], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", dtype=dtype).model

    def attend(query: Tensor, key: Tensor, value: Tensor, *packed: Any) -> Tensor:
        out = windowed_attention(query, key, value, *packed)
        group = query.shape[1] // value.shape[1]
        for row, head in (query == 0).all(-1).all(-1).nonzero().tolist():
            out[row, :, head] = broken(value[row, head // group][None].float())[0].to(value.dtype)
        return out

    monkeypatch.setattr("attention_influence.model.attention.function.windowed_attention", attend)
    with pytest.raises(ModelError, match=r"head 2 of layer 1 is .* away from the plain mean"):
        self_test(model, {1: [2], 3: [0]}, CONTEXT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sliding_window_that_is_one_position_off_is_refused(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "attention_influence.model.attention.function.windowed_attention"
    monkeypatch.setattr(
        place, lambda q, k, v, lengths, scale, w: windowed_attention(q, k, v, lengths, scale, w and w - 1)
    )
    with pytest.raises(ModelError, match=r"away from a softmax|logits from its hidden states differ"):
        self_test(tiny("mistral", dtype=dtype).model, {1: [2]}, CONTEXT)


def test_heads_at_the_wrong_layer_are_refused() -> None:
    model = tiny("llama").model
    model.layers = torch.nn.ModuleList([*model.layers[1:], model.layers[0]])
    with pytest.raises(ModelError, match=r"that becomes two where the heads are masked: index 1 is out of bounds"):
        self_test(model, {1: [2]}, CONTEXT)


def test_an_output_layer_that_is_not_the_networks_is_refused() -> None:
    model = tiny("cohere").model
    model.output._network.logit_scale = 1.0
    with pytest.raises(ModelError, match="special LM head"):
        self_test(model, {1: [0]}, CONTEXT)


def test_a_tokenizer_that_is_not_fast_is_refused() -> None:
    class Slow(PythonBackend):
        vocab_size = 1

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0}

    with pytest.raises(ModelError, match="not a fast tokenizer"):
        from_network(untouched("llama"), Slow())


def test_a_prepared_network_says_so_when_it_is_called_directly() -> None:
    model = tiny("llama").model
    with pytest.raises(ModelError, match="prepared for scoring"):
        model.network(input_ids=torch.tensor([random_tokens(5)]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/at/all", "neither a model's directory"),
        ("./missing", "neither a model's directory"),
        ("missing.gguf", "no such file"),
    ],
)
def test_a_model_that_is_not_there_is_named(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as refused:
        load_model(name)
    assert name in str(refused.value)


def test_a_directory_without_a_model_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(str(tmp_path))


def test_an_unknown_dtype_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match="fp32, bf16"):
        load_model("anything", dtype="fp8")


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Any) -> None:
    untouched("llama").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="tokenizer"):
        load_model(str(tmp_path), device="cpu")
