"""Sets of heads grown by their joint effect, against brute force with eager passes; resuming."""

from pathlib import Path

import numpy as np
import pytest

from attention_influence.errors import HeadsError
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.detect_for import detect_heads_for
from attention_influence.heads.greedy import Greedy
from attention_influence.heads.head_set import Head, HeadSet
from heads.test_ablation import ITEMS, Killed, answer_of, killed_after, questions, small_packs
from model.two_passes import token_losses
from tiny_models import tiny

__all__ = ["small_packs"]

SHARE, ROUNDS = 0.35, 3


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma3_text", "gpt2"])
def test_heads_are_those_that_a_loop_of_eager_passes_adds(family: str) -> None:
    model, untouched = tiny(family)
    ablation = Ablation(model, questions(model), share=SHARE)
    found = Greedy(ablation, ROUNDS).run()
    first = [] if model.tokens.bos is None else [model.tokens.bos]

    def loss(masked: list[Head]) -> float:
        of_items = []
        for item in ITEMS:
            tokens = [*first, *model.tokens.encode([item.prompt + answer_of(item)])[0]]
            answer = len(tokens) - len(first) - len(model.tokens.encode([item.prompt])[0])
            by_layer = HeadSet(tuple(masked)).by_layer()
            of_items.append(token_losses(untouched, tokens, by_layer)[-answer:].mean().item())
        return float(np.mean(of_items))

    assert found.scores is not None
    chosen: list[Head] = []
    for part in np.array_split(range(ablation.count), ROUNDS):
        before = loss(chosen)
        rises = {head: loss([*chosen, head]) - before for head in ablation.heads if head not in chosen}
        added = found.heads[len(chosen) : len(chosen) + len(part)]
        expected = sorted(rises, key=lambda head: -rises[head])[: len(part)]
        assert set(added) == set(expected)
        for layer, head in added:
            assert found.scores[layer][head] == pytest.approx(rises[layer, head], abs=1e-5)
        chosen += added
    assert len(chosen) == len(found.heads) == ablation.count
    assert found.parameters["together"][0] == pytest.approx(loss(chosen) - loss([]), abs=1e-5)
    single = [(layer, head) for layer, head in found.parameters["single"]]
    assert found.parameters["single_together"][0] == pytest.approx(loss(single) - loss([]), abs=1e-5)


def test_one_round_is_the_ablation() -> None:
    model = tiny("llama").model
    alone = Ablation(model, questions(model), share=SHARE).run()
    found = Greedy(Ablation(model, questions(model), share=SHARE), 1).run()
    assert (found.heads, found.scores) == (alone.heads, alone.scores)
    assert found.parameters["together"] == found.parameters["single_together"]


@pytest.mark.usefixtures("small_packs")
def test_a_kill_in_a_later_round_costs_no_more_than_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama").model
    file = f"{tmp_path}/heads.json.unfinished"
    undisturbed = Greedy(Ablation(model, questions(model), share=SHARE), ROUNDS).run()
    packs = len(Ablation(model, questions(model)).packs)
    with monkeypatch.context() as patch:
        killed_after(packs + 2, patch)
        with pytest.raises(Killed):
            Greedy(Ablation(model, questions(model), share=SHARE, unfinished=file), ROUNDS).run()
    seen: list[float] = []
    resumed = Greedy(Ablation(model, questions(model), share=SHARE, unfinished=file), ROUNDS)
    assert resumed.done == resumed.work() / ROUNDS
    assert resumed.run(advance=seen.append) == undisturbed
    assert resumed.done + sum(seen) == pytest.approx(resumed.work())
    assert len(list(tmp_path.iterdir())) == ROUNDS
    resumed.forget()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rounds", [0, 100])
def test_an_impossible_number_of_rounds_is_refused(rounds: int) -> None:
    model = tiny("llama").model
    with pytest.raises(HeadsError, match=f"{rounds} rounds for 6 heads; need 1 to 6"):
        Greedy(Ablation(model, questions(model), share=SHARE), rounds)


def test_items_alone_give_the_heads_that_they_need() -> None:
    model = tiny("llama").model
    found = detect_heads_for(model, ITEMS, share=SHARE, rounds=ROUNDS)
    assert found == Greedy(Ablation(model, questions(model), share=SHARE), ROUNDS).run()
    assert detect_heads_for(model, ITEMS, share=SHARE).method == "ablation"


def test_items_that_do_not_fit_are_said() -> None:
    model = tiny("llama").model
    with pytest.raises(HeadsError, match="no item fits into 4 tokens: 2 items of given do not fit"):
        detect_heads_for(model, ITEMS[:2], context=4)
    with pytest.raises(HeadsError, match="none given"):
        detect_heads_for(model, [])
