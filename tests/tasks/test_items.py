"""Items: their tokens, the user's files, the tasks made here, and the shapes of public benchmarks."""

import gzip
import json
from pathlib import Path

import fsspec
import pytest

from attention_influence.errors import CorpusError, UsageError
from attention_influence.model.tokens import Tokens
from attention_influence.tasks.benchmarks import benchmark_items, benchmark_names, parse_benchmark
from attention_influence.tasks.in_context import in_context_items
from attention_influence.tasks.items import Choices, Item, read_items, tokenize
from tiny_models import tokenizer


def test_the_answers_tokens_and_only_they_are_predicted() -> None:
    tokens = Tokens(tokenizer(True))
    found = tokenize(Item("t", "The keeper wrote", " the height."), tokens, 100)
    assert found is not None
    (reading,) = found.readings
    whole = [tokens.bos, *tokens.encode(["The keeper wrote the height."])[0]]
    assert list(reading.tokens) == whole[:-1]
    assert list(reading.targets) == whole[-len(reading.targets) :]
    assert len(reading.targets) == len(tokens.encode([" the height."])[0])


def test_letters_share_one_window_and_longer_choices_do_not() -> None:
    tokens = Tokens(tokenizer(True))
    letters = tokenize(Choices("t", "Which?", ("A", "B", "C"), 1), tokens, 100)
    texts = tokenize(Choices("t", "Which?", (" the tide", " the water"), 1), tokens, 100)
    assert letters is not None
    assert texts is not None
    assert (len(letters.readings), letters.readings[0].choice) == (1, (0, 1, 2))
    assert len(texts.readings) == 2


def test_an_item_longer_than_the_context_is_left_out() -> None:
    tokens = Tokens(tokenizer(True))
    item = Item("t", "a b c d", " e")
    length = 1 + len(tokens.encode(["a b c d e"])[0])
    assert tokenize(item, tokens, length) is not None
    assert tokenize(item, tokens, length - 1) is None


def test_the_users_items_are_read(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text(
        '{"task": "t", "prompt": "p", "answer": "a"}\n\n'
        '{"task": "u", "prompt": "", "choices": ["x", "y"], "answer": 1}\n'
        '{"prompt": "q", "choices": ["x", "y"], "answer": "x"}'
    )
    assert read_items([str(file)]) == [
        Item("t", "p", "a"),
        Choices("u", "", ("x", "y"), 1),
        Choices("items", "q", ("x", "y"), 0),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no", "is not a JSON object"),
        ('{"task": 7, "prompt": "p", "answer": "a"}', '"task" must be a text'),
        ('{"task": "t", "answer": "a"}', '"prompt" must be a text'),
        ('{"task": "t", "prompt": "p"}', '"answer" must be a text'),
        ('{"task": "t", "prompt": 3, "answer": "a"}', '"prompt" must be a text'),
        ('{"task": "t", "prompt": "p", "answer": 1}', '"answer" must be a text'),
        ('{"task": "t", "prompt": "p", "choices": ["x"], "answer": 0}', "at least two texts"),
        (
            '{"task": "t", "prompt": "p", "choices": ["x", "y"], "answer": 2}',
            '"answer" is 2; it is one of the "choices", or the index',
        ),
        ('{"task": "t", "prompt": "p", "choices": ["x", "y"], "answer": "z"}', '"answer" is "z"; it is one of'),
        ('{"task": "t", "prompt": "p", "choices": ["x", "x"], "answer": "x"}', 'two of the "choices" are the same'),
        ('{"task": "t", "prompt": "p", "choices": ["x", "y"], "answer": true}', '"answer" is true'),
    ],
)
def test_a_bad_item_is_refused_with_file_and_line(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text(f'{{"task": "t", "prompt": "p", "answer": "a"}}\n{line}\n')
    with pytest.raises(CorpusError, match=r"items\.jsonl, line 2") as caught:
        read_items([str(file)])
    assert said in str(caught.value)


def test_a_missing_file_of_items_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.jsonl: No such file"):
        read_items([str(tmp_path / "none.jsonl")])
    with pytest.raises(CorpusError, match=r"memory://none\.jsonl: FileNotFoundError"):
        read_items(["memory://none.jsonl"])


def test_items_may_lie_in_an_object_store() -> None:
    fsspec.filesystem("memory").pipe_file("/items/mine.jsonl", b'{"prompt": "1 + 1 =", "answer": " 2"}\n')
    assert read_items(["memory://items/mine.jsonl"]) == [Item("mine", "1 + 1 =", " 2")]


def test_tasks_made_here_are_answered_by_their_own_context() -> None:
    items = in_context_items(20, seed=5)
    assert len(items) == 60
    for item in items:
        shots = item.prompt.splitlines()
        query = shots.pop()
        if isinstance(item, Choices):
            labels = {line.split(": ")[1] for line in shots}
            assert labels == {choice.strip() for choice in item.choices}
            assert query.removesuffix(":") not in {line.split(":")[0] for line in shots}
        elif item.task == "in-context copying":
            assert query + item.answer in shots
        else:
            a, sign, b, _ = query.split()
            assert int(item.answer) == (int(a) + int(b) if sign == "+" else int(a) - int(b))


def test_an_item_does_not_depend_on_how_many_are_asked_for() -> None:
    assert in_context_items(2, 0)[0:2] == in_context_items(9, 0)[0:2]
    assert in_context_items(2, 0) != in_context_items(2, 1)


LETTERED = {"options": "A. one\nB. two\nC. three\nD. four", "answer": "C. three"}


@pytest.mark.parametrize(
    ("name", "record", "item"),
    [
        (
            "gsm8k",
            {"prompt": "How many?", "upstream_answer": "It is 1+1=<<1+1=2>>2.\n#### 2"},
            Item("gsm8k", "Question: How many?\nAnswer:", " It is 1+1=2.\n#### 2"),
        ),
        (
            "mmlu",
            {"question": "Which?", **LETTERED},
            Choices("mmlu", f"Question: Which?\n{LETTERED['options']}\nAnswer:", (" A", " B", " C", " D"), 2),
        ),
        (
            "logiqa",
            {"passage": "If so.", "question": "Which?\n", **LETTERED},
            Choices("logiqa", f"Question: If so.\nWhich?\n{LETTERED['options']}\nAnswer:", (" A", " B", " C", " D"), 2),
        ),
        (
            "hellaswag",
            {"ctx": "He", "endings": ["runs.", "sits."], "expected_index": 1},
            Choices("hellaswag", "He", (" runs.", " sits."), 1, by_length=True),
        ),
        (
            "humaneval",
            {"prompt": "def f():\n", "canonical_solution": "    return 1\n"},
            Item("humaneval", "def f():\n", "    return 1\n"),
        ),
    ],
)
def test_a_benchmark_is_parsed(name: str, record: dict[str, object], item: Item | Choices, tmp_path: Path) -> None:
    content = (json.dumps(record) + "\n").encode()
    (tmp_path / "f.jsonl").write_bytes(content)
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(content))
    assert parse_benchmark(name, tmp_path / "f.jsonl") == parse_benchmark(name, tmp_path / "f.jsonl.gz") == [item]


def test_choices_that_cannot_be_told_apart_are_no_item(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(json.dumps({"question": "Which?", "options": "A. one\nor two", "answer": "A."}))
    assert parse_benchmark("mmlu", tmp_path / "f.jsonl") == []


def test_benchmarks_are_named_or_all() -> None:
    assert benchmark_names(["gsm8k", "mmlu", "gsm8k"]) == ["gsm8k", "mmlu"]
    assert set(benchmark_names(["all"])) == {"gsm8k", "mmlu", "logiqa", "hellaswag", "humaneval"}
    with pytest.raises(UsageError, match="benchmark 'bbh' is unknown; choose from gsm8k"):
        benchmark_names(["bbh"])


@pytest.mark.e2e
def test_the_real_benchmarks_are_fetched_and_sampled() -> None:
    names = benchmark_names(["all"])
    items = benchmark_items(names, 10, seed=0)
    assert [item.task for item in items] == [name for name in names for _ in range(10)]
    assert all(item.prompt for item in items)
