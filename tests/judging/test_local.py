"""A local model as judge: its probabilities are those of the plain network on the same text."""

import asyncio
import json
from pathlib import Path

import pytest
import torch

from attention_influence.errors import ModelError
from attention_influence.judging.local import LocalJudge
from attention_influence.judging.prompt import QUESTIONS, Prompt, prompt_for
from attention_influence.judging.verdicts import Verdict
from cli.conftest import Cli, cli
from selection.store_files import scored_store
from tiny_models import Tiny, save_tiny, tiny

__all__ = ["cli"]

CONTEXT = 4096


@pytest.fixture(scope="module")
def model() -> Tiny:
    return tiny("llama", max_position_embeddings=CONTEXT)


def ask(model: Tiny, prompt: Prompt) -> Verdict:
    return asyncio.run(LocalJudge(model.model).ask(prompt))


@torch.inference_mode()
def log_p(model: Tiny, text: str, answer: str) -> float:
    """Of the answer's tokens after the text, by transformers alone."""
    tokens = model.model.tokens
    start = 1 + len(tokens.encode([text])[0])
    ids = torch.tensor([[tokens.bos, *tokens.encode([text + answer])[0]]])
    log_probabilities = model.untouched(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
    return float(sum(log_probabilities[place - 1, ids[0, place]] for place in range(start, ids.shape[1])))


@pytest.mark.parametrize("first", QUESTIONS)
def test_probabilities_are_those_of_either_answer_after_the_same_text(model: Tiny, first) -> None:
    prompt = prompt_for("The height of the tide was written into the notebook.", first)
    verdict = ask(model, prompt)
    assert (verdict.outcome, verdict.first, verdict.shortened) == ("answered", first, False)
    text = f"{prompt.system}\n\n{prompt.user}\n\n{{"
    for question in prompt.order:
        text += f'"{question}":'
        difference = log_p(model, text, " true") - log_p(model, text, " false")
        assert verdict.probabilities[question] == pytest.approx(
            1 / (1 + torch.tensor(-difference).exp().item()), rel=1e-4
        )
        assert verdict.answers[question] == (difference > 0)
        text += " true, " if difference > 0 else " false, "


def test_a_document_beyond_the_context_is_shortened(model: Tiny) -> None:
    verdict = ask(model, prompt_for("tide " * CONTEXT, "reasoning"))
    assert verdict.shortened
    assert verdict.answers is not None
    with pytest.raises(ModelError, match="the questions alone take"):
        ask(tiny("llama", max_position_embeddings=128), prompt_for("tide", "reasoning"))


def test_the_table_is_filled_offline(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "corpus").mkdir()
    rows = [{"text": f"The tide at noon was {n}"} for n in range(12)]
    (tmp_path / "corpus" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = scored_store(tmp_path / "scores", tmp_path / "corpus")
    save_tiny(tmp_path / "model", "llama", max_position_embeddings=CONTEXT)
    out = tmp_path / "judge.json"
    given = ("judge", store, "--model", tmp_path / "model", "--dtype", "fp32", "--top", 0.5, "--out", out)
    said = cli(*given)
    assert said.code == 0, said.err
    assert "mean P(true)" in said.out
    assert "a small model or one without instruction tuning hardly follows the questions" in said.out
    data = json.loads(out.read_text())
    assert data["judge"]["kind"] == "local"
    assert data["outcomes"]["answered"] == data["cost"]["requests"] == len(data["documents"])
    again = cli(*given)
    assert "judging takes 0 requests" in again.err
    assert json.loads(out.read_text())["shares"] == data["shares"]
    assert cli(*given, "--judge-model", "x").code == 2
