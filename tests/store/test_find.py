"""Rows of a store by key and by id, and what is said of those that are not there."""

import json
from pathlib import Path

import pytest

from attention_influence.corpus import list_sources
from attention_influence.corpus.slices import Slice
from attention_influence.errors import UsageError
from attention_influence.store.find import find_row, keys_with_id
from attention_influence.store.plan import Unit, plan_to_bytes
from attention_influence.store.reader import ScoreStore, open_store
from selection.store_files import score_row, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ScoreStore:
    """Two units; the names of the sources hold colons."""
    folder = tmp_path_factory.mktemp("find")
    for name in ("a:1.jsonl", "b.jsonl"):
        (folder / name).write_text(json.dumps({"text": "x"}) + "\n")
    sources = list_sources([str(folder)]).sources
    first, second = (source.name for source in sources)
    units = [
        [score_row(first, 0, 0.5, id="x"), score_row(first, 20, 0.25, id="é")],
        [score_row(second, 0, 0.125, id="x"), score_row(second, 40, None, reason="empty")],
    ]
    return open_store(str(write_store(folder / "store", units, sources)))


def source(store: ScoreStore, start: str) -> str:
    return next(name for name in store.sources if name.rpartition("/")[2].startswith(start))


def test_a_row_is_found_by_its_key_in_whichever_unit(store: ScoreStore) -> None:
    a, b = source(store, "a"), source(store, "b")
    assert find_row(store, (a, 20))["influence"] == 0.25
    assert find_row(store, (b, 40)) | {"reason": "empty", "influence": None, "id": None} == find_row(store, (b, 40))


def test_an_unknown_source_is_answered_with_those_like_it(store: ScoreStore) -> None:
    a = source(store, "a")
    with pytest.raises(UsageError, match=f"no source '{a}l'; did you mean '{a}'. A key is SOURCE:ROW"):
        find_row(store, (a + "l", 0))
    with pytest.raises(UsageError, match=f"no source 'x'; of its 2 there are {a}, {source(store, 'b')}. A key is"):
        find_row(store, ("x", 0))


def test_an_unknown_row_is_answered_with_the_nearest(store: ScoreStore) -> None:
    with pytest.raises(UsageError, match=r"no row 39 .*nearest are 0 and 40.*byte at which its line begins"):
        find_row(store, (source(store, "b"), 39))


def test_ids_give_every_key_that_has_them(store: ScoreStore) -> None:
    a, b = source(store, "a"), source(store, "b")
    assert keys_with_id(store, "é") == [(a, 20)]
    assert keys_with_id(store, "x") == [(a, 0), (b, 0)]


def test_an_unknown_id_is_answered_with_how_to_list_them(store: ScoreStore) -> None:
    with pytest.raises(UsageError, match=r"no document with the id 'nope'; ids are such as 'x', 'é'") as raised:
        keys_with_id(store, "nope")
    _, _, command = str(raised.value).partition('python -c "')
    code, _, _ = command.rpartition('"')
    assert "read_scores" in code
    exec(compile(code, "listing", "exec"), {})


def test_a_store_without_ids_says_so(tmp_path: Path) -> None:
    opened = open_store(str(write_store(tmp_path / "store", [[score_row("a", 0, 0.5)]])))
    with pytest.raises(UsageError, match="holds no ids: it was scored without --id-column"):
        keys_with_id(opened, "x")


def test_a_row_of_an_unfinished_unit_is_not_called_missing(tmp_path: Path) -> None:
    for name in ("done.jsonl", "later.jsonl"):
        (tmp_path / name).write_text(json.dumps({"text": "x"}) + "\n")
    done, later = list_sources([str(tmp_path)]).sources
    folder = write_store(tmp_path / "store", [[score_row(done.name, 0, 0.5)]])
    units = [Unit("000", (Slice(done),)), Unit("001", (Slice(later),))]
    (folder / "plan.parquet").write_bytes(plan_to_bytes(units))
    opened = open_store(str(folder))
    with pytest.raises(UsageError, match=f"{later.name}:0 is in a unit of .* that is not scored yet"):
        find_row(opened, (later.name, 0))
