"""The files of a corpus: listed once, named independently of where they lie, and recognised again later."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from attention_influence.corpus.kinds import Compression, Format, corpus_files
from attention_influence.corpus.listing import FileTree, LeftOut, find, relative
from attention_influence.errors import CorpusError, UsageError
from attention_influence.progress import stage
from attention_influence.storage.filesystems import open_bytes, open_filesystem, size_and_version, storable, url_of


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
    """The sources by name, the URL of each root that their names start with, and what was skipped."""

    sources: tuple[Source, ...]
    roots: dict[str, str]
    left_out: Mapping[str, Any] = field(default_factory=dict)
    """Reason → `count` of files or folders that are not read, and the first `names` of them."""


def left_out_line(left_out: Mapping[str, Any]) -> str | None:
    """What a listing skipped, in one line; None when nothing was."""
    parts = []
    for reason, about in left_out.items():
        names = [*about["names"], *["…"][: about["count"] - len(about["names"])]]
        parts.append(f"{about['count']:,} {reason} ({', '.join(names)})")
    return f"left out of the corpus: {'; '.join(parts)}" if parts else None


@stage("listing files")
def list_sources(
    inputs: Sequence[str],
    domains: Sequence[str] = (),
    needed: str = "text",
    without: str | None = None,
) -> Listing:
    """Every readable file of the inputs, sorted by name, each once.

    An input is a file, a folder (searched whole, links followed), a glob or an fsspec URL of one. `domains` holds
    nothing, one domain for all inputs, or one for each. A file that two inputs reach belongs to the first.

    Passed over and counted in `left_out`: files and folders whose name starts with '.' or '_', files of other kinds,
    score stores and selections below the root, the folder `without`, and .json files beside the data that are JSON
    over several lines, or one object without the key `needed`.

    Raises UsageError for a wrong number of domains, CorpusError when an input is missing, may not be read, or holds
    nothing readable; NoDocuments, which is one, when it is known what it holds instead.
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
    left_out = LeftOut()
    for text, domain in zip(inputs, of_input, strict=True):
        tree = find(*open_filesystem(text), text, left_out)
        readable = corpus_files(tree, text, needed, without, left_out)
        root_name = _root_name(tree, names)
        for path, kind in readable.items():
            real, info = tree.files[path]
            if (identity := url_of(tree.filesystem, real)) in seen:
                continue
            seen.add(identity)
            size, version = size_and_version(tree.filesystem, path, info)
            name = relative(path, tree.root)
            sources.append(
                Source(
                    name=f"{root_name}/{storable(name) if tree.is_local else name}",
                    url=url_of(tree.filesystem, path),
                    format=kind[0],
                    compression=kind[1],
                    size=size,
                    version=version,
                    domain=domain,
                )
            )
    used = {source.name.partition("/")[0] for source in sources}
    return Listing(
        tuple(sorted(sources, key=lambda source: source.name)),
        {name: url for url, name in names.items() if name in used},
        left_out.to_json(),
    )


def open_source(source: Source, *, sequential: bool = True) -> BinaryIO:
    """The open file, as `open_bytes` opens it. Raises CorpusError when it is gone."""
    try:
        return open_bytes(*open_filesystem(source.url), sequential=sequential)
    except FileNotFoundError as error:
        raise CorpusError(f"{source.url}: the file is gone since it was listed. List the corpus again.") from error


def is_unchanged(source: Source) -> bool:
    """Whether the file is still there with the size and version that were listed."""
    filesystem, path = open_filesystem(source.url)
    filesystem.invalidate_cache()
    try:
        return size_and_version(filesystem, path) == (source.size, source.version)
    except FileNotFoundError:
        return False


def _root_name(tree: FileTree, names: dict[str, str]) -> str:
    """The root's base name, with '-2', '-3' … when another root has it already; `names` maps URL to name."""
    url = url_of(tree.filesystem, tree.root)
    if url not in names:
        base = posixpath.basename(tree.root.rstrip("/"))
        if tree.is_local:
            base = storable(os.path.basename(os.path.realpath(tree.root)) if base in (".", "..") else base)
        taken = set(names.values())
        name, number = base or "root", 1
        while name in taken:
            number += 1
            name = f"{base or 'root'}-{number}"
        names[url] = name
    return names[url]
