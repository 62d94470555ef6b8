"""The read-me's Python runs as it is written, on the demo's file of the model that it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_influence.demo import Assets
from e2e.conftest import Detected

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

README = Path(__file__).parents[2] / "README.md"
HUB_ID = "HuggingFaceTB/SmolLM2-135M"


def test_the_readmes_python_runs(assets: Assets, detected: list[Detected], tmp_path: Path) -> None:
    [block] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    detected[0].heads.save(tmp_path / "heads.json")
    assert block.count(HUB_ID) == 1
    block = block.replace(HUB_ID, str(assets.model))
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    influences = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(influences) == 2, "the block scores two texts and prints a line for each"
