"""Each subcommand typed at a terminal: of any width, without colours, in any locale, with what it says read or not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.conftest import Files, write_lines
from terminal import Shown, run_on_terminal

WIDE = {"columns": 80}
NARROW = {"columns": 40}


@pytest.fixture(scope="module")
def store(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores, and a selection beside them."""
    out = tmp_path_factory.mktemp("terminal") / "scores"
    shown = run_on_terminal(["score", str(files.corpus), *model(files), "--domain-column", "kind", "--out", str(out)])
    assert shown.code == 0, shown.text
    return out


def model(files: Files) -> list[str]:
    return ["--model", str(files.model), "--heads", str(files.heads), "--dtype", "fp32"]


def commands(files: Files, store: Path, out: Path) -> dict[str, list[str]]:
    corpus, scores = str(files.corpus), str(store)
    rows = [{"text": f"The cow ate {n} loads of hay. We saw a red kite."} for n in range(60)]
    prose = write_lines(out / "prose.jsonl", rows)
    return {
        "score": ["score", corpus, *model(files), "--out", f"{out}/scores"],
        "estimate": ["estimate", corpus, *model(files)],
        "detect": [
            *("detect", "--model", str(files.model), "--dtype", "fp32", "--sentences", str(prose)),
            *("--samples", "2", "--context", "900", "--out", f"{out}/heads.json"),
        ],
        "select": ["select", scores, "--top", "0.5", "--out", f"{out}/selected"],
        "compare": ["compare", scores, "--against", "random"],
        "report": ["report", scores, "--out", f"{out}/r.html", "--heads", str(files.heads), *model(files)],
        "status": ["status", scores],
    }


def lines(shown: Shown) -> list[str]:
    """What a person has seen on each line in turn, without the codes that move the cursor."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.text))


@pytest.mark.parametrize("columns", [pytest.param(80, marks=pytest.mark.slow), 40], ids=str)
@pytest.mark.parametrize("name", ["score", "estimate", "detect", "select", "compare", "report", "status"])
def test_every_command_works_on_a_terminal(files: Files, store: Path, tmp_path: Path, name: str, columns: int) -> None:
    shown = run_on_terminal(commands(files, store, tmp_path)[name], columns)
    assert "Traceback" not in shown.text
    assert shown.code == 0, shown.text
    moving = [line for line in lines(shown) if re.match(r"(starting|loading|scoring|detecting|selecting) ", line)]
    assert moving or name in {"select", "compare", "status"}, "what loads torch takes a moment"
    assert max(map(len, moving), default=0) < columns
    assert "\x1b[?25l" not in shown.text, "a killed command would leave the terminal without a cursor"


@pytest.mark.parametrize("stage", ["starting", "counting tokens", "scoring"])
def test_ctrl_c_is_one_line_whenever_it_comes(files: Files, tmp_path: Path, stage: str) -> None:
    rows = [{"text": f"a tide of {n} feet came over the old road before the rain did " * 5} for n in range(3000)]
    corpus = write_lines(tmp_path / "c.jsonl", rows)
    arguments = ["score", str(corpus), *model(files), "--out", str(tmp_path / "scores")]
    shown = run_on_terminal(arguments, interrupted_at=stage)
    assert shown.code == 130, shown.text
    assert "Traceback" not in shown.text
    if stage == "scoring":
        assert "attention-influence: error: interrupted. Finished units are kept in " in shown.text
    else:
        assert [line for line in lines(shown) if line][-1] == "attention-influence: interrupted"


@pytest.mark.parametrize(
    "environment",
    [
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["dumb", "no colour", "C", "latin-1"],
)
def test_terminals_that_can_do_less(files: Files, tmp_path: Path, environment: dict[str, str]) -> None:
    corpus = write_lines(tmp_path / "flüt-海.jsonl", [{"text": f"a tide of {n} feet", "d": "海"} for n in range(20)])
    out = tmp_path / "scores"
    arguments = ["score", str(corpus), *model(files), "--domain-column", "d", "--out", str(out)]
    shown = run_on_terminal(arguments, environment=environment)
    assert shown.code == 0, shown.text
    assert sum(pq.read_table(file).num_rows for file in (out / "scores").glob("*.parquet")) == 20
    assert "1 of 1 units are done" in shown.text
    if "TERM" in environment:
        assert "\x1b" not in shown.text
    if "NO_COLOR" in environment:
        assert not re.search(r"\x1b\[[0-9;]*m", shown.text.replace("\x1b[0m", ""))
    assert ("海" if {"TERM", "NO_COLOR"} & set(environment) else "\\u6d77") in shown.text


def test_the_reader_of_a_result_may_go_away(store: Path) -> None:
    for arguments in (["status", str(store)], ["compare", str(store), "--against", "random"], ["score", "--help"]):
        command = [sys.executable, "-m", "attention_influence", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.close()
            error = child.stderr.read()
        assert child.returncode == 0
        assert b"Traceback" not in error
        assert b"BrokenPipe" not in error


def test_a_run_goes_on_when_nobody_reads_how_far_it_is(files: Files, tmp_path: Path) -> None:
    arguments = ["score", str(files.corpus), *model(files), "--out", str(tmp_path / "scores"), "--json"]
    command = [sys.executable, "-m", "attention_influence", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert child.stdout is not None
        child.stderr.close()
        data = json.loads(child.stdout.read())
    assert (child.returncode, data["units_done"]) == (0, data["units"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only some systems have a device that is always full")
def test_a_result_that_cannot_be_printed_is_one_error(store: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "attention_influence", "status", str(store)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "attention-influence: error: the result could not be printed (No space left on device)"
    )
    assert done.stderr.count("\n") == 1


def test_streams_may_be_closed(store: Path) -> None:
    command = f"{sys.executable} -m attention_influence status {store} >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 0
