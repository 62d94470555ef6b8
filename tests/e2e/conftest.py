"""The demo's real model and texts, and the heads found on them, once for all tests."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from attention_influence import HeadSet, detect_heads, load_model
from attention_influence.demo import Assets, build_corpus, build_sentences, fetch
from attention_influence.model.language_model import LanguageModel

PROBE_TOKENS = 1024
# Of 14 heads 13 agree from ten probes on, and no more do with forty.
PROBES = 20


class Detected(NamedTuple):
    texts: list[str]
    seed: int
    heads: HeadSet


@pytest.fixture(scope="session")
def assets() -> Assets:
    return fetch()


@pytest.fixture(scope="session")
def model(assets: Assets) -> LanguageModel:
    return load_model(str(assets.model), "bf16", "cpu")


@pytest.fixture(scope="session")
def detected(model: LanguageModel, assets: Assets, tmp_path_factory: pytest.TempPathFactory) -> list[Detected]:
    """Two detections that share neither seed nor text."""
    texts = _texts(build_sentences(assets, tmp_path_factory.mktemp("sentences")))
    return [
        Detected(part, seed, detect_heads(model, part, samples=PROBES, context=PROBE_TOKENS, seed=seed))
        for seed, part in enumerate((texts[::2], texts[1::2]))
    ]


@pytest.fixture(scope="session")
def documents(assets: Assets, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Ten documents of each of the demo's four domains."""
    files = build_corpus(assets, tmp_path_factory.mktemp("corpus"))
    return [text for file in files for text in [t for t in _texts(file) if len(t) < 700][:10]]


def _texts(file: Path) -> list[str]:
    return [json.loads(line)["text"] for line in file.open(encoding="utf-8")]
