"""Answers with heads masked, against whole passes of transformers' own code; and what a copying model loses."""

import pytest
import torch

from attention_influence.evidence.answers import answers
from attention_influence.evidence.documents import of_document
from attention_influence.evidence.masking import conditions
from attention_influence.evidence.validity import TaskResult, validate_heads
from attention_influence.heads.detect import find_sentences, make_probes
from attention_influence.model.language_model import LanguageModel
from attention_influence.scoring.scorer import Scorer
from attention_influence.tasks.items import Choices, Item, Question, tokenize
from heads.copying_model import COPYING, TEXT, copying_model
from model.two_passes import run, token_losses
from tiny_models import tiny

PROMPT = "The keeper wrote the height"
CHOICES = (" of the tide", " of the", " of the water and the door", " 12")
SETS = [{1: [0, 2]}, {0: [1], 3: [3]}, {2: [0, 1, 2, 3]}]


def question(item: Item | Choices, model: LanguageModel) -> Question:
    found = tokenize(item, model.tokens, 200)
    assert found is not None
    return found


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("pack_tokens", [0, 120])
def test_losses_and_accuracies_are_those_of_whole_passes_with_each_set_of_heads(bos: bool, pack_tokens: int) -> None:
    model, untouched = tiny("llama", bos=bos)
    items = [Item("a", PROMPT, CHOICES[0]), *(Choices("b", PROMPT, CHOICES, right, right < 2) for right in range(4))]
    losses, accuracies = answers(model, [question(item, model) for item in items], SETS, pack_tokens)
    first = [model.tokens.bos] if bos else []
    prompt = len(first) + len(model.tokens.encode([PROMPT])[0])
    for row, masked in enumerate([{}, *SETS]):
        whole = [(*first, *model.tokens.encode([PROMPT + choice])[0]) for choice in CHOICES]
        of_answers = [token_losses(untouched, tokens, masked)[prompt - 1 :] for tokens in whole]
        guesses = run(untouched, whole[0], masked).logits[0, prompt - 1 : -1].argmax(-1)
        assert losses[row, 0] == pytest.approx(of_answers[0].mean().item(), abs=1e-5)
        assert accuracies[row, 0] == (guesses == torch.tensor(whole[0][prompt:])).double().mean().item()
        for right in range(4):
            by_length = right < 2
            best = min(range(4), key=lambda i, mean=by_length: of_answers[i].mean() if mean else of_answers[i].sum())
            assert losses[row, 1 + right] == pytest.approx(of_answers[right].mean().item(), abs=1e-5)
            assert accuracies[row, 1 + right] == (best == right)


def test_a_document_longer_than_the_context_is_read_in_windows_and_every_token_counts() -> None:
    model, untouched = tiny("llama")
    found = of_document("The keeper wrote the height of the tide. " * 6, model.tokens, 40)
    assert found is not None
    assert len(found.readings) > 1
    loss = answers(model, [found], SETS[:1], 4096)[0]
    tokens = [(*reading.tokens, reading.targets[-1]) for reading in found.readings]
    for row, masked in enumerate([{}, SETS[0]]):
        expected = torch.cat([token_losses(untouched, window, masked) for window in tokens]).mean().item()
        assert loss[row, 0] == pytest.approx(expected, abs=1e-5)


def test_the_copying_model_loses_retrieval_without_its_copying_head_only() -> None:
    model = copying_model()
    probes = make_probes(model, find_sentences(model, [TEXT], 7)[0], 200, seed=7)
    scorer = Scorer(model, [COPYING], window=200)
    masked, _ = conditions(model.heads, [COPYING], 2, seed=3)
    # The head that copies leans on the one that looks one token back; masking that one breaks it, too.
    masked = [one for one in masked if (0, 0) not in one.heads]
    assert {one.kind for one in masked} == {"chosen", "random", "matched"}
    found = validate_heads(scorer, masked, {"retrieval": [next(probes).question() for _ in range(10)]}, seed=0)[0]
    assert isinstance(found, TaskResult)
    assert found.accuracy > 0.8
    assert found.accuracy_changes["chosen"].worse > 0.5
    assert found.accuracy_changes["matched"].worse == pytest.approx(0, abs=0.01)
    assert found.accuracy_changes["random"].worse == pytest.approx(0, abs=0.01)
    assert found.loss_excess.verdict == "leans on these heads"
