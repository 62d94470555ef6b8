"""The files that one input reaches, and what was skipped: links are followed, each file counts once."""

import os
import posixpath
import re
import stat
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from attention_influence.errors import CorpusError
from attention_influence.storage.filesystems import storable

# Named as examples, for each reason.
_NAMED = 3


@dataclass
class LeftOut:
    """What was found and is not read: how many files or folders by reason, and the first few of each."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.counts[reason] += 1
        names = self.names.setdefault(reason, [])
        if len(names) < _NAMED:
            names.append(storable(name))

    def to_json(self) -> dict[str, Any]:
        return {reason: {"count": count, "names": self.names[reason]} for reason, count in self.counts.items()}


@dataclass(frozen=True)
class FileTree:
    """The files below a root: path → what identifies the file, however it was reached, and what its listing said."""

    filesystem: fsspec.AbstractFileSystem
    root: str
    files: Mapping[str, tuple[str, Mapping[str, Any] | None]]
    is_named: bool = False
    """Whether the input names the one file itself."""
    is_pattern: bool = False
    """Whether it is a glob, which may match some files of a folder only."""

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, LocalFileSystem)


def find(filesystem: fsspec.AbstractFileSystem, path: str, text: str, left_out: LeftOut) -> FileTree:
    """The files of an input. Raises CorpusError when there is nothing, or it may not be read."""
    if isinstance(filesystem, LocalFileSystem):
        return _find_locally(filesystem, path, text, left_out)
    if filesystem.isfile(path):
        return FileTree(filesystem, filesystem._parent(path), {path: (path, filesystem.info(path))}, is_named=True)
    if filesystem.isdir(path):
        root, found = path.rstrip("/"), filesystem.find(path, detail=True).items()
    elif _is_pattern(path):
        root, found = _folder_before_wildcard(path), _remote_matches(filesystem, path)
    else:
        raise _nothing(text)
    files: dict[str, tuple[str, Mapping[str, Any] | None]] = {}
    for file, info in sorted(found):
        if _is_hidden(relative(file, root)):
            left_out.add("hidden", relative(file, root))
        else:
            files[file] = (file, info)
    return FileTree(filesystem, root, files, is_pattern=not filesystem.isdir(path))


def relative(path: str, root: str) -> str:
    """The path below a root."""
    return path[len(root) :].lstrip("/")


def _find_locally(filesystem: fsspec.AbstractFileSystem, path: str, text: str, left_out: LeftOut) -> FileTree:
    try:
        mode = os.stat(path).st_mode
    except PermissionError as error:
        raise _forbidden(path) from error
    except OSError as error:
        if os.path.islink(path):
            raise CorpusError(
                f"{text}: a link that leads nowhere ({os.readlink(path)}). Restore what it names."
            ) from error
    else:
        if not stat.S_ISDIR(mode):
            if not stat.S_ISREG(mode):
                raise CorpusError(f"{text}: not a regular file, so it cannot be read twice. Write it to a file first.")
            return FileTree(
                filesystem, posixpath.dirname(path) or "/", {path: (os.path.realpath(path), None)}, is_named=True
            )
        return FileTree(filesystem, path, _Walk(path, None, left_out).files())
    if not _is_pattern(path):
        raise _nothing(text)
    root, pattern = _literal_folder(path)
    return FileTree(filesystem, root, _Walk(root, pattern, left_out).files(), is_pattern=True)


class _Folder(NamedTuple):
    path: str
    real: str
    above: frozenset[str]
    """Its own real path, and those of the folders that it was reached through."""
    linked: bool
    """Whether a link leads to it."""
    is_matched: bool
    """Whether all that lies in it is asked for."""


class _Walk:
    """The regular files below a folder, links followed: those that a pattern matches, or that lie in folders it does.

    Without a pattern each folder is entered once, by its own name if it has one below the root; with one as often as
    it is reached, for the pattern may match one of its names, but never from inside itself.
    """

    def __init__(self, root: str, pattern: str | None, left_out: LeftOut) -> None:
        self._root = root
        self._left_out = left_out
        self._pattern = None if pattern is None else re.compile(glob_translate(pattern))
        self._depth = None if pattern is None or "**" in pattern else pattern.count("/") + 1
        self._entered: set[str] = set()
        self._found: list[tuple[bool, str, str]] = []
        """(reached by a link, path, real path)"""

    def files(self) -> dict[str, tuple[str, None]]:
        """Path → real path, one path for each file: without links, if there is one, else the first."""
        real = os.path.realpath(self._root)
        folders = [_Folder(self._root, real, frozenset({real}), False, self._pattern is None)]
        behind_links: deque[_Folder] = deque()
        while folders or behind_links:
            folder = folders.pop() if folders else behind_links.popleft()
            if self._pattern is None and folder.real in self._entered:
                self._left_out.add("reached twice", relative(folder.path, self._root))
                continue
            self._entered.add(folder.real)
            for inside in self._enter(folder):
                (behind_links if os.path.islink(inside.path) else folders).append(inside)
        files: dict[str, tuple[str, None]] = {}
        seen = set()
        for _, path, real in sorted(self._found):
            if real in seen:
                self._left_out.add("reached twice", relative(path, self._root))
            else:
                seen.add(real)
                files[path] = (real, None)
        return files

    def _enter(self, folder: "_Folder") -> Iterator["_Folder"]:
        """Notes the folder's files; the folders in it."""
        for entry in _entries(folder.path):
            path = posixpath.join(folder.path, entry.name)
            name = relative(path, self._root)
            is_matched = folder.is_matched or (self._pattern is not None and self._pattern.match(name) is not None)
            if _is_hidden(entry.name):
                if is_matched:
                    self._left_out.add("hidden", name)
                continue
            is_link = entry.is_symlink()
            try:
                mode = entry.stat().st_mode
            except OSError:
                if is_matched:
                    self._left_out.add("link that leads nowhere" if is_link else "gone", name)
                continue
            real = os.path.realpath(path) if is_link else posixpath.join(folder.real, entry.name)
            linked = folder.linked or is_link
            if stat.S_ISDIR(mode):
                if real in folder.above:
                    self._left_out.add("link to a folder that it lies in", name)
                elif is_matched or self._depth is None or name.count("/") + 1 < self._depth:
                    yield _Folder(path, real, folder.above | {real}, linked, is_matched)
            elif is_matched and stat.S_ISREG(mode):
                self._found.append((linked, path, real))
            elif is_matched:
                self._left_out.add("not a regular file", name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise _forbidden(folder) from error
    except FileNotFoundError:
        return []


def check_readable(paths: list[str]) -> None:
    """Raises CorpusError naming the first file that this user may not read."""
    forbidden = [path for path in paths if not os.access(path, os.R_OK)]
    if forbidden:
        raise _forbidden(forbidden[0], len(forbidden) - 1)


def _forbidden(path: str, more: int = 0) -> CorpusError:
    others = f" (and {more:,} more)" if more else ""
    return CorpusError(
        f"{storable(path)}{others}: no permission to read it. Change its permissions, or leave it out of the inputs."
    )


def _nothing(text: str) -> CorpusError:
    return CorpusError(
        f"{text}: no such file or folder. Check the spelling, and quote a glob so that it arrives whole."
    )


def _remote_matches(filesystem: fsspec.AbstractFileSystem, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Files that the glob matches, and the files inside folders that it matches."""
    for path, info in filesystem.glob(pattern, detail=True).items():
        if info["type"] == "directory":
            yield from filesystem.find(path, detail=True).items()
        else:
            yield path, info


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _folder_before_wildcard(pattern: str) -> str:
    fixed = []
    for part in pattern.split("/")[:-1]:
        if _is_pattern(part):
            break
        fixed.append(part)
    return "/".join(fixed)


def _literal_folder(pattern: str) -> tuple[str, str]:
    """The folder that a local pattern begins with, as far as one of that name is there, and the pattern below it."""
    root, parts = "", pattern.split("/")
    while len(parts) > 1 and (os.path.isdir(f"{root}/{parts[0]}") or not _is_pattern(parts[0])):
        root, parts = f"{root}/{parts[0]}" if parts[0] else root, parts[1:]
    return root or "/", "/".join(parts)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))
