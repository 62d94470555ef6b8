"""The quality classifier, and the choice of its examples."""

import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotated_stores import write_lines
from attention_influence.corpus import Columns, list_sources
from attention_influence.errors import CorpusError, StoreError
from attention_influence.evidence.examples import Examples, digest_of, read_examples
from attention_influence.evidence.quality_classifier import auc_with_error, load_classifier, train

SHARED = ["the", "tide", "rose", "over", "a", "bridge", "and", "in"]


def texts(words: list[str], n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices([*SHARED, *words], k=30)) + f" {rng.random()}" for _ in range(n)]


GOOD = texts(["theorem", "proof", "lemma"], 120, 0)
BAD = texts(["sale", "click", "offer"], 120, 1)


def examples_of(folder: Path, good: list[str], bad: list[str], most: int = 1000, seed: int = 0) -> Examples:
    sides = []
    for name, side in (("good", good), ("bad", bad)):
        write_lines(folder / f"{name}.jsonl", [{"text": text} for text in side])
        sides.append(list_sources([str(folder / f"{name}.jsonl")]).sources)
    return read_examples(*sides, Columns(), most, seed)


def test_separable_sides_are_told_apart_held_out_and_in_new_texts(tmp_path: Path) -> None:
    classifier, held_out = train(examples_of(tmp_path, GOOD, BAD), seed=0)
    assert held_out.examples == 48
    assert held_out.auc > 0.95
    assert held_out.auc_interval[0] <= held_out.auc <= held_out.auc_interval[1]
    assert held_out.accuracy_interval[0] <= held_out.accuracy <= held_out.accuracy_interval[1]
    new = [*texts(["theorem", "proof", "lemma"], 50, 2), *texts(["sale", "click", "offer"], 50, 3)]
    probabilities = classifier.probabilities(new)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert roc_auc_score([1] * 50 + [0] * 50, probabilities) > 0.95


def test_sides_of_the_same_kind_are_not_told_apart(tmp_path: Path) -> None:
    _, held_out = train(examples_of(tmp_path, texts([], 200, 0), texts([], 200, 7)), seed=0)
    low, high = held_out.auc_interval
    assert low < 0.5 < high


def test_the_order_of_pairs_of_words_matters(tmp_path: Path) -> None:
    good, bad = ([f"{pair} {n}" for n in range(60)] for pair in ("tide bridge tide bridge", "bridge bridge tide tide"))
    classifier, _ = train(examples_of(tmp_path, good, bad), seed=0)
    one, other = classifier.probabilities(["tide bridge tide bridge", "bridge bridge tide tide"])
    assert one > 0.9 > 0.1 > other


def test_same_examples_in_any_order_give_the_same_bits(tmp_path: Path) -> None:
    one, judged = train(examples_of(tmp_path, GOOD, BAD), seed=3)
    other, judged_again = train(examples_of(tmp_path, GOOD[::-1] + GOOD[:5], BAD[::-1]), seed=3)
    assert (one.weights == other.weights).all()
    assert (one.bias, judged) == (other.bias, judged_again)
    one.save(str(tmp_path / "one.npz"))
    other.save(str(tmp_path / "other.npz"))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_a_saved_classifier_says_the_same_to_the_last_bit_and_remembers_its_examples(tmp_path: Path) -> None:
    classifier, _ = train(examples_of(tmp_path, GOOD, BAD), seed=0)
    classifier.save(str(tmp_path / "c.npz"))
    again = load_classifier(str(tmp_path / "c.npz"))
    assert (again.probabilities(GOOD) == classifier.probabilities(GOOD)).all()
    assert again.trained_on(["new", GOOD[5], "other", BAD[0]]) == 2
    whole = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"c\.npz: the classifier cannot be read"):
        load_classifier(str(tmp_path / "c.npz"))
    with pytest.raises(StoreError, match="cannot be read"):
        load_classifier(str(tmp_path / "nothing.npz"))


def test_a_probability_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    classifier, _ = train(examples_of(tmp_path, GOOD, BAD), seed=0)
    assert [classifier.probabilities([text])[0] for text in GOOD] == classifier.probabilities(GOOD).tolist()


def test_texts_on_both_sides_are_counted_and_examples_of_neither(tmp_path: Path) -> None:
    both = GOOD[:7]
    found = examples_of(tmp_path, GOOD, [*BAD, *both, *both])
    assert found.on_both_sides == 7
    assert sorted(found.texts) == sorted([*GOOD[7:], *BAD])
    assert found.positive == len(GOOD) - 7
    assert set(found.texts[: found.positive]) == set(GOOD[7:])
    assert found.given == {"positive": 120, "negative": 127}
    assert found.digests.tolist() == [digest_of(text) for text in found.texts]


def test_of_too_many_examples_a_choice_by_the_texts_alone_is_taken(tmp_path: Path) -> None:
    one = examples_of(tmp_path, GOOD, BAD, most=30)
    assert (one.positive, len(one.texts)) == (30, 60)
    assert examples_of(tmp_path, GOOD[::-1], BAD, most=30).texts == one.texts
    assert examples_of(tmp_path, GOOD, BAD, most=30, seed=1).texts != one.texts


@pytest.mark.parametrize(
    ("good", "bad", "said"), [(19, 120, "19 different positive"), (120, 3, "3 different negative")]
)
def test_too_few_examples_are_refused_by_side(tmp_path: Path, good: int, bad: int, said: str) -> None:
    with pytest.raises(CorpusError, match=rf"{said} examples.*--(positive|negative)"):
        examples_of(tmp_path, GOOD[:good], BAD[:bad])


def test_the_area_under_the_curve_is_scikit_learns_and_its_error_that_of_resampling() -> None:
    rng = np.random.default_rng(0)
    is_positive = rng.random(300) < 0.4
    values = np.round(rng.normal(size=300) + is_positive, 1)  # with ties
    auc, error = auc_with_error(values, is_positive)
    assert auc == pytest.approx(roc_auc_score(is_positive, values))
    places = [np.flatnonzero(is_positive), np.flatnonzero(~is_positive)]
    resampled = []
    for _ in range(1000):
        drawn = np.concatenate([rng.choice(side, len(side)) for side in places])
        resampled.append(roc_auc_score(is_positive[drawn], values[drawn]))
    assert error == pytest.approx(np.std(resampled), rel=0.12)
