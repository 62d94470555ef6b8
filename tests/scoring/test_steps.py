"""Steps partition a text, and their rises add up to the document's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence import Scorer
from attention_influence.errors import UsageError
from attention_influence.scoring.steps import in_steps, step_ends, step_rule
from scoring.tiny import CONTEXT, FAMILIES, HEADS, text, tiny

TEXTS = st.text(st.sampled_from("ab1.?!。！ \t\n\r\u2028\"')é茶\U0001f600<>"), max_size=60)
RULES = st.lists(st.sampled_from(["sentence", "line", "\n\n", "<>", ".", "é"]), min_size=1, max_size=3)


def parts(document: str, *rule: str) -> list[str]:
    ends = step_ends(document, rule)
    return [document[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(TEXTS, RULES)
def test_steps_partition_any_text_and_none_is_empty_or_white_space_alone(document: str, rule: list[str]) -> None:
    steps = parts(document, *rule)
    assert "".join(steps) == document
    assert all(steps)
    if not document.isspace():
        assert not any(step.isspace() for step in steps)
        if document:
            assert steps == parts(document, *reversed(rule))


@given(TEXTS)
def test_every_mark_and_every_line_ends_a_step(document: str) -> None:
    assert all("<>" not in step.rstrip()[:-1] or step.rstrip().endswith("<>") for step in parts(document, "<>"))
    assert len(parts(document, "<>")) <= document.count("<>") + 1
    lines = [line for line in document.splitlines() if line.strip()]
    assert len(parts(document, "line")) == max(len(lines), bool(document))


@pytest.mark.parametrize(
    ("document", "rule", "expected"),
    [
        ("One. Two?  Three!", ["sentence"], ["One.", " Two?", "  Three!"]),
        ("It is 3.5, e.g. this. So.", ["sentence"], ["It is 3.5, e.g. this.", " So."]),
        ("1. First.\n 2. Next.", ["sentence"], ["1. First.\n", " 2. Next."]),
        ('He said "No." Then (so.) left?! Yes', ["sentence"], ['He said "No."', " Then (so.) left?!", " Yes"]),
        ("雨です。晴れ！「はい。」終", ["sentence"], ["雨です。", "晴れ！", "「はい。」", "終"]),
        ("a line\nof prose. And", ["sentence"], ["a line\n", "of prose.", " And"]),
        ("a\r\n\r\nb\rc\n", ["line"], ["a\r\n\r\n", "b\r", "c\n"]),
        ("\n \na\n", ["line"], ["\n \na\n"]),
        ("a\n\n\nb\nc", ["\n\n"], ["a\n\n", "\nb\nc"]),
        ("a<s>b<s><s>", ["<s>"], ["a<s>", "b<s>", "<s>"]),
        ("Q? A: so. Yes", ["sentence", "A:"], ["Q?", " A:", " so.", " Yes"]),
        ("a.*b", [".*"], ["a.*", "b"]),
        (" \n", ["line"], [" \n"]),
        ("", ["line"], []),
    ],
)
def test_where_steps_end(document: str, rule: list[str], expected: list[str]) -> None:
    assert parts(document, *rule) == expected


@pytest.mark.parametrize(
    "document", ["." * 10**5 + "x", '."' * 10**5, "\n" * 10**5, (" " * 10**4 + "1.") * 10, "1." * 10**5]
)
def test_time_grows_with_the_length_of_the_text_alone(document: str) -> None:
    """What grew with its square took minutes."""
    assert "".join(parts(document, "sentence")) == document


@pytest.mark.parametrize("steps", ["", [], ["line", ""], [3]])
def test_what_cannot_end_a_step_is_refused(steps: object) -> None:
    with pytest.raises(UsageError, match="give 'sentence', 'line'"):
        step_rule("step", steps)  # type: ignore[arg-type]
    assert step_rule("document", "sentence") == ()
    with pytest.raises(UsageError, match="one of document, step"):
        step_rule("steps", "line")


def test_a_token_belongs_to_the_step_of_its_first_character() -> None:
    made = in_steps("ab.\ncd", ("line",), np.array([0, 3, 4, 6]))
    assert made.ends == [4, 6]
    assert made.step_of.tolist() == [0, 0, 1, 1]
    losses = np.array([np.nan, 1.0, 2.0, 4.0], dtype=np.float32)
    assert [(step.n_scored, step.rise) for step in made.steps(losses, 2 * losses)] == [(1, 1.0), (2, 3.0)]
    only = in_steps("a\nb", ("line",), np.array([0, 2]))
    assert only.steps(losses[:2], losses[:2])[0] == (0, 2, 0, None)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [5, CONTEXT - 1, 3 * CONTEXT + 7])
def test_rises_weighted_by_tokens_add_up_to_the_documents(family: str, bos: bool, length: int) -> None:
    scorer = Scorer(tiny(family, bos).model, HEADS)
    documents = [text(length, seed=length), f"Réné 茶. {text(length)}"]
    for document, score, plain in zip(
        documents, scorer.score(documents, granularity="step"), scorer.score(documents), strict=True
    ):
        assert score.steps is not None
        assert "".join(document[step.start : step.end] for step in score.steps) == document
        assert sum(step.n_scored for step in score.steps) == score.n_scored
        total = sum(step.n_scored * step.rise for step in score.steps if step.rise is not None)
        assert total == pytest.approx(score.n_scored * (score.loss_ref - score.loss_base), abs=1e-9)
        assert (score.loss_base, score.loss_ref, score.n_windows) == (plain.loss_base, plain.loss_ref, plain.n_windows)
        assert plain.steps is None
    assert length < CONTEXT or score.n_windows > 1


@pytest.mark.parametrize("bos", [True, False])
def test_a_steps_rise_is_the_mean_of_its_tokens_rises(bos: bool) -> None:
    scorer = Scorer(tiny(bos=bos).model, HEADS)
    document = "A first line.\nThe sécond, 茶\r\n" + text(2 * CONTEXT)
    (score,) = scorer.score([document], per_token=True, granularity="step", steps="line")
    losses = score.token_losses
    assert losses is not None
    assert score.steps is not None
    # One token a byte, so a step's tokens are its bytes.
    rises, at = losses.ref.astype(float) - losses.base, 0
    for step in score.steps:
        size = len(document[step.start : step.end].encode())
        assert step.rise == pytest.approx(np.nanmean(rises[at : at + size]), abs=1e-12)
        at += size
    assert at == len(rises)
    assert len({step.rise for step in score.steps}) == len(score.steps) > 3


def test_what_has_no_score_has_no_steps_and_all_is_ready_for_json() -> None:
    scorer = Scorer(tiny().model, HEADS)
    scores = scorer.score(["", None, "\ud800", "One. Two."], granularity="step")
    assert [score.steps is None for score in scores] == [True, True, True, False]
    record = json.loads(json.dumps(scores[-1].to_dict(), allow_nan=False))
    assert [(step["start"], step["end"], step["n_scored"]) for step in record["steps"]] == [(0, 4, 4), (4, 9, 5)]
    assert "steps" not in scores[0].to_dict()
    assert "steps" not in scores[-1]._repr_html_()
