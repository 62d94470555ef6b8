"""A scorer that travels: small, always the same bytes, and only with a model that can be loaded again."""

import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from attention_influence import HeadSet, Scorer, from_network, load_model
from attention_influence.errors import ModelError
from scoring.tiny import HEADS, byte_tokenizer, network

TEXTS = ["the tide rose over the bridge and the tide fell", "numbers in a notebook of seven harbours", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network("llama").save_pretrained(tmp_path / "model")
    byte_tokenizer(bos=True).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_in_memory_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"mine was made in memory.*save_pretrained.*load_model"):
        pickle.dumps(Scorer(from_network(network("llama"), byte_tokenizer(True), "mine"), HEADS))


def test_a_model_with_a_name_is_loaded_again_where_it_arrives(folder: Path) -> None:
    scorer = Scorer(load_model(str(folder), "fp32"), HEADS, window=48, pack_tokens=200)
    content = pickle.dumps(scorer)
    assert len(content) < 2000 < (folder / "model.safetensors").stat().st_size / 10
    arrived = pickle.loads(content)
    assert arrived.score(TEXTS) == scorer.score(TEXTS)
    assert arrived.model.loaded_by == (str(folder), "fp32", False, None)
    assert arrived.model.identity == scorer.model.identity
    assert (arrived.window, arrived.pack_tokens) == (48, 200)
    assert pickle.dumps(arrived) == content


def test_a_model_that_changed_on_the_way_is_refused(folder: Path) -> None:
    content = pickle.dumps(Scorer(load_model(str(folder), "fp32"), HEADS))
    network("llama", seed=5).save_pretrained(folder)
    with pytest.raises(ModelError, match="have changed"):
        pickle.loads(content)


MAPPED = """
import sys
from datasets import load_from_disk
from attention_influence import Scorer, load_model
from attention_influence.integrations.datasets import InfluenceColumns
from scoring.tiny import HEADS

calls = []
plain = Scorer.score
Scorer.score = lambda self, texts, per_token=False: calls.append(len(texts)) or plain(self, texts, per_token)
model, folder = sys.argv[1:]
columns = InfluenceColumns(Scorer(load_model(model, "fp32"), HEADS))
mapped = load_from_disk(folder).map(columns, batched=True, batch_size=4)
print(sum(calls), mapped._fingerprint, list(mapped["influence"]))
"""


@pytest.mark.slow
def test_a_dataset_is_mapped_once_for_equal_scorers_in_other_processes_too(tmp_path: Path, folder: Path) -> None:
    from datasets import Dataset

    texts = [*TEXTS, "one more text that is long enough", "x", "a last one, the seventh of them"]
    Dataset.from_dict({"text": texts, "n": list(range(6))}).save_to_disk(tmp_path / "data")
    said = []
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", MAPPED, str(folder), str(tmp_path / "data")]
        path = ":".join([str(Path(__file__).parents[1]), *sys.path])
        environment = {"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert run.returncode == 0, run.stderr
        said.append(run.stdout.strip().split(maxsplit=1))
    (first, told), (second, told_again) = said
    assert (first, second) == ("6", "0")
    assert told == told_again
    scorer = Scorer(load_model(str(folder), "fp32"), HEADS)
    influence = [math.nan if score.influence is None else score.influence for score in scorer.score(texts)]
    assert told.endswith(str(influence))


def test_other_heads_or_options_or_weights_give_other_bytes(folder: Path) -> None:
    model = load_model(str(folder), "fp32")
    network("llama", seed=5).save_pretrained(folder)
    scorers = [Scorer(model, HEADS), Scorer(model, HEADS[:1]), Scorer(model, HeadSet((*HEADS,)), window=32)]
    scorers.append(Scorer(load_model(str(folder), "fp32"), HEADS))
    assert len({pickle.dumps(scorer) for scorer in scorers}) == 4
