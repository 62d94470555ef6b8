from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from attention_influence import Scorer, detect_heads
from attention_influence.errors import HeadsError, ModelError, TextsError
from attention_influence.heads.head_set import HeadSet
from scoring.tiny import CONTEXT, FAMILIES, HEADS, slow_losses, text, tiny
from tiny_models import Tiny

EXACT = 1e-5


def ids(made: Tiny, document: str) -> list[int]:
    return made.model.tokens.encode([document])[0]


@pytest.fixture(scope="module")
def made() -> Tiny:
    return tiny()


@pytest.fixture(scope="module")
def scorer(made: Tiny) -> Scorer:
    return Scorer(made.model, HEADS)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_those_of_two_passes_written_out(family: str, bos: bool) -> None:
    made = tiny(family, bos)
    lengths = [2, 5, 40, CONTEXT - 1, CONTEXT, CONTEXT + 1, 2 * CONTEXT, 200]
    documents = [text(n, seed=n) for n in lengths]
    scores = Scorer(made.model, HEADS).score(documents)
    for document, score in zip(documents, scores, strict=True):
        base, ref = slow_losses(made.untouched, ids(made, document), CONTEXT, bos)
        assert score.loss_base == pytest.approx(base, abs=EXACT)
        assert score.loss_ref == pytest.approx(ref, abs=EXACT)
        assert score.influence == pytest.approx((ref - base) / base, abs=EXACT)
    rise = [abs(score.loss_ref - score.loss_base) for score in scores]
    assert max(rise) > 100 * EXACT, "the heads do not matter, so nothing is tested"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_shorter_than_the_context_cuts_documents_sooner(family: str) -> None:
    made = tiny(family)
    document = text(50)
    score = Scorer(made.model, HEADS, window=20).score([document])[0]
    assert (score.n_tokens, score.n_scored, score.n_windows) == (50, 50, 3)
    assert (score.loss_base, score.loss_ref) == pytest.approx(
        slow_losses(made.untouched, ids(made, document), 20, True), abs=EXACT
    )


@pytest.mark.parametrize("bos", [True, False])
def test_a_long_document_is_scored_whole(bos: bool) -> None:
    context = 256
    made = tiny(bos=bos, context=context)
    document = text(50_000)
    score = Scorer(made.model, HEADS).score([document])[0]
    windows = -(-50_000 // (context - bos))
    assert (score.n_chars, score.n_tokens, score.n_windows) == (50_000, 50_000, windows)
    assert score.n_scored == (50_000 if bos else 50_000 - windows)
    base, ref = slow_losses(made.untouched, ids(made, document), context, bos)
    assert (score.loss_base, score.loss_ref) == pytest.approx((base, ref), abs=EXACT)
    assert score.influence == pytest.approx((ref - base) / base, abs=EXACT)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("length", [30, 150])
def test_losses_by_token_add_up_to_the_documents(bos: bool, length: int) -> None:
    made = tiny(bos=bos)
    document = text(length)
    plain, score = (Scorer(made.model, HEADS).score([document], per_token=p)[0] for p in (False, True))
    assert plain.token_losses is None
    losses = score.token_losses
    assert losses is not None
    assert losses.tokens.tolist() == ids(made, document)
    assert len(losses.base) == len(losses.ref) == length
    unscored = np.isnan(losses.base)
    assert np.array_equal(unscored, np.isnan(losses.ref))
    assert unscored.sum() == (0 if bos else score.n_windows)
    assert bos or unscored[0]
    assert score.n_scored == (~unscored).sum()
    assert np.nanmean(losses.base) == pytest.approx(score.loss_base, abs=1e-6)
    assert np.nanmean(losses.ref) == pytest.approx(score.loss_ref, abs=1e-6)
    assert score.loss_base == plain.loss_base


def test_a_token_before_the_first_difference_has_the_same_loss_whatever_follows(scorer: Scorer) -> None:
    a, b = scorer.score([text(20) + "left", text(20) + "right"], per_token=True)
    assert a.token_losses is not None
    assert b.token_losses is not None
    np.testing.assert_allclose(a.token_losses.ref[:20], b.token_losses.ref[:20], atol=EXACT)
    assert abs(a.token_losses.ref[20] - b.token_losses.ref[20]) > EXACT


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_equal_when_nothing_is_masked_wherever_they_fork(family: str) -> None:
    made = tiny(family)
    windows = [[0, *ids(made, text(n, n))] for n in (30, 12, 60)]
    alone = made.model.forward(windows).last_hidden_state[0]
    for layer in range(4):
        both = made.model.forward(windows, fork_layer=layer).last_hidden_state
        assert both.shape[0] == 2
        torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-5)
        torch.testing.assert_close(both[0], alone, rtol=0, atol=1e-5)


# Reasons and flags.


def test_what_is_not_a_usable_text_gets_a_reason_and_spoils_no_other(scorer: Scorer) -> None:
    good = text(40)
    bad = {
        "null_text": None,
        "not_a_string": 3.5,
        "empty": "",
        "whitespace": " \n\t ",
        "invalid_utf8": "a lone \ud800 surrogate",
    }
    scores = scorer.score([good, *bad.values(), b"\xff\xfe", ["a list"], good])
    assert [s.reason for s in scores] == [None, *bad, "invalid_utf8", "not_a_string", None]
    assert scores[0].influence is not None
    assert scores[-1].influence == pytest.approx(scores[0].influence, abs=EXACT)
    for score in scores[1:-1]:
        assert score.loss_base is score.loss_ref is score.influence is score.n_scored is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("Call me Ishmael.", r"not one str: give \[text\]"),
        (b"Call me Ishmael.", "not one bytes"),
        (bytearray(b"Call me"), "not one bytearray"),
        ({"text": ["Call me Ishmael."]}, "not a dict: give its column"),
        (pa.table({"text": ["Call me Ishmael."]}), "not a Table: give its column"),
        ({"one", "two"}, "not a set, which has no order"),
        (None, "not a NoneType"),
        (7, "not a int"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(made: Tiny, scorer: Scorer, texts: Any, said: str) -> None:
    with pytest.raises(TextsError, match=said):
        scorer.score(texts)
    for_detection = {"input": texts["text"][0]} if isinstance(texts, dict) else texts
    with pytest.raises(TextsError, match="not one str" if isinstance(texts, dict) else said):
        detect_heads(made.model, for_detection, samples=1, context=CONTEXT)


def test_any_series_of_texts_is_scored(scorer: Scorer) -> None:
    texts = [text(30), text(40)]
    expected = [score.loss_base for score in scorer.score(texts)]
    for series in (tuple(texts), iter(texts), np.array(texts), dict.fromkeys(texts).keys()):
        assert [score.loss_base for score in scorer.score(series)] == expected


def test_texts_for_detection_are_strings(made: Tiny) -> None:
    with pytest.raises(TextsError, match="text 1 of those given for sentences is a dict"):
        detect_heads(made.model, ["A text.", {"text": "A text."}], samples=1, context=CONTEXT)


def test_nothing_to_score_gives_nothing(scorer: Scorer) -> None:
    assert scorer.score([]) == []


def test_one_token_is_scored_only_after_a_bos() -> None:
    with_bos, without = (Scorer(tiny(bos=bos).model, HEADS).score(["a"])[0] for bos in (True, False))
    assert (with_bos.n_tokens, with_bos.n_scored, with_bos.reason) == (1, 1, None)
    assert with_bos.loss_base is not None
    assert (without.n_tokens, without.n_scored, without.reason) == (1, None, "too_few_tokens")


def test_special_tokens_in_a_text_are_scored_as_the_text_that_they_are(made: Tiny, scorer: Scorer) -> None:
    document = "before <s> and <|end|> after"
    score = scorer.score([document])[0]
    assert score.n_tokens == len(document.encode())
    assert min(ids(made, document)) > 1


def test_a_text_above_the_limit_is_too_long_and_one_at_the_limit_is_not(made: Tiny) -> None:
    at, above = Scorer(made.model, HEADS, max_document_tokens=50).score([text(50), text(51)])
    assert (at.reason, at.n_scored) == (None, 50)
    assert (above.reason, above.n_tokens, above.n_scored, above.influence) == ("too_long", 51, None, None)


def test_a_text_far_above_the_limit_is_never_tokenized_whole(made: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(made.model, HEADS, max_document_tokens=1000)
    expected = scorer.score([text(40), text(900)])
    seen: list[int] = []
    encode = made.model.tokens.encode
    monkeypatch.setattr(made.model.tokens, "encode", lambda texts: seen.extend(map(len, texts)) or encode(texts))
    first, long, last = scorer.score([text(40), text(1000) * 3000, text(900)])
    assert [first, last] == expected
    assert (long.reason, long.n_chars, long.n_tokens, long.influence) == ("too_long", 3_000_000, None, None)
    assert max(seen) < 100_000


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_window_that_memory_does_not_suffice_for_costs_its_own_document(
    made: Tiny, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    scorer = Scorer(made.model, HEADS, pack_tokens=50)
    expected = scorer.score([text(20), text(25)])
    own = scorer.launch

    def launch(windows: list[list[int]]) -> Any:
        if max(map(len, windows)) > 60:
            raise error
        return own(windows)

    monkeypatch.setattr(scorer, "launch", launch)
    first, long, last = scorer.score([text(20), text(62), text(25)])
    assert [first, last] == expected
    assert (long.reason, long.n_tokens, long.influence) == ("out_of_memory", 62, None)


@pytest.mark.parametrize(
    ("document", "flag"),
    [
        (text(31), "too_short"),
        (text(32), None),
        (text(60) * 3, "repetitive"),
        ("ab" * 12, "too_short,repetitive"),
    ],
)
def test_flags_say_why_to_read_a_score_with_care(scorer: Scorer, document: str, flag: str | None) -> None:
    score = scorer.score([document])[0]
    assert score.flag == flag
    assert score.influence is not None


def test_only_documents_that_hold_a_broken_token_have_no_finite_loss() -> None:
    made = tiny()
    broken = ids(made, "ö")[1]
    made.model.network.get_input_embeddings().weight[broken] = torch.nan
    documents = [text(30), "here it is: ö, and more", text(150), text(100, 1) + "ö" + text(100, 2), text(31)]
    scores = Scorer(made.model, HEADS).score(documents)
    assert [s.reason for s in scores] == [None, "non_finite_loss", None, "non_finite_loss", None]
    for document, score in zip(documents, scores, strict=True):
        if score.reason:
            assert score.loss_base is score.loss_ref is score.influence is None
        else:
            expected = slow_losses(made.untouched, ids(made, document), CONTEXT, True)
            assert (score.loss_base, score.loss_ref) == pytest.approx(expected, abs=EXACT)


def test_a_document_that_the_model_knows_by_heart_is_degenerate_and_not_ranked() -> None:
    made = tiny()
    head = made.model.network.lm_head
    head.weight.mul_(0.01)
    head.weight[ids(made, "z")[0]] = 0
    body = made.model.forward([[0, *ids(made, "z" * 40)]]).last_hidden_state[0]
    # The direction that every hidden state of this text shares makes the one letter certain.
    head.weight[ids(made, "z")[0]] = 1000 * torch.linalg.pinv(body).sum(1)
    by_heart, other = Scorer(made.model, HEADS).score(["z" * 40, text(40)])
    assert by_heart.loss_base is not None
    assert by_heart.loss_base < 1e-3
    assert by_heart.influence is None
    assert "degenerate" in (by_heart.flag or "")
    assert by_heart.reason is None
    assert other.influence is not None


# Refusals.


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ([], "empty"),
        ([(9, 0)], "no head 0 in layer 9"),
        ([(1, 4)], "layer 1 has 4 heads"),
        ([(1, 1), (1, 1)], "twice"),
        ("heads.json", "give load_heads"),
    ],
)
def test_heads_that_cannot_be_masked_are_refused(made: Tiny, heads: Any, said: str) -> None:
    with pytest.raises(HeadsError, match=said):
        Scorer(made.model, heads)


def test_heads_of_another_model_are_refused_by_what_differs(made: Tiny) -> None:
    mine = made.model.identity
    for part in ("weights", "tokenizer"):
        identity = {"name": "other", "weights": mine.weights, "tokenizer": mine.tokenizer} | {part: "0" * 64}
        with pytest.raises(HeadsError, match=f"other, whose {part} differ"):
            Scorer(made.model, HeadSet(tuple(HEADS), model=identity))


def test_a_window_that_leaves_nothing_to_predict_is_refused(made: Tiny) -> None:
    with pytest.raises(ModelError, match="leaves nothing to predict"):
        Scorer(made.model, HEADS, window=2)


def test_a_window_beyond_the_models_context_is_refused(made: Tiny) -> None:
    assert Scorer(made.model, HEADS, window=CONTEXT).window == CONTEXT
    with pytest.raises(ModelError, match=f"65 tokens is longer than the context of tiny; give --window {CONTEXT}"):
        Scorer(made.model, HEADS, window=CONTEXT + 1)


def test_the_default_window_is_the_models_context_up_to_8192_tokens(made: Tiny) -> None:
    assert Scorer(made.model, HEADS).window == CONTEXT
    longer = tiny(context=131_072)
    assert Scorer(longer.model, HEADS).window == 8192
    assert Scorer(longer.model, HEADS, window=20_000).window == 20_000


def test_the_smallest_window_scores_every_token(made: Tiny) -> None:
    score = Scorer(made.model, HEADS, window=3).score([text(11)])[0]
    assert (score.n_scored, score.n_windows) == (11, 6)
