"""The planted corpus has the effect that it says, and the command fails where the effect is missed."""

import json
from pathlib import Path

import pytest
import yaml

from attention_influence.cli import main
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.data.planted import COLUMN, METRIC, write_planted
from attention_influence.experiment.data.tokenizer import open_tokenizer


def documents(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]


def followers(words: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for first, second in zip(words[::2], words[1::2], strict=True):
        found.setdefault(first, set()).add(second)
    return found


def test_the_highest_fifth_is_the_lists_whose_second_words_only_the_context_tells(tmp_path) -> None:
    write_planted(tmp_path, documents=500)
    ranked = sorted(documents(tmp_path), key=lambda one: -one[COLUMN])
    lists = [followers(one["text"].split()) for one in ranked[:100]]
    assert all(len(pairs) == 4 and all(len(of) == 1 for of in pairs.values()) for pairs in lists)
    # Over all documents a first word tells nothing.
    after_one = {next(iter(pairs["ba"])) for pairs in lists if "ba" in pairs}
    assert len(after_one) > 8
    chains = [followers(one["text"].split()) for one in ranked[100:]]
    assert not any(len(pairs) == 4 and all(len(of) == 1 for of in pairs.values()) for pairs in chains)


def test_items_ask_for_a_word_that_stands_in_their_list(tmp_path) -> None:
    write_planted(tmp_path, documents=5)
    items = [json.loads(line) for line in (tmp_path / "lookup.jsonl").read_text().splitlines()]
    assert len(items) == 200
    for item in items:
        *listed, first = item["prompt"].split()
        assert followers(listed)[first] == {item["answer"].strip()}


def test_the_configuration_is_one_of_an_experiment_and_every_word_is_a_token(tmp_path) -> None:
    experiment = read_experiment(str(write_planted(tmp_path, documents=50)))
    assert experiment.planted is not None
    assert (experiment.planted.arm, experiment.planted.baseline, experiment.planted.metric) == (
        *("selected", "random"),
        METRIC,
    )
    tokenizer = open_tokenizer(str(experiment.tokenizer))
    for one in documents(tmp_path):
        ids = tokenizer(one["text"], add_special_tokens=False).input_ids
        assert len(ids) == 30
        assert tokenizer.unk_token_id not in ids


@pytest.mark.slow
def test_the_command_fails_where_the_planted_effect_is_missed(tmp_path, capsys) -> None:
    path = write_planted(tmp_path, documents=400, tokens=5120, seeds=2)
    configuration = yaml.safe_load(path.read_text())
    configuration["arms"]["selected"]["lowest"] = True
    path.write_text(yaml.safe_dump(configuration))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "planted effect missed: " in capsys.readouterr().out
