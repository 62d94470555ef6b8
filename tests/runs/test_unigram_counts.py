"""Token counts belong to the run: units, workers, resume and new files do not change them."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from attention_influence import Scorer
from attention_influence.corpus import Columns, list_sources
from attention_influence.errors import StoreError
from attention_influence.scoring import count_unigrams as counting
from attention_influence.scoring.count_unigrams import count_unigrams
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.run import open_run
from runs.runs import Command, rows_of, texts, write_lines


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for i in range(4):
        write_lines(folder / f"{i}.jsonl", [*texts(30, i), None, ""])
    return folder


def surprisals(store: Path) -> dict[tuple[str, int], float | None]:
    return {key: row["unigram_surprisal"] for key, row in rows_of(store).items()}


def by_hand(
    tokens: dict[tuple[str, int], Sequence[int]], in_sample: set[tuple[str, int]]
) -> dict[tuple[str, int], float | None]:
    """Of each row, from the lists of tokens of all rows."""
    expected: dict[tuple[str, int], float | None] = {}
    everything = Counter(token for key in in_sample for token in tokens[key])
    for key, its_tokens in tokens.items():
        others = everything - Counter(its_tokens) if key in in_sample else everything
        size = others.total() + len(everything) + 1
        costs = [-math.log((others[token] + 1) / size) for token in its_tokens]
        expected[key] = pytest.approx(sum(costs) / len(costs), rel=1e-6) if costs else None
    return expected


def tokens_by_row(scorer: Scorer, store: Path) -> dict[tuple[str, int], Sequence[int]]:
    tokens: dict[tuple[str, int], Sequence[int]] = {}
    for name, row in rows_of(store):
        with (store.parent / name).open("rb") as file:
            file.seek(row)
            text = json.loads(file.readline())["text"]
        tokens[name, row] = scorer.model.tokens.encode([text])[0] if text else []
    return tokens


@pytest.mark.slow
def test_surprisals_are_the_same_for_any_units_and_workers(
    cli: Command, corpus: Path, tmp_path: Path, scorer: Scorer
) -> None:
    runs = {"whole": (100_000, 1), "cut": (60, 1), "two": (300, 2)}
    for name, (unit_tokens, workers) in runs.items():
        said = cli.score(corpus, tmp_path / name, "--unit-tokens", unit_tokens, "--workers", workers)
        assert said.code == 0, said.err
    whole, cut, two = (surprisals(tmp_path / name) for name in runs)
    assert whole == cut == two
    tokens = tokens_by_row(scorer, tmp_path / "whole")
    assert len(tokens) == 4 * 32
    assert whole == by_hand(tokens, set(tokens))


def test_of_a_larger_corpus_a_sample_is_counted_and_only_its_rows_are_left_out(
    cli: Command, corpus: Path, tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_SAMPLE_BYTES", 6000)
    stores = [tmp_path / "whole", tmp_path / "cut"]
    for store, unit_tokens in zip(stores, (100_000, 60), strict=True):
        assert cli.score(corpus, store, "--unit-tokens", unit_tokens).code == 0
    assert surprisals(stores[0]) == surprisals(stores[1])
    run = open_run(str(stores[0]))
    assert run is not None
    unigrams = run.unigrams()
    assert unigrams is not None
    sources = {source.name: source for source in list_sources([str(corpus)]).sources}
    tokens = tokens_by_row(scorer, stores[0])
    held = {(name, row) for name, row in tokens if unigrams.holds(sources[name], row)}
    assert 20 < len(held) < 100
    assert surprisals(stores[0]) == by_hand(tokens, held)


def test_new_files_and_resumed_runs_are_scored_by_the_counts_of_the_beginning(
    cli: Command, corpus: Path, tmp_path: Path
) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store, "--unit-tokens", 60).code == 0
    before = surprisals(store)
    for file in [*(store / "scores").glob("*.parquet")][::2]:
        file.unlink()
    write_lines(corpus / "new.jsonl", texts(30, 9))
    assert cli.score(corpus, store, "--unit-tokens", 500, "--extend").code == 0
    after = surprisals(store)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 30
    assert None not in [value for key, value in after.items() if key not in before]
    assert len([*store.glob("unigrams-*.parquet")]) == 1


def test_a_changed_file_is_not_taken_for_the_one_that_was_counted(cli: Command, corpus: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store).code == 0
    write_lines(corpus / "0.jsonl", ["keeper wrote numbers " * 200])
    assert cli.score(corpus, store, "--rescore-changed").code == 0
    [changed] = [value for (name, _), value in surprisals(store).items() if name.endswith("0.jsonl")]
    assert changed is not None
    assert 0 < changed < 20


@pytest.mark.parametrize("damage", ["gone", "another"])
def test_counts_that_are_not_those_of_the_run_are_refused(
    cli: Command, corpus: Path, tmp_path: Path, damage: str
) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store).code == 0
    [file] = store.glob("unigrams-*.parquet")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"X")
    said = cli.score(corpus, store)
    assert said.code == 1
    assert f"{file.name} cannot be read" in said.err


def test_runs_that_begin_at_once_score_by_the_same_counts(corpus: Path, tmp_path: Path, scorer: Scorer) -> None:
    """Even when one of them sees a file that the other does not."""
    early = list_sources([str(corpus)])
    write_lines(corpus / "late.jsonl", texts(10, 7))
    late = list_sources([str(corpus)])
    store = str(tmp_path / "scores")

    def begin(listing: object) -> object:
        sources = listing.sources  # type: ignore[attr-defined]
        record = {"fingerprint": {}, "columns": Columns().to_json()}
        try:
            run = begin_or_resume(
                store,
                listing,
                60,
                record,
                Changes(),
                lambda: count_unigrams(scorer, sources, Columns()),  # type: ignore[arg-type]
            )
        except StoreError as error:
            return str(error)
        found = run.unigrams()
        assert found is not None
        return found.to_bytes()

    with ThreadPoolExecutor(2) as pool:
        got = [*pool.map(begin, [early, late])]
    run = open_run(store)
    assert run is not None
    recorded = run.unigrams()
    assert recorded is not None
    assert [answer for answer in got if isinstance(answer, bytes)] in ([recorded.to_bytes()], [recorded.to_bytes()] * 2)
