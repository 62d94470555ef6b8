"""A selection into a folder that cannot be replaced by a rename: a mount point, a link, a parent that is closed."""

import errno
import os

import pytest
from store_files import scored_store

from attention_influence.errors import UsageError
from attention_influence.selection import select
from attention_influence.selection.output import staging

TOP = {"top": 0.5, "shard_bytes": 100}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "web").mkdir()
    lines = b"".join(b'{"text": "line %.2f"}\n' % (n * 7 % 40 / 100) for n in range(40))
    (tmp_path / "web" / "a.jsonl").write_bytes(lines)
    return scored_store(tmp_path / "store", tmp_path / "web")


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """A folder that behaves as a mount point: it can be neither replaced nor moved, and another disk is behind it."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    rename, ismount = os.rename, os.path.ismount

    def within(path):
        return str(path).startswith(f"{folder}/")

    def refused(source, target, *others, **named):
        if str(folder) in (str(source), str(target)):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), source, None, target)
        if within(source) != within(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
        rename(source, target, *others, **named)

    monkeypatch.setattr(os, "rename", refused)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(folder) or ismount(path))
    return folder


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_mount_point_gets_the_files_and_nothing_else(tmp_path, store, mounted):
    select(store, out=tmp_path / "plain", **TOP)
    (mounted / "lost+found").mkdir()  # of the file system
    select(store, out=mounted, **TOP)
    assert files_in(mounted) == files_in(tmp_path / "plain")
    assert {path.name for path in mounted.iterdir()} == {"README.md", "data", "lost+found", "selection.json"}
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UsageError, match="not empty"):
        select(store, out=mounted, **TOP)
    select(store, out=mounted, overwrite=True, top=0.25)
    select(store, out=tmp_path / "other", top=0.25)
    assert files_in(mounted) == files_in(tmp_path / "other")
    assert (mounted / "lost+found").exists()


def test_moving_into_a_mount_point_goes_on_where_it_was_cut_off(tmp_path, store, mounted, monkeypatch):
    select(store, out=tmp_path / "plain", **TOP)
    moves = staging._move, []

    def cut_off(*arguments):
        moves[1].append(1)
        if len(moves[1]) == 3:
            raise KeyboardInterrupt
        moves[0](*arguments)

    monkeypatch.setattr(staging, "_move", cut_off)
    with pytest.raises(KeyboardInterrupt):
        select(store, out=mounted, **TOP)
    assert not (mounted / "selection.json").exists()
    select(store, out=mounted, **TOP)
    assert files_in(mounted) == files_in(tmp_path / "plain")


def test_a_folder_mounted_from_the_same_disk_is_known_by_the_list_of_mounts(tmp_path, monkeypatch):
    listed = "36 35 98:0 /a " + str(tmp_path / "with space").replace(" ", "\\040") + " rw - ext4 /dev/sda rw\n"
    monkeypatch.setattr(staging.Path, "read_text", lambda path, **_: listed)
    assert staging._is_mount_point(str(tmp_path / "with space"))
    assert not staging._is_mount_point(str(tmp_path / "other"))


def test_a_link_to_a_folder_is_followed(tmp_path, store):
    select(store, out=tmp_path / "plain", **TOP)
    (tmp_path / "elsewhere").mkdir()
    for target in ("elsewhere", "not_there_yet"):
        link = tmp_path / f"link_to_{target}"
        link.symlink_to(tmp_path / target)
        select(store, out=link, **TOP)
        assert link.is_symlink()
        assert files_in(tmp_path / target) == files_in(tmp_path / "plain")


def test_a_folder_whose_parent_is_closed_is_written_inside(tmp_path, store, monkeypatch):
    select(store, out=tmp_path / "plain", **TOP)
    out = tmp_path / "parent" / "out"
    out.mkdir(parents=True)
    access, mkdir = os.access, os.mkdir

    def in_parent(path):
        return os.path.dirname(path) == str(out.parent)

    def refused(path, *others, **named):
        if in_parent(str(path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return mkdir(path, *others, **named)

    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(out.parent) and access(path, mode))
    monkeypatch.setattr(os, "mkdir", refused)
    select(store, out=out, **TOP)
    assert files_in(out) == files_in(tmp_path / "plain")


def test_a_selection_in_an_image_of_a_container_is_replaced(tmp_path, store, monkeypatch):
    """Folders of a lower layer of an overlay cannot be renamed."""
    out = tmp_path / "out"
    select(store, out=out, **TOP)
    rename = os.rename

    def refused(source, *others):
        if str(source) == str(out):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        rename(source, *others)

    monkeypatch.setattr(os, "rename", refused)
    select(store, out=out, overwrite=True, top=0.25)
    select(store, out=tmp_path / "plain", top=0.25)
    assert files_in(out) == files_in(tmp_path / "plain")
