"""Ablation of single heads against an eager pass that masks the head alone; the copying head; resuming."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_influence.errors import HeadsError, ModelError
from attention_influence.heads import ablation, settling
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.attribution import attribute
from attention_influence.heads.detect import find_sentences, make_probes
from attention_influence.heads.head_set import HeadSet, load_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.passes.gates import gate_gradients
from attention_influence.tasks.items import Choices, Item, Question, tokenize
from heads.copying_model import COPYING, TEXT, copying_model
from model.two_passes import token_losses
from tiny_models import HEADS, tiny

PROMPT = "The keeper wrote the height"
ITEMS = [
    Item("given", PROMPT, " of the tide and the water."),
    Item("given", "The tide", " rose by the door."),
    Choices("chosen", PROMPT, (" of the tide", " 12", " of a pole that leans"), 2),
    Choices("chosen", "Which letter?", (" A", " B"), 1),
]


def questions(model: LanguageModel) -> dict[str, list[Question]]:
    tasks: dict[str, list[Question]] = {}
    for item in ITEMS:
        question = tokenize(item, model.tokens, 128)
        assert question is not None
        tasks.setdefault(item.task, []).append(question)
    return tasks


def answer_of(item: Item | Choices) -> str:
    return item.answer if isinstance(item, Item) else item.choices[item.right]


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma3_text", "gpt2", "olmo2"])
def test_scores_are_the_rise_of_the_answers_loss_in_an_eager_pass_with_the_head_masked(family: str) -> None:
    model, untouched = tiny(family)
    found = Ablation(model, questions(model), share=0.2).run()
    assert found.scores is not None
    assert found.standard_errors is not None
    first = [] if model.tokens.bos is None else [model.tokens.bos]

    def losses(masked: dict[int, list[int]]) -> list[float]:
        of_items = []
        for item in ITEMS:
            tokens = [*first, *model.tokens.encode([item.prompt + answer_of(item)])[0]]
            answer = len(tokens) - len(first) - len(model.tokens.encode([item.prompt])[0])
            of_items.append(token_losses(untouched, tokens, masked)[-answer:].mean().item())
        return of_items

    base = losses({})
    for layer, count in model.heads.items():
        for head in range(count):
            rise = np.array(losses({layer: [head]})) - base
            assert found.scores[layer][head] == pytest.approx(rise.mean(), abs=1e-5)
            error = rise.std(ddof=1) / len(ITEMS) ** 0.5
            assert found.standard_errors[layer][head] == pytest.approx(error, abs=1e-5)
    assert found.tasks["given"]["loss"] == pytest.approx(np.mean(base[:2]), abs=1e-5)
    assert found.tasks["chosen"]["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert len(found.heads) == 4


def test_the_copying_head_is_found_by_what_breaks_without_it_and_distractors_cost_nothing() -> None:
    model = copying_model()
    probes = make_probes(model, find_sentences(model, [TEXT], 0)[0], 200, seed=0)
    found = Ablation(model, {"retrieval": [next(probes).question() for _ in range(6)]}, share=0.25).run()
    # The head that copies leans on the one that looks one token back; without either there is no copying.
    assert set(found.heads) == {COPYING, (0, 0)}
    assert found.scores is not None
    assert all(found.scores[layer][head] > 1 for layer, head in found)
    others = [s for layer, row in enumerate(found.scores) for h, s in enumerate(row) if (layer, h) not in found.heads]
    assert max(abs(s or 0.0) for s in others) < 0.01
    assert found.tasks["retrieval"]["accuracy"] == pytest.approx(8 / 9)
    assert found.warnings() == []


class Killed(Exception):
    pass


def run_keeping(model: LanguageModel, file: str) -> HeadSet:
    return Ablation(model, questions(model), unfinished=file).run()


def killed_after(packs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Ablation._measure
    calls: list[int] = []

    def until(self: Ablation, *arguments: object) -> object:
        calls.append(1)
        if len(calls) > packs:
            raise Killed
        return measure(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Ablation, "_measure", until)


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "_BRANCH_TOKENS", {"cpu": 80})


@pytest.mark.usefixtures("small_packs")
def test_what_resumes_after_a_kill_equals_an_undisturbed_run_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama").model
    file = f"{tmp_path}/heads.json.unfinished"
    undisturbed = Ablation(model, questions(model)).run()
    assert len(Ablation(model, questions(model)).packs) > 2
    with monkeypatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(Killed):
            run_keeping(model, file)
    resumed = Ablation(model, questions(model), unfinished=file)
    before, seen = resumed.done, list[float]()
    assert 0 < before < resumed.work()
    assert resumed.run(advance=seen.append) == undisturbed
    assert Path(file).exists(), "until the result is written"
    resumed.forget()
    assert before + sum(seen) == pytest.approx(resumed.work())
    assert not Path(file).exists(), "a finished detection leaves nothing"


@pytest.mark.usefixtures("small_packs")
@pytest.mark.parametrize("change", ["items", "model", "seed", "torn", "cut"])
def test_what_another_detection_left_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    model = tiny("llama").model
    file = tmp_path / "heads.json.unfinished"
    with monkeypatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(Killed):
            run_keeping(model, str(file))
    tasks = questions(model)
    said = "another model, with other items or in another precision"
    if change == "items":
        tasks["given"].pop()
    elif change == "model":
        model = tiny("llama", seed=1).model
    elif change == "torn":
        file.write_bytes(file.read_bytes()[:100])
        said = "is not what an unfinished `detect` leaves"
    elif change == "cut":
        kept = dict(np.load(file))
        np.savez(file.with_suffix(".npz"), **kept | {"rows": np.concatenate([kept["rows"]] * 3)})
        file.with_suffix(".npz").rename(file)
        said = "breaks off within a pack"
    before = file.read_bytes()
    with pytest.raises(HeadsError, match=said):
        Ablation(model, tasks, seed=int(change == "seed"), unfinished=str(file))
    assert file.read_bytes() == before


def test_the_share_may_change_when_a_detection_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "_BRANCH_TOKENS", {"cpu": 80})
    model, file = tiny("llama").model, f"{tmp_path}/unfinished"
    with monkeypatch.context() as patch:
        killed_after(1, patch)
        with pytest.raises(Killed):
            run_keeping(model, file)
    assert len(Ablation(model, questions(model), unfinished=file, share=0.5).run()) == 8


@pytest.mark.usefixtures("small_packs")
def test_until_stable_stops_when_the_set_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_CHECK_EVERY", 1)
    model = tiny("llama").model
    many = {task: of_task * 10 for task, of_task in questions(model).items()}
    found = Ablation(model, many, share=0.1).run(until_stable=True)
    assert found.n_samples is not None
    assert 5 <= found.n_samples < 40


def test_a_pass_that_does_not_fit_the_memory_is_halved_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from attention_influence.model.passes.trunk import _CHECKED_TOKENS, Trunk

    model = tiny("llama").model
    expected = Ablation(model, questions(model)).run()
    branch = Trunk.branch

    def of_little_memory(most: int) -> Callable[..., object]:
        def limited(self: Trunk, layer: int, heads: list[list[int]]) -> object:
            is_pack = self.output.last_hidden_state.shape[1] > _CHECKED_TOKENS
            if is_pack and len(heads) > most:
                raise MemoryError
            return branch(self, layer, heads)

        return limited

    monkeypatch.setattr(Trunk, "branch", of_little_memory(1))
    found = Ablation(model, questions(model)).run()
    np.testing.assert_allclose(np.array(found.scores), np.array(expected.scores), rtol=0, atol=2e-6)
    monkeypatch.setattr(Trunk, "branch", of_little_memory(0))
    with pytest.raises(ModelError, match="too little memory for a pass of"):
        Ablation(model, questions(model)).run()


def test_layers_without_attention_have_no_score_and_the_set_is_written_and_read_back(tmp_path: Path) -> None:
    model = tiny("lfm2").model
    found = Ablation(model, questions(model), share=1.0).run()
    assert found.scores is not None
    assert [[s is None for s in row] for row in found.scores] == [[True] * HEADS, [False] * HEADS] * 2
    found.save(tmp_path / "heads.json")
    assert load_heads(tmp_path / "heads.json") == found


def test_no_items_and_an_impossible_share_are_refused() -> None:
    model = tiny("llama").model
    with pytest.raises(HeadsError, match="no item to find heads with"):
        Ablation(model, {"empty": []})
    with pytest.raises(HeadsError, match="0 < share"):
        Ablation(model, questions(model), share=0.0)


def of_scores(
    scores: list[float], errors: list[float], heads: int = 1, tasks: dict[str, dict[str, float | None]] | None = None
) -> HeadSet:
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return HeadSet(
        tuple((0, head) for head in order[:heads]),
        method="ablation",
        n_samples=20,
        tasks=tasks or {"easy": about(0.9)},
        scores=[list(scores)],
        standard_errors=[list(errors)],
    )


def about(accuracy: float | None, chance: float | None = None, items: int = 40) -> dict[str, float | None]:
    return {"items": items, "accuracy": accuracy, "chance": chance, "loss": 1.0}


def test_what_speaks_against_heads_found_by_ablation_is_said() -> None:
    clear = of_scores([0.5, 0.01, 0.0], [0.05, 0.01, 0.01])
    assert clear.warnings() == []
    assert "no head stands out of the noise of 20 items" in of_scores([0.015, 0.01], [0.01, 0.01]).warnings()[0]
    assert (
        "1 of the 2 chosen heads raise the loss by no more than noise"
        in (of_scores([0.5, 0.01, 0.0], [0.05, 0.01, 0.01], heads=2).warnings()[0])
    )
    guessed = of_scores([0.5, 0.0], [0.05, 0.01], tasks={"mmlu": about(0.3, 0.25), "hard": about(0.0)}).warnings()
    assert "mmlu: the model picks the right choice of 30% of 40 items, no more than by guessing" in guessed[0]
    assert "hard: the model predicts no answer token of 40 items right" in guessed[1]
    known = of_scores([0.5, 0.0], [0.05, 0.01], tasks={"easy": about(0.6, 0.25), "given": about(0.1)})
    assert known.warnings() == []
    assert "no item of rare was measured" in of_scores([0.5], [0.05], tasks={"rare": about(None)}).warnings()[0]


def test_attribution_measures_the_heads_of_the_largest_estimates_of_either_sign_and_chooses_among_them() -> None:
    model = tiny("llama").model
    exact = Ablation(model, questions(model), share=0.1).run()
    found = Ablation(model, questions(model), share=0.1, steps=1).run()
    estimate_H = attribute(model, [q for of_task in questions(model).values() for q in of_task]).mean(0)
    heads = [(layer, head) for layer, count in model.heads.items() for head in range(count)]
    best = [heads[h] for h in np.argsort(-np.abs(estimate_H))[:6]]
    assert (found.method, len(found)) == ("attribution", 2)
    assert sorted(map(tuple, found.parameters["measured"])) == sorted(best)
    assert found.scores is not None
    assert exact.scores is not None
    for (layer, head), estimate in zip(heads, estimate_H, strict=True):
        expected = exact.scores[layer][head] if (layer, head) in best else estimate
        assert found.scores[layer][head] == pytest.approx(expected, abs=2e-6)
    assert list(found.heads) == sorted(best, key=lambda at: -(exact.scores[at[0]][at[1]] or 0.0))[:2]


@pytest.mark.parametrize("steps", [1, 3])
def test_an_estimate_is_the_mean_derivative_along_the_path_of_the_answers_mean_loss(steps: int) -> None:
    model = tiny("qwen3").model
    every = [q for of_task in questions(model).values() for q in of_task]
    gates = [1.0] if steps == 1 else [5 / 6, 1 / 2, 1 / 6]
    together = attribute(model, every, steps)
    assert together.shape == (len(ITEMS), sum(model.heads.values()))
    for question, estimate_H in zip(every, together, strict=True):
        (reading,) = question.right_answer().readings
        weight = torch.full((len(reading.at),), 1 / len(reading.at))
        at, target = torch.tensor(reading.at), torch.tensor(reading.targets)
        by_gate = [gate_gradients(model, [reading.tokens], at, target, weight, gate) for gate in gates]
        expected = -sum(torch.cat([of[layer] for layer in model.heads], 1)[0] for of in by_gate) / steps
        np.testing.assert_allclose(estimate_H, expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attribute(model, every, steps, packing=False), together, rtol=1e-4, atol=1e-5)
