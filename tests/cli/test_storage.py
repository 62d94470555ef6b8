"""Storage that lacks something, is full or cannot be written, as each command meets it."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest

from annotated_stores import annotated_store
from attention_influence import cli as command_line
from cli.conftest import Cli, Files, write_lines


@pytest.fixture
def store(tmp_path: Path) -> str:
    rows: list[dict[str, object]] = [{"text": f"The ferry left {n}.", "number": n} for n in range(40)]
    (tmp_path / "corpus").mkdir()
    return annotated_store(tmp_path / "store", write_lines(tmp_path / "corpus" / "a.jsonl", rows).parent).url


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing can be made, for root neither: file systems say so by the system calls' errors."""
    folder = tmp_path / "closed"
    folder.mkdir()
    genuine = os.open

    def refused(path: Any, flags: int, *others: Any, **named: Any) -> int:
        if str(path).startswith(str(folder)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return genuine(path, flags, *others, **named)

    monkeypatch.setattr(os, "open", refused)
    return folder


def nothing_is_loaded(*given: Any, **named: Any) -> None:
    pytest.fail("the model was loaded, or the work begun, for an output that cannot be written")


def commands(files: Files, store: str, out: Path) -> dict[str, list[object]]:
    """Each command that writes, to `out`."""
    model = ["--model", files.model, "--dtype", "fp32"]
    sentences = [*model, "--sentences", files.corpus]
    return {
        "detect": ["detect", *sentences, "--out", out / "h.json"],
        "stability": ["stability", *sentences, "--out", out / "s.json"],
        "validate": ["validate", *sentences, "--heads", files.heads, "--out", out / "v.json"],
        "score": ["score", files.corpus, *model, "--heads", files.heads, "--out", out / "scores"],
        "select": ["select", store, "--top", "0.5", "--out", out / "selected"],
        "select --manifest": ["select", store, "--top", "0.5", "--manifest", "--out", out / "selected"],
        "report": ["report", store, "--out", out / "r.html"],
        "demo": ["demo", "--out", out / "demo"],
    }


COMMANDS = [*commands(Files(Path(), Path(), Path()), "", Path())]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (
        *("commands.detect:load", "commands.stability:load", "commands.validate:load", "commands.score:load"),
        *("commands.report:write_report", "commands.demo:fetch", "selection.select:choose_rows"),
    ):
        module, _, name = place.partition(":")
        monkeypatch.setattr(import_module(f"attention_influence.{module}"), name, nothing_is_loaded)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    cli: Cli, files: Files, store: str, closed: Path, command: str
) -> None:
    said = cli(*commands(files, store, closed)[command])
    assert said.code == 1
    assert said.err.count("attention-influence: error: cannot write ") == 1
    assert "closed" in said.err
    assert "Read-only file system" in said.err
    assert list(closed.iterdir()) == []


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", ["detect", "stability", "validate", "report"])
def test_a_folder_where_a_file_is_wanted_is_refused_before_any_work(
    cli: Cli, files: Files, store: str, tmp_path: Path, command: str
) -> None:
    given = commands(files, store, tmp_path)[command]
    Path(str(given[-1])).mkdir()
    said = cli(*given)
    assert said.code == 1
    assert f"cannot write {given[-1]}: it is a folder" in said.err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_where_a_folder_is_wanted_is_refused_before_any_work(
    cli: Cli, files: Files, store: str, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    said = cli(*commands(files, store, tmp_path / "file")[command])
    assert said.code == 1
    assert "cannot write " in said.err
    assert "is a file, not a folder" in said.err
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_added_column_is_refused_on_a_store_that_cannot_be_written(cli: Cli, store: str, closed: Path) -> None:
    Path(store).rename(closed / "store")
    said = cli("annotate", closed / "store", "n", "--column", "number")
    assert said.code == 1
    assert f"cannot write {closed / 'store'}: " in said.err
    assert cli("status", closed / "store").code == 0


def test_a_disk_that_fills_up_while_a_selection_is_written_is_said_and_what_is_finished_is_kept(
    cli: Cli, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attention_influence.selection.output import shards

    asked = ["select", store, "--top", "0.9", "--out", tmp_path / "out"]
    assert cli(*asked[:-1], tmp_path / "undisturbed").code == 0
    with monkeypatch.context() as full:

        def no_room(*given: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(shards.LineShards, "close", no_room)
        said = cli(*asked)
    assert said.code == 1
    assert said.err.count("error: ") == 1
    assert f"{tmp_path / 'out'} is not written: No space left on device. Free some space there" in said.err
    assert not (tmp_path / "out").exists()
    assert cli(*asked).code == 0
    for file in ("data/00000.jsonl", "selection.json"):
        assert (tmp_path / "out" / file).exists() == (tmp_path / "undisturbed" / file).exists()
    assert not (tmp_path / ".out.part").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/disk/file"),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/disk/file"),
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/disk']"),
        OSError("Matplotlib requires access to a writable cache directory; set the MPLCONFIGDIR environment variable"),
    ],
    ids=str,
)
def test_what_storage_refuses_anywhere_is_one_sentence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(name: str) -> Callable[[object], None]:
        def run(config: object) -> None:
            raise error

        return run

    monkeypatch.setattr(command_line, "_function", fail)
    said = cli("status", "store")
    assert said.code == 1
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("attention-influence: error: ")
    assert (error.strerror or str(error)) in said.err


def test_a_fault_of_this_library_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_function", lambda name: lambda config: config.no_such_field)
    with pytest.raises(AttributeError):
        cli("status", "store")


def test_a_full_temporary_folder_is_named_and_no_unit_is_blamed(
    cli: Cli, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise duckdb.IOException('IO Error: Could not write file "/tmp/tables.duckdb": No space left on device')

    with monkeypatch.context() as no_room:
        no_room.setattr(duckdb, "connect", full)
        for given in (
            ["report", store, "--out", tmp_path / "r.html"],
            ["select", store, "--top", "0.5", "--manifest", "--rank-by", "influence+length", "--out", tmp_path / "m"],
        ):
            said = cli(*given)
            assert said.code == 1
            assert said.err.count("error: cannot write temporary files: ") == 1
            assert "No space left on device" in said.err
            assert "TMPDIR" in said.err
            assert "elete" not in said.err
    assert not (tmp_path / "m").exists()


def test_without_any_temporary_folder_one_sentence_says_so(
    cli: Cli, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["select", store, "--top", "0.5", "--manifest", "--rank-by", "influence+length", "--out", tmp_path / "m"]
    with monkeypatch.context() as nowhere:
        nowhere.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        said = cli(*asked)
    assert said.code == 1
    assert said.err.count("error: cannot write temporary files: ") == 1
    assert "No such file or directory" in said.err
    assert not (tmp_path / "m").exists()
    assert cli(*asked).code == 0


def test_a_file_system_that_takes_no_more_bytes_is_refused_before_the_ranking(store: str, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from attention_influence.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    asked = ["select", store, "--top", "0.5", "--manifest", "--out", str(tmp_path / "m")]
    said = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.startswith(f"attention-influence: error: cannot write {tmp_path / 'm'}: ")
    assert "File too large" in said.stderr
    assert "Traceback" not in said.stderr
