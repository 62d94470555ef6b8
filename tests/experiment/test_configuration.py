from pathlib import Path

import pytest

from attention_influence.errors import UsageError
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.settings import Arm
from experiment.experiments import ARMS, TINY, write_config


def read(folder: Path, arms: str = ARMS, more: str = TINY):  # type: ignore[no-untyped-def]
    return read_experiment(str(write_config(folder / "arms.yaml", folder / "corpus", folder / "scores", arms, more)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    experiment = read(tmp_path, ARMS + "  bottom: {add: influence, lowest: true, share: 0.2}\n")
    assert experiment.arms["corpus"] == Arm("corpus")
    assert experiment.arms["random"] == Arm("random", add="random", like="selected")
    assert experiment.arms["bottom"].ranking == "-influence"
    assert experiment.seeds == (0, 1)
    assert (experiment.steps, experiment.rows, experiment.trained_tokens) == (10, 40, 1280)
    assert experiment.recipe.learning_rate == 0.01


def test_tokens_are_whole_batches(tmp_path: Path) -> None:
    assert read(tmp_path, more=TINY.replace("tokens: 1280", "tokens: 1400")).trained_tokens == 1280


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("tokens:", "token:", "unknown key 'token'; did you mean 'tokens'?"),
        ("context: 32", "contxt: 32", "recipe: unknown key 'contxt'; did you mean 'context'?"),
        ("tokens: 1280", "tokens: many", "tokens is 'many'; expected int"),
        ("tokens: 1280\n", "", "the key 'tokens' is missing"),
        ("tokens: 1280", "tokens: 100", "tokens is 100, less than one batch of 128"),
        ("batch_tokens: 128", "batch_tokens: 100", "no multiple of context (32): give 96"),
        ("device_rows: 2", "device_rows: 3", "does not divide the 4 rows of a batch"),
        ("seeds: 2", "seeds: [1, 1]", "a list of different seeds"),
        ("seeds: 2", "seeds: 0", "give how many"),
        ("vocabulary: 310", "vocabulary: 200", "tokenizer.vocabulary is 200"),
        ("heldout: 0.1", "heldout: 1", "heldout is 1.0"),
        ("warmup: 0.1", "warmup: 0.9", "more than all steps together"),
        ("model: {model_type: llama,", "model: {", "a mapping needs model_type"),
        ("share: 0.2}", "share: 20%}", "arms.selected: share is '20%'"),
        ("share: 0.2}", "shar: 0.2}", "arms.selected: unknown key 'shar'; did you mean 'share'?"),
        ("{add: influence, share: 0.2}", "{share: 0.2}", "share and lowest belong to a ranking"),
        ("{add: influence, share: 0.2}", "{add: influence}", "arms.selected: share is missing"),
        ("{add: influence, share: 0.2}", "{add: influence, only: edu, share: 0.2}", "not both"),
        ("like selected", "like selectde", "there is no such arm; did you mean 'selected'?"),
        ("like selected", "like corpus", "that arm has no share of its own"),
        ("  only:", "  on/ly:", "an arm's name is a folder's"),
        ("{add: random, share: like selected}", "{add: length-matched, share: 0.2}", "whose lengths to match"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in ARMS + TINY
    with pytest.raises(UsageError) as refused:
        read(tmp_path, ARMS.replace(before, after), TINY.replace(before, after))
    assert str(refused.value).startswith(f"{tmp_path}/arms.yaml: ")
    assert says in str(refused.value)


def test_a_ranking_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="influence is of a score store, and none is given"):
        read_experiment(str(write_config(tmp_path / "arms.yaml", tmp_path)))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "tokens: [\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"a\.yaml"):
        read_experiment(str(tmp_path / "a.yaml"))
    with pytest.raises(UsageError, match="No such file"):
        read_experiment(str(tmp_path / "b.yaml"))


@pytest.mark.parametrize("name", ["training.yaml", "training_gpu.yaml"])
def test_the_configurations_of_the_studies_are_read(name: str) -> None:
    experiment = read_experiment(str(Path(__file__).parents[2] / "studies" / name))
    assert list(experiment.arms) == ["corpus", "selected", "random", "controlled"]
    assert len(experiment.seeds) == 5
