"""Real texts of several domains, in the same order each time: two of long documents, the others of short ones.

Sources and licences as in `corpus.py`. Long documents have about 550 tokens of SmolLM2's, short ones about 200.
"""

import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import Text, passages
from corpus import debian, proofs

# Characters of a long document: 350 to 1,000 tokens.
_LONG_CHARS = (1100, 2500)
_DOCUMENTATION = "usr/share/doc/python3.11/html/_sources/**/*.rst.txt"


def texts(domain: str) -> list[Text]:
    """All there are of code, documentation, web, encyclopedic, prose (the passages of these two, and shorter and longer
    ones) or proofs; in an order that the texts decide."""
    if domain == "code":
        return pieces(modules())
    if domain == "documentation":
        return pieces(iter(debian("python3.11-doc", _DOCUMENTATION)))
    if domain == "proofs":
        unique = {text: name for name, text in proofs() if len(text) <= _LONG_CHARS[1]}
        return by_digest((name, text) for text, name in unique.items())
    assets = fetch()
    if domain == "prose":
        sources = ((assets.web, "web"), (assets.encyclopedic, "encyclopedic"))
        return by_digest(item for path, name in sources for item in passages(path, name, range(1, 100_000)))
    return list(passages({"web": assets.web, "encyclopedic": assets.encyclopedic}[domain], domain))


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pieces(files: Iterator[Text]) -> list[Text]:
    """Files cut between paragraphs, at lengths that are even over `_LONG_CHARS`; shuffled, in an order that the texts
    decide; no text twice."""
    low, high = _LONG_CHARS
    found: dict[str, str] = {}
    for name, source in files:
        held, size, number = [], 0, 0
        target = low + int(digest_of(name), 16) % (high - low)
        for paragraph in re.split(r"(?<=\n)\n+", source):
            held.append(paragraph)
            size += len(paragraph)
            if size >= target:
                text = "\n".join(held).strip()
                if len(text) <= 1.3 * high:
                    found.setdefault(text, f"{name}#{number}")
                held, size, number = [], 0, number + 1
                target = low + int(digest_of(f"{name}#{number}"), 16) % (high - low)
    return by_digest((name, text) for text, name in found.items())


def by_digest(items: Iterable[Text]) -> list[Text]:
    return sorted(items, key=lambda item: digest_of(item[1]))


def modules() -> Iterator[Text]:
    """Python's standard library, its tests included."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0].removesuffix(".py") in {*sys.stdlib_module_names, "test"} and "data" not in name:
            yield name, path.read_text(encoding="utf-8", errors="ignore")
