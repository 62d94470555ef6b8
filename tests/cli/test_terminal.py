"""Each subcommand typed at a terminal."""

import json
from pathlib import Path

from cli.conftest import Files
from terminal import run_on_terminal


def test_scored_on_a_terminal(files: Files, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    model = ("--model", str(files.model), "--heads", str(files.heads), "--dtype", "fp32")
    shown = run_on_terminal(["score", str(files.corpus), *model, "--out", str(out)])
    assert shown.code == 0, shown.text
    assert "Traceback" not in shown.text
    assert json.loads((out / "run.json").read_text())
    assert "scoring" in shown.text
