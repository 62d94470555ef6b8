"""`distill`, and what its file is good for: a column to rank by, and a step of a pipeline."""

import json
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from annotated_stores import annotated_store, write_lines
from attention_influence.corpus import Columns
from attention_influence.errors import StoreError
from attention_influence.screening.array_files import arrays_to_bytes
from attention_influence.screening.student import fit_student, load_student
from attention_influence.store.reader import read_scores
from cli.conftest import Cli


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Influence is the length of the text, which a student can learn; of domain b there are few."""
    folder = tmp_path_factory.mktemp("distilled")
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["one", "two", "three", "four"], k=rng.randint(3, 60))) for _ in range(160)]
    rows = [{"text": text, "kind": "b" if at % 20 == 0 else "a"} for at, text in enumerate(texts)]
    corpus = write_lines(folder / "corpus" / "a.jsonl", [*rows, {"text": None, "kind": "a"}])
    annotated_store(folder / "scores", corpus, 1000, columns=Columns(domain="kind"))
    return folder / "scores"


@pytest.fixture(scope="module")
def student(store: Path) -> Path:
    out = store.parent / "student.safetensors"
    program = [sys.executable, "-m", "attention_influence", "distill", str(store), "--out", str(out)]
    subprocess.run(program, check=True, capture_output=True)
    return out


def test_the_card_is_of_documents_that_the_student_had_not_seen(store: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "s.safetensors"
    said = cli("distill", store, "--out", out, "--json")
    assert said.code == 0, said.err
    printed = json.loads(said.out)
    assert printed["bytes"] == out.stat().st_size < 1_500_000
    cards = {card["domain"]: card for card in printed["domains"]}
    assert {name: card["documents"] for name, card in cards.items()} == {"a": 152, "b": 8}
    assert cards["a"]["spearman"] > 0.95
    assert cards["a"]["recall"] > 0.8
    predicted, exact = np.array(cards["a"]["calibration"]).T
    assert predicted == pytest.approx(exact, rel=0.2)
    assert np.all(np.diff(predicted) > 0)
    assert [len(cards["b"]["calibration"]), cards["b"]["documents"]] == [5, 8]
    assert [row.split(":")[0] for row in cards["a"]["missed"]] == ["corpus/a.jsonl"] * len(cards["a"]["missed"])
    assert json.loads(json.dumps([asdict(card) for card in load_student(str(out)).domains])) == printed["domains"]


def test_the_card_says_where_the_student_fails() -> None:
    rng = random.Random(0)
    sizes = [rng.randint(20, 30) if at % 3 == 0 else rng.randint(40, 200) for at in range(150)]
    texts = [" ".join(rng.choices(["one", "two", "three", "four"], k=size)).encode() for size in sizes]
    influence = np.array([size if size >= 40 else rng.uniform(5, 15) for size in sizes])
    influence[0] = 1000.0  # a short text, so nothing tells that it is of the top
    names = [f"document {at}" for at in range(150)]
    [card] = fit_student(texts, influence, ["a"] * 150, names, {}, 0).domains
    (shortest, poor), (_, good), (longest, best) = card.by_length
    assert shortest == sorted(map(len, texts))[49]
    assert longest == max(map(len, texts))
    assert poor is not None
    assert good is not None
    assert best is not None
    assert poor < 0.5 < 0.8 < min(good, best)
    assert card.missed[0] == "document 0"
    assert len(card.missed) == min(5, round(30 * (1 - card.recall)))


def test_equal_stores_give_equal_files_and_fewer_documents_others(
    store: Path, student: Path, cli: Cli, tmp_path: Path
) -> None:
    assert cli("distill", store, "--out", tmp_path / "again").code == 0
    assert (tmp_path / "again").read_bytes() == student.read_bytes()
    assert load_student(str(student)).to_bytes() == student.read_bytes()
    fewer = cli("distill", store, "--out", tmp_path / "fewer", "--documents", 60, "--json")
    assert json.loads(fewer.out)["documents"] == 68


def test_a_store_can_be_ranked_by_its_column(store: Path, student: Path, cli: Cli, tmp_path: Path) -> None:
    said = cli("annotate", store, "student", "--student", student)
    assert said.code == 0, said.err
    rows = read_scores(store, ["influence", "student"]).to_pylist()
    known = [(row["influence"], row["student"]) for row in rows if row["influence"] is not None]
    assert np.corrcoef(np.array(known).T)[0, 1] > 0.95
    assert all(row["student"] is None for row in rows if row["influence"] is None)
    assert cli("select", store, "--top", 0.2, "--rank-by", "student", "--out", tmp_path / "selected").code == 0
    again = cli("annotate", store, "student", "--student", student)
    assert again.code == 0, "a column of the same student is complete"
    both = cli("annotate", store, "other", "--student", student, "--column", "x")
    assert both.code == 2
    assert "--student FILE" in both.err


def test_a_pipeline_keeps_what_is_predicted_high_and_needs_no_torch(student: Path) -> None:
    program = f"""
import pickle, sys
from datatrove.data import Document
from attention_influence.integrations.student import StudentFilter
before = "torch" in sys.modules
step = pickle.loads(pickle.dumps(StudentFilter({str(student)!r}, 1.0)))
documents = [Document(text="one two " * n, id=str(n)) for n in (2, 25)]
kept = [document.id for document in step.run(documents)]
assert kept == ["25"], kept
assert documents[0].metadata["predicted_influence"] < 0.5 < documents[1].metadata["predicted_influence"]
assert before or "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_no_student_is_named(store: Path, student: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(student.read_bytes()[:-5])
    (tmp_path / "other").write_bytes(arrays_to_bytes({"x": np.zeros(1)}, {"promise": 1}))
    (tmp_path / "old").write_bytes(arrays_to_bytes({}, {"kind": "attention-influence student", "domains": [{}]}))
    faults = {"none": "no student", "cut": "is damaged", "other": "is no student", "old": "written by another version"}
    for name, why in faults.items():
        with pytest.raises(StoreError, match=why):
            load_student(str(tmp_path / name))
        assert why in cli("annotate", store, name, "--student", tmp_path / name).err


def test_what_cannot_be_distilled_is_refused(store: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "student"
    few = cli("distill", store, "--out", out, "--documents", 20)
    assert few.code == 2
    assert "28 scored documents are too few for a student; 50 are the least" in few.err
    assert "not a score store" in cli("distill", tmp_path, "--out", out).err
    assert not out.exists()
