"""`compare`, and what `select` prints of repetition, as users read them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_influence.corpus import Columns, list_sources, read_rows
from cli.conftest import Cli, write_lines
from report.stores import scored, write_store

Make = Callable[..., Path]
COUNT = 80


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    return write_lines(
        tmp_path / "corpus" / "a.jsonl", [{"text": f"document {n}\tof \u202e{'words ' * 60}"} for n in range(COUNT)]
    )


@pytest.fixture
def make(tmp_path: Path, corpus: Path) -> Make:
    """A store of the corpus: influence rises with the row, loss_base falls, copy_share goes up and down."""

    def store(name: str, first: int = 0, **run: Any) -> Path:
        listing = list_sources([str(corpus)])
        (source,) = listing.sources
        offsets = [row.row for rows in read_rows(source, Columns()) for row in rows]
        rows = [
            scored(
                offset,
                n / 100,
                source=source.name,
                id=None,
                loss_base=3 - n / 100,
                loss_ref=(3 - n / 100) * (1 + n / 100),
                copy_share=0.5 + 0.5 * math.sin(n),
                unigram_surprisal=5.0,
            )
            for n, offset in enumerate(offsets)
        ]
        return write_store(tmp_path / name, rows[first:], sources=[source], **run)

    return store


def test_one_store_is_compared_with_its_controlled_ranking_in_tables_and_excerpts(cli: Cli, make: Make) -> None:
    store = make("s")
    said = cli("compare", store)
    assert said.code == 0, said.err
    assert f"A: influence of {store}" in said.out
    assert f"B: controlled of {store}" in said.out
    assert "only A (rank in A, in B)" in said.out
    assert "corpus/a.jsonl:" in said.out
    assert "⇥of ⟨U+202E⟩words" in said.out
    assert "\u202e" not in said.out


def test_json_tells_all_of_it(cli: Cli, make: Make) -> None:
    said = json.loads(cli("compare", make("s"), "--against=-loss_base", "--top", 0.1, "--json").out)
    (one,) = said["agreements"]
    assert (one["domain"], one["against"], one["documents"], one["chosen"]) == ("web", "-loss_base", COUNT, 8)
    assert (one["spearman"], one["overlap"], one["chance"]) == (pytest.approx(1), 1.0, 0.1)
    assert one["both"]["means"]["influence"] == pytest.approx(0.755)
    assert said["b"][0]["ranking"] == {"name": "-loss_base", "first": "lowest"}
    other = json.loads(cli("compare", said["a"]["store"], "--against", "loss_base", "--json").out)["agreements"][0]
    assert len(other["examples_a"]) == 5
    first = other["examples_a"][0]
    assert (first["rank_a"], first["rank_b"]) == (1, COUNT)
    assert first["excerpt"].startswith(f"document {COUNT - 1}⇥of")
    assert len(first["excerpt"]) < 250


def test_baselines_side_by_side_give_a_row_for_each(cli: Cli, make: Make) -> None:
    said = cli(
        "compare", make("s"), "--against", "random,perplexity,length", "--against", "copy_share", "--against=-length"
    )
    assert said.code == 0, said.err
    rows = [line.split()[:3] for line in said.out.splitlines() if line.startswith("web")]
    assert rows == [["web", n, str(COUNT)] for n in ("random", "perplexity", "length", "copy_share", "-length")]


def test_two_stores_are_compared_by_key_and_their_differences_named(cli: Cli, make: Make) -> None:
    a, b = make("a", fingerprint={"heads": [[0, 1]]}), make("b", first=20, fingerprint={"heads": [[1, 1]]})
    said = cli("compare", a, b)
    assert said.code == 0, said.err
    assert "fingerprints differ in: heads" in said.out
    assert f"{COUNT - 20} documents in both stores; 20 only in A, 0 only in B" in said.out
    assert "1.0000" in said.out


def test_without_the_corpus_there_are_keys_and_a_reason(cli: Cli, make: Make, corpus: Path) -> None:
    store = make("s")
    corpus.unlink()
    said = cli("compare", store, "--against", "loss_base")
    assert said.code == 0, said.err
    assert "corpus/a.jsonl:" in said.out
    assert "document " not in said.out
    assert "warning: The texts of corpus/a.jsonl are not shown" in said.out


def test_a_sample_and_an_unfinished_store_are_told(cli: Cli, make: Make) -> None:
    said = cli("compare", make("s", complete=False), "--against", "length", "--sample", 30)
    assert "30 documents (of a random sample by key, at most 30)" in said.out
    assert "is not finished: 1 of 2 units" in said.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--against", "perplxity"], "did you mean 'perplexity'"),
        (["--rank-by", "nothing"], "no ranking 'nothing'"),
        (["--top", "0"], "--top is 0.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(cli: Cli, make: Make, options: list[str], said: str) -> None:
    result = cli("compare", make("s"), *options)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_select_prints_repetition_and_what_the_controls_explain(cli: Cli, make: Make, tmp_path: Path) -> None:
    store = make("s")
    said = cli("select", store, "--top", 0.2, "--out", tmp_path / "one")
    assert said.code == 0, said.err
    assert "tokens in documents that repeat themselves" in said.out
    assert f"attention-influence compare {store}" in said.out
    said = cli("select", store, "--top", 0.2, "--rank-by", "controlled", "--out", tmp_path / "two")
    assert "of influence explained" in said.out
    assert "repeat themselves" not in said.out
