"""Ordinary calls of a network with masked heads: padded batches, caches, generation; against whole single passes."""

import copy
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from attention_influence import Scorer, masked_network
from attention_influence.errors import HeadsError, ModelError
from attention_influence.model.masked_network import check_masked_network
from model.two_passes import run
from tiny_models import random_tokens, tiny

HEADS = [(0, 1), (1, 3), (1, 2), (3, 0)]
BY_LAYER = {0: [1], 1: [3, 2], 3: [0]}
DOCUMENTS = [random_tokens(length, seed=length) for length in (41, 7, 1, 58)]
# Grouped queries in all but gpt2; sliding windows of 16 in mistral, gemma3 and cohere2; chunks of 16 in llama4.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma3_text": {},
    "gpt2": {},
    "mistral": {},
    "cohere2": {},
    "llama4_text": {"attention_chunk_size": 16},
}


def padded(documents: Sequence[Sequence[int]], side: str) -> dict[str, Tensor]:
    """A batch as a tokenizer pads it; padding is a token that the documents also have."""
    longest = max(map(len, documents))
    rows = []
    for tokens in documents:
        padding, seen = [7] * (longest - len(tokens)), [1] * len(tokens)
        unseen = [0] * len(padding)
        rows.append((padding + list(tokens), unseen + seen) if side == "left" else ([*tokens, *padding], seen + unseen))
    mask = torch.tensor([mask for _, mask in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": torch.tensor([ids for ids, _ in rows]), "attention_mask": mask, "position_ids": positions}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_documents_of_a_padded_batch_are_each_as_if_alone(family: str, side: str) -> None:
    made = tiny(family, **FAMILIES[family])
    batch = padded(DOCUMENTS, side)
    with masked_network(made.model, HEADS) as network:
        logits = network(**batch, use_cache=False).logits
    assert logits.isfinite().all()
    for row, seen, tokens in zip(logits, batch["attention_mask"].bool(), DOCUMENTS, strict=True):
        close(row[seen], run(made.untouched, tokens, BY_LAYER).logits[0])


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_generation_with_a_cache_is_generation_without_one_document_by_document(family: str) -> None:
    # With its embeddings as LM head a random model repeats its last token.
    made = tiny(family, **FAMILIES[family], tie_word_embeddings=False)
    batch = padded(DOCUMENTS, "left")
    del batch["position_ids"]
    with masked_network(made.model, HEADS) as network:
        asked = {"max_new_tokens": 24, "min_new_tokens": 24, "do_sample": False, "pad_token_id": 7}
        cached = network.generate(**batch, **asked, use_cache=True)[:, len(batch["input_ids"][0]) :].tolist()
    with masked_network(made.model, []) as network:
        assert network.generate(**batch, **asked)[:, len(batch["input_ids"][0]) :].tolist() != cached
    for found, tokens in zip(cached, DOCUMENTS, strict=True):
        so_far = list(tokens)
        for _ in range(24):
            logits = run(made.untouched, so_far, BY_LAYER).logits[0, -1]
            logits[1] = -torch.inf  # min_new_tokens forbids the end of the text
            so_far.append(int(logits.argmax()))
        assert found == so_far[len(tokens) :]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_with_no_head_masked_it_is_transformers_own(family: str) -> None:
    made = tiny(family, **FAMILIES[family])
    made.untouched.set_attn_implementation("sdpa")
    for side in ("left", "right"):
        batch = padded(DOCUMENTS, side)
        with masked_network(made.model, []) as network:
            assert torch.equal(network(**batch).logits, made.untouched(**batch).logits)


@torch.no_grad()
def test_a_continuation_of_several_tokens_sees_the_cached_keys() -> None:
    made = tiny("gemma3_text")
    tokens = DOCUMENTS[0]
    with masked_network(made.model, HEADS) as network:
        first = network(input_ids=torch.tensor([tokens[:20]]), use_cache=True)
        rest = network(input_ids=torch.tensor([tokens[20:]]), past_key_values=first.past_key_values, use_cache=True)
    whole = run(made.untouched, tokens, BY_LAYER).logits[0]
    close(torch.cat([first.logits[0], rest.logits[0]]), whole)


@pytest.mark.parametrize("family", ["llama", "mistral"])
@torch.no_grad()
def test_in_16_bits_a_masked_head_is_as_exact_as_an_unmasked_one(family: str) -> None:
    made = tiny(family, dtype=torch.bfloat16)
    expected = run(made.untouched.float(), DOCUMENTS[0], BY_LAYER).logits[0]
    with masked_network(made.model, HEADS) as network:
        found = network(input_ids=torch.tensor([DOCUMENTS[0]])).logits[0].float()
    assert (found - expected).abs().mean() < 0.05 * expected.std()


@torch.no_grad()
def test_masks_hold_in_other_threads_and_end_with_the_context() -> None:
    made = tiny("llama")
    tokens = torch.tensor([DOCUMENTS[0]])
    found = []
    with masked_network(made.model, HEADS) as network:
        thread = threading.Thread(target=lambda: found.append(torch.no_grad()(network)(input_ids=tokens).logits[0]))
        thread.start()
        thread.join()
    close(found[0], run(made.untouched, DOCUMENTS[0], BY_LAYER).logits[0])
    with masked_network(made.model, []) as network:
        close(network(input_ids=tokens).logits[0], run(made.untouched, DOCUMENTS[0], {}).logits[0])
    with pytest.raises(ModelError, match="prepared for scoring"):
        network(input_ids=tokens)


def test_scoring_is_as_before_after_the_context_and_refused_inside_it() -> None:
    model = tiny("llama").model
    scorer = Scorer(model, HEADS)
    text = "The tide reached the door of the tower, and the keeper wrote it into the notebook."
    (before,) = scorer.score([text])
    with masked_network(model, HEADS), pytest.raises(ModelError, match="scoring inside `masked_network`"):
        scorer.score([text])
    assert scorer.score([text]) == [before]


def test_what_would_go_unmasked_is_refused() -> None:
    model = tiny("llama").model
    with masked_network(model, HEADS) as network, pytest.raises(ModelError, match="was copied"):
        copy.deepcopy(network)(input_ids=torch.tensor([[5, 6]]))
    for heads, said in (([(9, 0)], "no attention there"), ([(1, 4)], "layer 1 has 4 heads"), ([(0, -1)], "head -1")):
        with pytest.raises(HeadsError, match=said), masked_network(model, heads):
            pass
    with masked_network(model, HEADS) as network, pytest.raises(ModelError, match="position_bias"):
        network.model.layers[0].self_attn(
            torch.zeros(1, 2, 32), (torch.ones(1, 2, 8), torch.zeros(1, 2, 8)), None, position_bias=torch.zeros(2, 2)
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["gemma3_text", "gpt2", "lfm2"])
def test_the_check_on_a_users_own_model_lets_right_ones_pass(family: str, dtype: torch.dtype) -> None:
    model = tiny(family, dtype=dtype).model
    check_masked_network(model, [(layer, 1) for layer in model.heads])


def test_the_check_refuses_masks_and_caches_that_are_not_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "attention_influence.model.masked_network.sdpa_attention_forward"

    def without_the_first_key(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, *others: Any) -> Any:
        if key.shape[2] > query.shape[2]:
            key, value = key[:, :, 1:], value[:, :, 1:]
        return sdpa_attention_forward(module, query, key, value, mask, *others)

    def without_masking(module: Any, query: Tensor, *others: Any) -> Any:
        return sdpa_attention_forward(module, query + 1, *others)

    for broken, said in ((without_the_first_key, "after cached keys"), (without_masking, "alone in its row")):
        monkeypatch.setattr(place, broken)
        with pytest.raises(ModelError, match=said):
            check_masked_network(tiny("llama").model, HEADS)
