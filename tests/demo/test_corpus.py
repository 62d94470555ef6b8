"""The demo's corpus: real texts, no permutation among them, the same each time."""

import json
import sysconfig
from pathlib import Path

import pytest

from attention_influence.demo.corpus import SMALL, build_corpus, build_sentences, definitions, passages, worked_answers
from attention_influence.errors import CorpusError

PROSE = "The river rises in the hills above the town and runs south for about forty miles to the sea. " * 4


def write_passages(path: Path, originals: list[str]) -> Path:
    lines = [json.dumps({"0": text, "1": f"permuted {text}"}) for text in originals]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_only_originals_are_passages(tmp_path):
    path = write_passages(tmp_path / "p.jsonl", [f"{n} {PROSE}" for n in range(5)])
    found = dict(passages(path, "web"))
    assert found["web-0003"] == f"3 {PROSE}".strip()
    assert not any("permuted" in text for text in found.values())


def test_short_long_foreign_and_repeated_passages_are_left_out(tmp_path):
    others = ["short", PROSE * 20, "Живёт на реке большой город. " * 20, PROSE + "\n", PROSE]
    found = list(passages(write_passages(tmp_path / "p.jsonl", others), "web"))
    assert found == [("web-0003", PROSE.strip())]


def test_the_order_of_passages_depends_on_their_texts_alone(tmp_path):
    originals = [f"{n} {PROSE}" for n in range(30)]
    there = [text for _, text in passages(write_passages(tmp_path / "a", originals), "web")]
    back = [text for _, text in passages(write_passages(tmp_path / "b", originals[::-1]), "web")]
    assert there == back != originals


def test_a_line_without_its_original_is_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"0": "a"}\n{"1": "b"}\n')
    with pytest.raises(CorpusError, match=r"line 2 of .*p\.jsonl"):
        list(passages(tmp_path / "p.jsonl", "web"))


def test_a_worked_answer_loses_the_marks_of_its_data_set(tmp_path):
    document = 'question = "How many?"\nanswer = """\nTwice six is <<6*2=12>>12 eggs.\nSo 12.\n\n#### 12\n"""\n'
    (tmp_path / "m").write_text(f"{document}\0{document}\0{document.replace('many', 'much')}")
    assert list(worked_answers(tmp_path / "m")) == [
        ("mathematics-0000", "How many?\n\nTwice six is 12 eggs.\nSo 12."),
        ("mathematics-0002", "How much?\n\nTwice six is 12 eggs.\nSo 12."),
    ]


BODY = "\n".join(f"    total_of_values = combine_the_two(total_of_values, number_{n})" for n in range(8))


def test_definitions_are_whole_and_come_from_the_standard_library_only(tmp_path):
    (tmp_path / "json" / "tests").mkdir(parents=True)
    (tmp_path / "site-packages").mkdir()
    one = f"@cached\ndef one():\n{BODY}"
    (tmp_path / "json" / "decoder.py").write_text(f"import this\n\n{one}\n\nshort = 1\n\ndef tiny():\n    pass\n")
    (tmp_path / "json" / "tests" / "decoder.py").write_text(f"def tested():\n{BODY}\n")
    (tmp_path / "site-packages" / "numpy.py").write_text(f"def other():\n{BODY}\n")
    (tmp_path / "ast.py").write_text(f"def broken(:\n{BODY}\n")
    (tmp_path / "csv.py").write_text(f"{one}\n")
    found = list(definitions(tmp_path))
    assert [text for _, text in found] == [one]
    assert found[0][0] in {"json/decoder.py:one", "csv.py:one"}


def test_no_file_gives_more_than_two_definitions(tmp_path):
    (tmp_path / "csv.py").write_text("\n".join(f"def number{n}():\n{BODY}" for n in range(5)))
    assert len(list(definitions(tmp_path))) == 2


@pytest.mark.slow
def test_this_python_has_sources_enough():
    assert len(list(definitions(Path(sysconfig.get_paths()["stdlib"])))) > 250


@pytest.fixture(scope="module")
def corpus(assets, tmp_path_factory) -> list[Path]:
    return build_corpus(assets, tmp_path_factory.mktemp("corpus"))


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.e2e
@pytest.mark.slow
def test_the_corpus_is_four_domains_without_repeats_and_the_same_each_time(assets, corpus, tmp_path):
    assert [path.name for path in corpus] == ["web.jsonl", "encyclopedic.jsonl", "code.jsonl", "mathematics.jsonl"]
    documents = [row for path in corpus for row in rows(path)]
    assert len(documents) == 720
    assert len({row["text"] for row in documents}) == len({row["id"] for row in documents}) == 720
    assert {row["domain"] for row in rows(corpus[2])} == {"code"}
    assert [path.read_bytes() for path in build_corpus(assets, tmp_path)] == [path.read_bytes() for path in corpus]


@pytest.mark.e2e
@pytest.mark.slow
def test_the_small_corpus_is_the_beginning_of_the_full_one(assets, corpus, tmp_path):
    for small, full in zip(build_corpus(assets, tmp_path, SMALL), corpus, strict=True):
        assert 30 <= len(rows(small)) <= 35
        assert full.read_text(encoding="utf-8").startswith(small.read_text(encoding="utf-8"))


@pytest.mark.e2e
@pytest.mark.slow
def test_sentences_are_held_out_of_the_corpus(assets, corpus, tmp_path):
    scored = {row["text"] for path in corpus for row in rows(path)}
    held_out = {row["text"] for row in rows(build_sentences(assets, tmp_path))}
    assert len(held_out) == 500
    assert held_out.isdisjoint(scored)


@pytest.mark.e2e
@pytest.mark.slow
def test_every_document_has_50_to_700_tokens_of_the_demo_model(assets, corpus):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.model.parent, gguf_file=assets.model.name)
    counts = {path.stem: [len(tokenizer(row["text"])["input_ids"]) for row in rows(path)] for path in corpus}
    assert all(50 <= count <= 700 for domain in counts.values() for count in domain)
    assert 100_000 < sum(map(sum, counts.values())) < 140_000
    assert min(map(sum, counts.values())) > 15_000
