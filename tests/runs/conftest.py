import json
from pathlib import Path

import pytest

from attention_influence import Scorer
from runs.runs import HEADS, Command
from tiny_models import save_tiny, tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny(tmp_path_factory.mktemp("runs") / "model", "llama")
    (folder / "heads.json").write_text(json.dumps(HEADS))
    return folder


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return Scorer(tiny("llama").model, HEADS, pack_tokens=256)


@pytest.fixture
def cli(model: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(model, capsys)
