"""Temporary folders of commands that were killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from attention_influence.errors import StorageError
from attention_influence.storage import temporary_folders
from attention_influence.storage.temporary_folders import temporary_folder

HOLD = """
import sys
from attention_influence.storage.temporary_folders import temporary_folder
with temporary_folder() as folder:
    (folder / "table").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_command_is_removed_and_that_of_a_live_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary_folders, "_LOCKED_BY_THEN", 0.0)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as child:
        assert child.stdout is not None
        held = Path(child.stdout.readline().strip())
        with temporary_folder() as own:
            assert {path.name for path in tmp_path.iterdir()} == {held.name, own.name}
        assert (held / "table").exists()
        child.send_signal(signal.SIGKILL)
    assert held.exists()
    with temporary_folder() as own:
        assert [path.name for path in tmp_path.iterdir()] == [own.name]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_a_moment_ago_may_not_be_locked_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "attention-influence-new").mkdir()
    (tmp_path / "attention-influence-new" / "lock").touch()
    (tmp_path / "attention-influence-of-another-kind").mkdir()
    with temporary_folder():
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_temporary_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match=r"cannot write temporary files: .*nowhere.*TMPDIR"), temporary_folder():
        pass
