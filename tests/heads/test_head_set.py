"""Head sets in their three formats, and what is wrong with those that are not."""

import json
from pathlib import Path

import pytest

from attention_influence.errors import HeadsError
from attention_influence.heads.head_set import HeadSet, load_heads, rank_heads, top_heads


def written(folder: Path, content: object) -> Path:
    path = folder / "heads.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_plain_list_is_a_head_set_in_its_own_order(tmp_path: Path) -> None:
    heads = load_heads(written(tmp_path, [[3, 1], [0, 2], [3, 0]]))
    assert heads.heads == ((3, 1), (0, 2), (3, 0))
    assert heads.method == "given"
    assert heads.by_layer() == {0: [2], 3: [0, 1]}
    assert list(heads) == [(3, 1), (0, 2), (3, 0)]


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    saved = HeadSet(
        heads=((2, 1), (0, 3)),
        model={"name": "m", "weights": "w", "tokenizer": "t"},
        method="retrieval score",
        parameters={"samples": 7, "where": "needle"},
        seed=3,
        n_samples=7,
        probe_accuracy=0.5,
        scores=[[0.1, None], [0.25, 0.5]],
        standard_errors=[[0.01, None], [0.02, 0.03]],
        versions={"torch": "2"},
    )
    saved.save(tmp_path / "heads.json")
    assert load_heads(tmp_path / "heads.json") == saved
    assert json.loads((tmp_path / "heads.json").read_text())["heads"] == [[2, 1], [0, 3]]


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    assert load_heads(written(tmp_path, {"heads": [[1, 1]], "colour": "blue"})) == HeadSet(((1, 1),))


def test_score_lists_are_ranked_by_their_mean_and_the_top_5_percent_taken(tmp_path: Path) -> None:
    lists = {f"{layer}-{head}": [0.0, 0.1] for layer in range(5) for head in range(8)}
    lists["4-7"] = [0.9, 0.1]
    lists["1-2"] = [0.4, 0.8, 0.6]
    heads = load_heads(written(tmp_path, lists))
    assert heads.heads == ((1, 2), (4, 7))
    assert heads.scores is not None
    assert heads.scores[1][2] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{not json", "cannot be read as JSON"),
        ([[1, 2], [1, 2]], "listed twice"),
        ({"heads": [[1, 2], [1, 2]]}, "listed twice"),
        ([[1]], "is none of heads.json"),
        ([[1, -2]], "non-negative"),
        ([[1.5, 2]], "non-negative integers"),
        ([["1", 2]], "non-negative integers"),
        ([[True, False]], "non-negative integers"),
        ([1, 2], "is none of heads.json"),
        ({}, "is none of heads.json"),
        ({"one-two": [1]}, "is none of heads.json"),
        ({"1-2": []}, "is none of heads.json"),
        ({"1-2": 3}, "is none of heads.json"),
        ({"1-2": ["a"]}, "is none of heads.json"),
        ({"heads": 7}, "is none of heads.json"),
        ({"heads": None}, "is none of heads.json"),
        ("7", "is none of heads.json"),
        ('"text"', "is none of heads.json"),
        ("null", "is none of heads.json"),
        ([], "no head"),
        ({"heads": []}, "no head"),
        ({"1-2": [float("nan")]}, "not finite"),
    ],
)
def test_a_malformed_file_is_refused_by_name(content: object, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(HeadsError, match=said) as refused:
        load_heads(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(HeadsError, match="attention-influence detect"):
        load_heads(tmp_path / "none.json")


def test_ties_go_by_layer_and_head_and_heads_without_a_score_are_passed_over() -> None:
    scores = [[0.5, None, 0.5], [0.9, 0.1, None]]
    assert rank_heads(scores) == [(1, 0), (0, 0), (0, 2), (1, 1)]


@pytest.mark.parametrize(("share", "count"), [(0.05, 1), (0.25, 1), (0.26, 2), (0.5, 2), (1.0, 4)])
def test_the_share_of_heads_is_rounded_up(share: float, count: int) -> None:
    assert len(top_heads([[0.1, 0.2], [0.3, 0.4]], share)) == count
    assert len(top_heads([[0.1] * 20] * 5, 0.05)) == 5
    assert len(top_heads([[0.1] * 9] * 30, 0.05)) == 14
