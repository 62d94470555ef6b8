"""The files of a corpus: listed once, named independently of where they lie, and recognised again later."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import fsspec

from attention_influence.corpus.filesystems import open_filesystem, version_of
from attention_influence.errors import CorpusError, UsageError

Format = Literal["parquet", "jsonl"]
Compression = Literal["gzip", "zstd"]

_JSON_LINES = (".jsonl", ".ndjson", ".json")
_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
KNOWN_EXTENSIONS = ".parquet, .jsonl, .ndjson or .json (JSON lines, also with .gz or .zst)"


@dataclass(frozen=True)
class Source:
    """One input file as it was when it was listed."""

    name: str
    """'<root name>/<path under the root>': the `source` of every row, the same on every machine."""
    url: str
    format: Format
    compression: Compression | None
    size: int
    """Bytes as stored."""
    version: str
    """Content tag where the store has one, else modification time."""
    domain: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Source":
        return cls(**{field: record[field] for field in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Listing:
    """The sources by name, and the URL of each root that their names start with."""

    sources: tuple[Source, ...]
    roots: dict[str, str]


@dataclass(frozen=True)
class _Found:
    filesystem: fsspec.AbstractFileSystem
    root: str
    files: dict[str, Mapping[str, Any]]


def list_sources(inputs: Sequence[str], domains: Sequence[str] = ()) -> Listing:
    """Every readable file of the inputs, sorted by name, each once.

    An input is a file, a folder (searched whole), a glob or an fsspec URL of one. `domains` holds nothing, one domain
    for all inputs, or one for each. In folders, files whose name or folder starts with '.' or '_' and files of other
    kinds are passed over. A file that two inputs reach belongs to the first.

    Raises UsageError for a wrong number of domains, CorpusError when an input is missing or holds nothing readable.
    """
    if not inputs:
        raise UsageError("No input was given. Name at least one file, folder, glob or URL.")
    if len(domains) not in (0, 1, len(inputs)):
        raise UsageError(
            f"{len(domains)} domains for {len(inputs)} inputs. Give --domain once for all inputs, or once for each."
        )
    of_input: list[str | None] = list(domains) if len(domains) == len(inputs) else [*domains, None][:1] * len(inputs)
    names: dict[str, str] = {}
    seen: set[str] = set()
    sources: list[Source] = []
    for text, domain in zip(inputs, of_input, strict=True):
        found = _find(text)
        root_name = _root_name(found, names)
        for path, info in found.files.items():
            url = found.filesystem.unstrip_protocol(path)
            if url in seen:
                continue
            seen.add(url)
            kind = _kind(path)
            assert kind is not None
            sources.append(
                Source(
                    name=f"{root_name}/{_relative(path, found.root)}",
                    url=url,
                    format=kind[0],
                    compression=kind[1],
                    size=int(info["size"] or 0),
                    version=version_of(found.filesystem, path, info),
                    domain=domain,
                )
            )
    used = {source.name.partition("/")[0] for source in sources}
    return Listing(
        tuple(sorted(sources, key=lambda source: source.name)),
        {name: url for url, name in names.items() if name in used},
    )


def is_unchanged(source: Source) -> bool:
    """Whether the file is still there with the size and version that were listed."""
    filesystem, path = open_filesystem(source.url)
    filesystem.invalidate_cache()
    try:
        info = filesystem.info(path)
    except FileNotFoundError:
        return False
    return int(info["size"] or 0) == source.size and version_of(filesystem, path, info) == source.version


def _find(text: str) -> _Found:
    filesystem, path = open_filesystem(text)
    if filesystem.isfile(path):
        if _kind(path) is None:
            raise CorpusError(f"{text}: not a kind of file that can be read. Known: {KNOWN_EXTENSIONS}.")
        return _Found(filesystem, filesystem._parent(path), {path: filesystem.info(path)})
    if filesystem.isdir(path):
        root = path.rstrip("/")
        return _Found(filesystem, root, _readable(filesystem.find(path, detail=True), root, text))
    if any(mark in path for mark in "*?["):
        root = _folder_before_wildcard(path)
        return _Found(filesystem, root, _readable(dict(_matches(filesystem, path)), root, text))
    raise CorpusError(f"{text}: no such file or folder. Check the spelling, and quote a glob so that it arrives whole.")


def _matches(filesystem: fsspec.AbstractFileSystem, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Files that the glob matches, and the files inside folders that it matches."""
    for path, info in filesystem.glob(pattern, detail=True).items():
        if info["type"] == "directory":
            yield from filesystem.find(path, detail=True).items()
        else:
            yield path, info


def _readable(files: Mapping[str, Mapping[str, Any]], root: str, text: str) -> dict[str, Mapping[str, Any]]:
    kept = {
        path: files[path] for path in sorted(files) if not _is_hidden(_relative(path, root)) and _kind(path) is not None
    }
    if not kept:
        raise CorpusError(
            f"{text}: {len(files)} files found, none that can be read. Known: {KNOWN_EXTENSIONS}; "
            "names that start with '.' or '_' are passed over."
        )
    return kept


def _kind(path: str) -> tuple[Format, Compression | None] | None:
    stem, extension = posixpath.splitext(posixpath.basename(path).lower())
    if extension == ".parquet":
        return "parquet", None
    compression = _COMPRESSIONS.get(extension)
    if compression is not None:
        extension = posixpath.splitext(stem)[1]
    return ("jsonl", compression) if extension in _JSON_LINES else None


def _is_hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))


def _relative(path: str, root: str) -> str:
    return path[len(root) :].lstrip("/")


def _folder_before_wildcard(pattern: str) -> str:
    fixed = []
    for part in pattern.split("/")[:-1]:
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return "/".join(fixed)


def _root_name(found: _Found, names: dict[str, str]) -> str:
    """The root's base name, with '-2', '-3' … when another root has it already; `names` maps URL to name."""
    url = found.filesystem.unstrip_protocol(found.root)
    if url not in names:
        base = posixpath.basename(found.root.rstrip("/")) or "root"
        taken = set(names.values())
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        names[url] = name
    return names[url]
