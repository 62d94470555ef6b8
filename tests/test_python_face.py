"""What the package offers in Python: quiet calls, streams, tables and how they show in a notebook."""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import attention_influence
from attention_influence import DocumentScore, HeadSet, Scorer, detect_heads, load_model, read_scores, select
from attention_influence.errors import StoreError, TextsError
from attention_influence.store.columns.added import define
from scoring.tiny import HEADS, byte_tokenizer, network, tiny
from selection.store_files import score_row, scored_store, write_store
from tiny_models import Tiny


@pytest.fixture(scope="module")
def made() -> Tiny:
    return tiny()


@pytest.fixture(scope="module")
def scorer(made: Tiny) -> Scorer:
    return Scorer(made.model, HEADS, pack_tokens=64)


def test_every_public_name_is_there() -> None:
    assert set(attention_influence.__all__) == set(attention_influence._HOMES)
    for name in attention_influence.__all__:
        assert getattr(attention_influence, name).__name__ == name


def test_the_parameters_of_detection_are_in_its_signature() -> None:
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(detect_heads).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "progress"
    }
    assert keywords == {
        "samples": 800,
        "context": 4096,
        "share": 0.05,
        "where": "needle",
        "seed": 0,
        "until_stable": False,
    }
    with pytest.raises(TypeError, match="sample"):
        detect_heads(None, [], sample=3)  # type: ignore[call-arg, arg-type]


def test_scores_come_as_a_stream_that_reads_no_further_than_it_must(scorer: Scorer) -> None:
    texts = [f"document {number} " * 40 for number in range(60)]
    taken: list[int] = []

    def stream() -> Iterator[str]:
        for number, text in enumerate(texts):
            taken.append(number)
            yield text

    scores = scorer.score_iter(stream())
    assert taken == []
    first = next(scores)
    assert 0 < len(taken) < len(texts)
    assert [first, *scores] == scorer.score(texts)
    assert len(taken) == len(texts)


def test_a_stream_has_a_score_or_a_reason_for_each_item(scorer: Scorer) -> None:
    found = list(scorer.score_iter(["a text of some length", None, 7, b"bytes are texts, too", "", b"\xff"]))
    assert [score.reason for score in found] == [None, "null_text", "not_a_string", None, "empty", "invalid_utf8"]
    with pytest.raises(TextsError, match=r"give \[text\]"):  # at the call, not at the first score
        scorer.score_iter("one text")


def test_a_score_as_a_dictionary_is_json(scorer: Scorer) -> None:
    plain, with_tokens = scorer.score(["a text of some length"])[0], scorer.score(["abc " * 30], per_token=True)[0]
    record = json.loads(json.dumps(plain.to_dict(), allow_nan=False))
    assert DocumentScore(**record) == plain
    losses = json.loads(json.dumps(with_tokens.to_dict(), allow_nan=False))["token_losses"]
    assert with_tokens.token_losses is not None
    assert losses["tokens"] == with_tokens.token_losses.tokens.tolist()
    assert np.nanmean(np.array(losses["base"], dtype=float)) == pytest.approx(with_tokens.loss_base)


def test_a_token_without_a_loss_is_none_in_the_dictionary() -> None:
    without_bos = tiny(bos=False)
    (score,) = Scorer(without_bos.model, HEADS).score(["abcdef"], per_token=True)
    losses = score.to_dict()["token_losses"]
    assert losses["base"][0] is None
    assert None not in losses["base"][1:]


def test_scores_of_a_store_are_read_as_a_table(tmp_path: Path) -> None:
    units = [[score_row("a", 0, 0.5), score_row("a", 1, None, reason="empty")], [score_row("b", 0, 0.25)]]
    store = write_store(tmp_path / "store", units)
    table = read_scores(store)
    assert table.column("influence").to_pylist() == [0.5, None, 0.25]
    assert table.column("reason").to_pylist() == [None, "empty", None]
    assert read_scores(str(store), ["row", "source"]).to_pydict() == {"row": [0, 1, 0], "source": ["a", "a", "b"]}
    column = define(str(store), "edu", {"name": "edu", "source": {"column": "edu"}})
    column.publish("000", pa.array([1.0, None]), {})
    with pytest.raises(StoreError, match=r"1 of 2 finished units .*annotate"):
        read_scores(store)
    column.publish("001", pa.array([3.0]), {})
    assert read_scores(store).column("edu").to_pylist() == [1.0, None, 3.0]
    with pytest.raises(StoreError, match=r"no column 'infleunce'; it has source, row"):
        read_scores(store, ["infleunce"])


def test_reading_scores_does_not_import_torch(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [[score_row("a", 0, 0.5)]])
    script = (
        "import sys; from attention_influence import read_scores; "
        f"print(read_scores({str(store)!r}).num_rows, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "False"]


def test_notebooks_show_tables_in_which_everything_is_escaped(tmp_path: Path) -> None:
    bad, escaped = "<script>alert('&')</script>", "&lt;script&gt;"
    heads = HeadSet(
        ((1, 3), (0, 2)),
        model={"name": bad},
        scores=[[0.0, 0.0, 0.25, 0.0], [0.0, 0.0, 0.0, 0.75]],
        standard_errors=[[0.0] * 4, [0.0, 0.0, 0.0, 0.125]],
    )._repr_html_()
    assert "<td>1</td><td>3</td><td>0.7500</td><td>0.1250</td>" in heads
    assert "<td>0</td><td>2</td><td>0.2500</td>" in heads
    assert "<td>2</td><td>1</td></tr>" in HeadSet(((2, 1),))._repr_html_()
    score = DocumentScore(n_tokens=1234, influence=0.5, flag=bad)._repr_html_()
    assert "<td>n_tokens</td><td>1,234</td>" in score
    assert "<td>influence</td><td>0.5000</td>" in score
    rows = [score_row("a", row, row / 4, domain=bad) for row in range(4)]
    store = write_store(tmp_path / "store", [rows])
    selection = select(store, top=0.5, out=tmp_path / "out", manifest=True)._repr_html_()
    assert "<td>4</td><td>4</td><td>2</td><td>40</td><td>20</td><td>0.5000</td>" in selection
    for shown in (heads, score, selection):
        assert "<script" not in shown
        assert escaped in shown


def test_library_calls_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    network("llama").save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    (tmp_path / "corpus.jsonl").write_text("".join(f'{{"text": "text {row}"}}\n' for row in range(4)))
    store = scored_store(tmp_path / "store", tmp_path / "corpus.jsonl")
    capfd.readouterr()
    model = load_model(str(folder), dtype="float32")
    assert model.loaded_by is not None
    assert model.loaded_by[1] == "fp32"
    Scorer(model, HEADS).score(["a text of some length", None])
    select(store, top=0.5, out=tmp_path / "out")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_detection_prints_nothing_not_even_its_warnings(tmp_path: Path) -> None:
    """In a process of its own, in which nobody has set up logging."""
    script = (
        "from attention_influence import detect_heads; from heads.test_detect import TIDES; "
        "from tiny_models import tiny; model = tiny('gemma3_text', max_position_embeddings=1024).model; "
        "assert detect_heads(model, [TIDES], samples=1, context=700).warnings()"
    )
    tests = str(Path(__file__).parent)
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tests, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
