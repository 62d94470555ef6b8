"""`detect` from the command line, on a tiny model whose heads copy nothing."""

import json
import re
from pathlib import Path

import pytest

from attention_influence import load_heads
from cli.conftest import Cli, Files, Said, write_lines

ANIMALS = ["cat", "dog", "fox", "hen", "owl", "pig", "rat", "yak"]
VERBS = ["sat down", "ran off", "ate it", "hid", "won"]
PLACES = ["here", "there", "at sea", "at home"]
SENTENCES = [f"A {a} {v} {p}." for a in ANIMALS for v in VERBS for p in PLACES]


@pytest.fixture
def detect(cli: Cli, files: Files, tmp_path: Path) -> Cli:
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": " ".join(SENTENCES)}])

    def call(*arguments: object) -> Said:
        usual = {"--sentences": texts, "--samples": 3, "--context": 900, "--out": tmp_path / "heads.json"}
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        every = [part for pair in (usual | given).items() for part in pair]
        return cli("detect", "--model", files.model, *every)

    return call


def test_heads_are_written_with_a_picture_and_can_be_scored_with(
    detect: Cli, cli: Cli, files: Files, tmp_path: Path
) -> None:
    said = detect()
    assert said.code == 0, said.err
    heads = load_heads(tmp_path / "heads.json")
    assert len(heads) == 1
    assert (heads.n_samples, heads.seed, heads.parameters["context"]) == (3, 0, 900)
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    arguments = ("--model", files.model, "--heads", tmp_path / "heads.json", "--out", tmp_path / "scores")
    assert cli("score", files.corpus, *arguments).code == 0


def test_the_same_seed_finds_the_same(detect: Cli, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, seed in zip(files, (5, 5, 6), strict=True):
        assert detect("--out", file, "--seed", seed, "--where", "anywhere").code == 0
    scores = [load_heads(file).scores for file in files]
    assert scores[0] == scores[1] != scores[2]


def test_a_model_that_cannot_do_the_task_is_said(detect: Cli) -> None:
    said = detect()
    assert "the model fails the retrieval task; its heads are unreliable" in said.out
    assert "3 probes" in said.out


def test_json_lists_the_heads(detect: Cli, cli: Cli, files: Files, tmp_path: Path) -> None:
    texts = write_lines(tmp_path / "t.jsonl", [{"text": " ".join(SENTENCES)}])
    usual = ("--sentences", texts, "--samples", 2, "--context", 900, "--out", tmp_path / "h.json")
    said = cli("detect", "--model", files.model, *usual, "--share", 0.25, "--json")
    assert json.loads(said.out)["heads"] == [list(head) for head in load_heads(tmp_path / "h.json")]
    assert len(json.loads(said.out)["heads"]) == 4


ITEMS = [
    *({"prompt": f"{i} and one is", "answer": f" {i + 1}"} for i in range(3)),
    *({"prompt": f"{i} is", "choices": [" odd", " even"], "answer": (" odd", " even")[i % 2]} for i in range(3)),
    {"prompt": "x" * 600, "answer": "y"},
]


@pytest.fixture
def ablate(cli: Cli, files: Files, tmp_path: Path) -> Cli:
    items = write_lines(tmp_path / "mine.jsonl", ITEMS)

    def call(*arguments: object) -> Said:
        usual = ("--method", "ablation", "--items", items, "--context", 500, "--out", tmp_path / "heads.json")
        return cli("detect", "--model", files.model, *usual, *arguments)

    return call


def test_heads_that_ones_own_items_need_are_written_with_a_picture_and_can_be_scored_with(
    ablate: Cli, cli: Cli, files: Files, tmp_path: Path
) -> None:
    said = ablate("--share", 0.25, "--tasks", "in-context", "--samples", 2)
    assert said.code == 0, said.err
    found = load_heads(tmp_path / "heads.json")
    assert (found.method, found.n_samples, len(found)) == ("ablation", 12, 4)
    assert {task: about["items"] for task, about in found.tasks.items()} == {
        "mine": 6,
        "in-context classification": 2,
        "in-context copying": 2,
        "in-context arithmetic": 2,
    }
    assert "1 items of mine do not fit into the context" in said.out
    assert "rise of the loss" in said.out
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "heads.json.unfinished").exists()
    arguments = ("--model", files.model, "--heads", tmp_path / "heads.json", "--out", tmp_path / "scores")
    assert cli("score", files.corpus, *arguments).code == 0
    page = tmp_path / "report.html"
    assert cli("report", tmp_path / "scores", "--heads", tmp_path / "heads.json", "--out", page).code == 0
    assert "Rise of the loss of every head when it alone attends uniformly, nats/token;" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tasks", "gsm9k"), "task 'gsm9k' is unknown; choose from retrieval, in-context, gsm8k"),
        (("--tasks", "retrieval"), "--sentences and --tasks retrieval need each other"),
        (("--context", 5000), "--context 5000 is longer than the context of"),
        (("--context", 4), "none of the 7 items fits into a context of 4 tokens; raise --context"),
        (("--method", "retrieval"), "--tasks and --items are for ablation, attribution and greedy"),
        (("--share", 0), "--share is 0.0; need 0 < share"),
    ],
)
def test_what_cannot_be_ablated_with_is_refused(
    ablate: Cli, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    said = ablate(*arguments)
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "heads.json").exists()


def test_an_ablation_without_items_and_a_retrieval_without_sentences_are_refused(cli: Cli, files: Files) -> None:
    assert "--method ablation needs items" in cli("detect", "--model", files.model, "--method", "ablation").err
    assert "missing: --sentences" in cli("detect", "--model", files.model).err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--context", 5000, "longer than the context of"),
        ("--context", 300, "too short for 3 demonstrations"),
        ("--share", 0.0, "0 < share"),
        ("--share", 1.5, "0 < share"),
        ("--sentences", "nowhere/", "nowhere/: no such file"),
        ("--text-column", "body", "no column 'body'; there are: 'text'"),
    ],
)
def test_what_cannot_be_detected_with_is_refused(
    detect: Cli, tmp_path: Path, option: str, value: object, words: str
) -> None:
    said = detect(option, value)
    assert said.code == 1
    assert words in said.err
    assert said.out == ""
    assert not (tmp_path / "heads.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no sentence in here",
        "A cat sat.",
        "A cat sat. A dog ran. A fox ate. A hen hid. An owl won.",
    ],
)
def test_texts_without_sentences_enough_are_refused(detect: Cli, tmp_path: Path, text: str) -> None:
    file = write_lines(tmp_path / "few.jsonl", [{"text": text}, {"text": None}])
    said = detect("--sentences", file)
    assert said.code == 1
    assert "--sentences" in said.err


def test_sentences_come_from_every_input_and_the_record_says_how_many(cli: Cli, files: Files, tmp_path: Path) -> None:
    labels = write_lines(tmp_path / "labels.jsonl", [{"text": f"item {i}"} for i in range(50)])
    prose = write_lines(tmp_path / "prose.jsonl", [{"text": sentence} for sentence in SENTENCES])
    inputs = ("--sentences", labels, "--sentences", prose, "--samples", 2, "--context", 900)
    said = cli("detect", "--model", files.model, *inputs, "--out", tmp_path / "h.json")
    assert said.code == 0, said.err
    found = load_heads(tmp_path / "h.json").probe_texts
    assert {name: counts["texts"] for name, counts in found.items()} == {str(labels): 50, str(prose): len(SENTENCES)}
    assert found[str(labels)]["sentences"] == 0 < found[str(prose)]["sentences"]
    assert found[str(prose)]["probes"] == 2
    row = f"{prose} +{len(SENTENCES)} +{found[str(prose)]['sentences']} +2 +{found[str(prose)]['accuracy']:.4f}"
    assert re.search(row, said.out)
    assert f"no sentence for the probes was found in the 50 texts of {labels}" in said.out
