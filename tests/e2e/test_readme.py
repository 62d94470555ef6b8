"""The read-me's Python runs as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_influence.demo import fetch
from e2e.conftest import Detected

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_python_runs_after_the_demo(detected: list[Detected], tmp_path: Path) -> None:
    [block] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    fetch(Path.home() / ".cache/attention-influence")
    (tmp_path / "demo-output").mkdir()
    detected[0].heads.save(tmp_path / "demo-output/heads.json")
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    influences = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(influences) == 2, "the block scores two texts and prints a line for each"
