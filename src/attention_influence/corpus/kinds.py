"""Which of the files of an input are corpus: by name, by neighbouring files, and for stray JSON by content."""

import functools
import os
import posixpath
from collections.abc import Callable
from typing import Literal

from attention_influence.corpus.content import ARROW, head_of, is_metadata, spread
from attention_influence.corpus.listing import FileTree, LeftOut, check_readable, relative
from attention_influence.errors import CorpusError, NoDocuments
from attention_influence.storage.filesystems import open_filesystem, url_of

Format = Literal["parquet", "jsonl"]
Compression = Literal["gzip", "zstd"]
Kind = tuple[Format, Compression | None]

KNOWN_EXTENSIONS = ".parquet, .jsonl, .ndjson or .json (JSON lines, also with .gz or .zst)"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
# Too large for a look at their beginning to tell that they are one object.
_METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_STORE, _SELECTION = "score store", "selection"
_OF_STORE = ("run.json", "plan.parquet", "scores", "selected", "columns", "claims", "leases", "log")


def corpus_files(tree: FileTree, text: str, needed: str, without: str | None, left_out: LeftOut) -> dict[str, Kind]:
    """Path → kind of the files to read, by path; the others are counted as left out.

    Raises what `list_sources` does.
    """
    if tree.is_named:
        (path,) = tree.files
        kind = kind_of(path)
        if kind is None:
            raise CorpusError(f"{text}: not a kind of file that can be read. Known: {KNOWN_EXTENSIONS}.")
        if tree.is_local:
            check_readable([path])
        return {path: kind}
    kept: dict[str, Kind] = {}
    others: list[str] = []
    in_results = _results(tree, without)
    results: dict[str, str] = {}
    for path in tree.files:
        kind = kind_of(path)
        if (result := in_results(path)) is not None:
            results.setdefault(*result)
        elif kind is None:
            others.append(path)
            left_out.add("of another kind", relative(path, tree.root))
        else:
            kept[path] = kind
    for folder, what in results.items():
        left_out.add(what, relative(folder, tree.root) or ".")
    if tree.is_local:
        check_readable(list(kept))
    stray = [path for path in kept if path.endswith(".json") and _is_stray(tree, path, needed)]
    if len(stray) == len(kept):
        # If no object has the key, the key is probably wrong: the error comes when the files are read.
        stray = [path for path in stray if spread(head_of(url_of(tree.filesystem, path))) or _is_metadata_name(path)]
    for path in stray:
        left_out.add("JSON beside the data", relative(path, tree.root))
        del kept[path]
    if not kept:
        raise _nothing_readable(tree, text, others, stray, results)
    return kept


def kind_of(path: str) -> Kind | None:
    """How a file is read, by its name; None for a kind that cannot be."""
    stem, extension = posixpath.splitext(posixpath.basename(path).lower())
    if extension == ".parquet":
        return "parquet", None
    compression = _COMPRESSIONS.get(extension)
    if compression is not None:
        extension = posixpath.splitext(stem)[1]
    return ("jsonl", compression) if extension in _JSON_LINES else None


def _results(tree: FileTree, without: str | None) -> Callable[[str], tuple[str, str] | None]:
    """Of a path: the folder of the score store or selection that it belongs to, and which of the two it is."""

    def identity(folder: str) -> str:
        return os.path.realpath(folder) if tree.is_local else folder

    own = None
    if without is not None:
        filesystem, path = open_filesystem(without)
        own = identity(path.rstrip("/")) if type(filesystem) is type(tree.filesystem) else None

    def holds(folder: str, name: str) -> bool:
        path = f"{folder}/{name}"
        return path in tree.files or (tree.is_pattern and bool(tree.filesystem.exists(path)))

    @functools.cache
    def what(folder: str) -> str | None:
        if identity(folder) == own or (holds(folder, "run.json") and holds(folder, "plan.parquet")):
            return _STORE
        return _SELECTION if holds(folder, "selection.json") else None

    def of(path: str) -> tuple[str, str] | None:
        folder = tree.root
        for part in relative(path, tree.root).split("/"):
            result = what(folder)
            # The root may be a selection that is scored again, or hold a store beside the corpus.
            if result is not None and (folder != tree.root or (result == _STORE and part in _OF_STORE)):
                return folder, result
            folder = posixpath.join(folder, part)
        return None

    return of


def _is_stray(tree: FileTree, path: str, needed: str) -> bool:
    info = tree.files[path][1]
    url = url_of(tree.filesystem, path)
    head = head_of(url)
    size = tree.filesystem.info(path)["size"] if info is None else info["size"]
    return is_metadata(head, int(size or 0), needed) or (b"\n" not in head and _is_metadata_name(path))


def _is_metadata_name(path: str) -> bool:
    return posixpath.basename(path).lower() in _METADATA


def _nothing_readable(
    tree: FileTree, text: str, others: list[str], stray: list[str], results: dict[str, str]
) -> CorpusError:
    known = f"Known: {KNOWN_EXTENSIONS}; names that start with '.' or '_' are passed over."
    for path in others:
        if path.endswith(".arrow"):
            return NoDocuments(f"{text}: {relative(path, tree.root)} is {ARROW}. {known}")
    for path in stray:
        what = spread(head_of(url_of(tree.filesystem, path)))
        if what is not None:
            return NoDocuments(f"{text}: {relative(path, tree.root)} is {what}. {known}")
    for folder, what in results.items():
        return CorpusError(
            f"{text}: nothing but a {what} ({relative(folder, tree.root) or folder}), which is no corpus."
        )
    return CorpusError(f"{text}: {len(tree.files)} files found, none that can be read. {known}")
