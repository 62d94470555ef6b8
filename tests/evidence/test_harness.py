"""The harness itself on a tiny model with masked heads, against whole passes of transformers document by document."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[lm-eval]'")

from attention_influence import masked_network
from attention_influence.errors import AttentionInfluenceError, ModelError, UsageError
from attention_influence.evidence.harness import Harness
from attention_influence.evidence.metrics import Evaluation
from evidence.task_files import write_task
from model.two_passes import run, token_losses
from tiny_models import Tiny, tiny

BY_LAYER = {0: [1], 1: [0, 1, 2, 3], 2: [2], 3: [0, 1]}
HEADS = [(layer, head) for layer, heads in BY_LAYER.items() for head in heads]
PROMPTS = [
    "The keeper wrote",
    "The water reached the door of the tower where the keeper lived, and the notebook was kept. It was",
    "It",
    "The tide",
    "the ninth of October, and the notebook of the lighthouse",
]
CHOICES = [" the height of the tide", " October", " into the notebook, and"]
NEW_TOKENS = 6
EXAMPLES = Path(__file__).parents[2] / "examples" / "lm-eval"


@pytest.fixture(scope="module", params=["llama", "gemma3_text"])
def made(request: pytest.FixtureRequest) -> Tiny:
    # With its embeddings as LM head a random model repeats its last token.
    return tiny(request.param, tie_word_embeddings=False)


def evaluate(made: Tiny, folder: Path, name: str, heads: Sequence[tuple[int, int]]) -> Evaluation:
    harness = Harness([str(folder / f"{name}.yaml")])
    with masked_network(made.model, heads) as network:
        return harness.run(network, made.model.tokenizer, "testing", batch_size=3)


@pytest.mark.parametrize("masked", [{}, BY_LAYER], ids=["none", "masked"])
def test_choices_are_those_of_lowest_loss_document_by_document(
    made: Tiny, masked: dict[int, list[int]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens = made.model.tokens
    picked = []
    for prompt in PROMPTS:
        losses = []
        for choice in CHOICES:
            of_prompt, whole = (
                [tokens.bos, *tokens.encode([prompt])[0]],
                [tokens.bos, *tokens.encode([prompt + choice])[0]],
            )
            assert whole[: len(of_prompt)] == of_prompt
            losses.append(float(token_losses(made.untouched, whole, masked)[len(of_prompt) - 1 :].sum()))
        picked.append(losses.index(min(losses)))
    # The right answer is sometimes what the model picks, and sometimes another one.
    right = [(pick + (i % 2)) % len(CHOICES) for i, pick in enumerate(picked)]
    items = [{"prompt": p, "choices": CHOICES, "answer": answer} for p, answer in zip(PROMPTS, right, strict=True)]
    settings = {"doc_to_choice": "choices", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}]}
    write_task(tmp_path, "choices", items, output_type="multiple_choice", **settings)
    capfd.readouterr()
    found = evaluate(made, tmp_path, "choices", HEADS if masked else [])
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    acc = found["choices", "acc"]
    assert acc.items is not None
    assert acc.items.tolist() == [1, 0, 1, 0, 1]
    assert acc.value == pytest.approx(0.6)
    assert acc.higher_is_better


def test_what_is_generated_is_what_whole_passes_without_a_cache_give(made: Tiny, tmp_path: Path) -> None:
    tokens, items = made.model.tokens, []
    for prompt in PROMPTS:
        ids = [tokens.bos, *tokens.encode([prompt])[0]]
        before = len(ids)
        for _ in range(NEW_TOKENS):
            with torch.no_grad():
                ids.append(int(run(made.untouched, ids, BY_LAYER).logits[0, -1].argmax()))
        items.append({"prompt": prompt, "answer": made.model.tokenizer.decode(ids[before:], skip_special_tokens=True)})
    write_task(
        tmp_path,
        "generate",
        items,
        output_type="generate_until",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n\n\n"], "max_gen_toks": NEW_TOKENS},
        metric_list=[{"metric": "exact_match"}],
    )
    assert evaluate(made, tmp_path, "generate", HEADS)["generate", "exact_match"].value == 1
    assert evaluate(made, tmp_path, "generate", [])["generate", "exact_match"].value < 1


def test_a_metric_after_several_filters_is_named_by_them_and_a_perplexity_has_no_items(
    made: Tiny, tmp_path: Path
) -> None:
    filters = [
        {"name": name, "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]}
        for name, pattern in (("digits", "([0-9]+)"), ("words", "([a-z]+)"))
    ]
    settings = {"doc_to_target": "{{answer}}", "generation_kwargs": {"until": ["\n"], "max_gen_toks": 2}}
    answers = [{"prompt": prompt, "answer": "x"} for prompt in PROMPTS]
    write_task(
        tmp_path,
        "filtered",
        answers,
        output_type="generate_until",
        filter_list=filters,
        metric_list=[{"metric": "exact_match"}],
        **settings,
    )
    found = evaluate(made, tmp_path, "filtered", [])
    assert set(found) == {("filtered", "exact_match,digits"), ("filtered", "exact_match,words")}
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "prompt"}
    write_task(tmp_path, "rolling", answers, metric_list=[{"metric": "byte_perplexity"}], **rolling)
    perplexity = evaluate(made, tmp_path, "rolling", [])["rolling", "byte_perplexity"]
    assert perplexity.items is None
    assert not perplexity.higher_is_better
    assert perplexity.value > 1


def test_the_examples_tasks_take_items_as_validate_does(
    made: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = [{"prompt": prompt, "choices": CHOICES, "answer": 1} for prompt in PROMPTS]
    copying = [{"prompt": prompt, "answer": " x"} for prompt in PROMPTS]
    for file, items in (("hellaswag.jsonl", choices), ("copying.jsonl", copying)):
        (tmp_path / file).write_text("".join(json.dumps(item) + "\n" for item in items))
    monkeypatch.chdir(tmp_path)
    harness = Harness(["items_choices", "items_generate"], [str(EXAMPLES)])
    with masked_network(made.model, []) as network:
        found = harness.run(network, made.model.tokenizer, "testing", batch_size=5, limit=2)
    names = ("items_choices", "acc"), ("items_choices", "acc_norm"), ("items_generate", "exact_match")
    assert set(found) == set(names)
    for name in names:
        items = found[name].items
        assert items is not None
        assert len(items) == 2


def test_a_task_that_fails_at_its_items_is_one_error(
    made: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer"}
    good = {"prompt": "a", "choices": [" b", " c"], "answer": 1}
    write_task(tmp_path, "numbered", [good, good | {"choices": []}], **settings)
    with pytest.raises(AttentionInfluenceError, match="the harness stopped: ValueError: "):
        evaluate(made, tmp_path, "numbered", [])
    write_task(tmp_path, "large", [good], **settings)

    def no_memory(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made.model.network, "forward", no_memory)
    with pytest.raises(ModelError, match="lower --batch-size"):
        evaluate(made, tmp_path, "large", [])


@pytest.mark.slow
def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task 'hellaswagg'; did you mean 'hellaswag'"):
        Harness(["hellaswagg"])
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        Harness(["hellaswag"], [str(tmp_path / "nowhere")])
    write_task(tmp_path, "broken", [{"prompt": "a"}], output_type="multiple_choice")
    (tmp_path / "broken.jsonl").unlink()
    with pytest.raises(UsageError, match=r"the harness cannot load .*broken"):
        Harness([str(tmp_path / "broken.yaml")])
