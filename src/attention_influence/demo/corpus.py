"""The demo's corpus: four domains of real texts, built the same way each time.

The web, encyclopedic and mathematics texts are the same everywhere. The code is the standard library of the running
Python (PSF licence), so it differs between Python versions and is the same for one of them.
Licences of the other texts: `demo.assets`.
"""

import ast
import hashlib
import json
import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from attention_influence.demo.assets import Assets
from attention_influence.errors import CorpusError
from attention_influence.storage.atomic_files import write_result

# Characters that keep a text of this corpus between 50 and 700 tokens of SmolLM2's tokenizer: English prose has at
# most 6 characters a token, and code, with its indents, at least 2.5.
PROSE_CHARS = range(300, 2401)
CODE_CHARS = range(300, 1751)
HELD_OUT_DOCUMENTS = 250
# More from one file would let its style stand for the whole domain.
DEFINITIONS_PER_FILE = 2

# Not code that a reader would learn from, or the same few functions again in every file.
_SKIPPED = {"test", "tests", "idlelib", "idle_test", "lib2to3", "turtledemo", "encodings", "pydoc_data", "__pycache__"}

Text = tuple[str, str]
"""A document's id and its text."""


@dataclass(frozen=True)
class Documents:
    """How many documents of each domain."""

    web: int
    encyclopedic: int
    code: int
    mathematics: int


FULL = Documents(web=220, encyclopedic=220, code=180, mathematics=100)
"""About 120,000 tokens; `mathematics` is all there is."""
SMALL = Documents(web=35, encyclopedic=35, code=30, mathematics=35)
"""About 22,000 tokens, the first documents of FULL."""


def build_corpus(assets: Assets, out_dir: Path, documents: Documents = FULL) -> list[Path]:
    """The files `web`, `encyclopedic`, `code` and `mathematics`.jsonl of the corpus, written under `out_dir`.

    Fields: id, text, domain. Documents of 50 to 700 tokens; no text twice.
    Raises CorpusError when a source is not what its name says.
    """
    domains = {
        "web": list(islice(passages(assets.web, "web"), documents.web)),
        "encyclopedic": list(islice(passages(assets.encyclopedic, "encyclopedic"), documents.encyclopedic)),
        "code": list(islice(definitions(Path(sysconfig.get_paths()["stdlib"])), documents.code)),
        "mathematics": list(islice(worked_answers(assets.mathematics), documents.mathematics)),
    }
    if len(domains["code"]) < documents.code:
        raise CorpusError(
            f"the Python standard library in {sysconfig.get_paths()['stdlib']} gave {len(domains['code'])} functions"
            f" and classes of {documents.code}: its sources are missing; install them or use another Python"
        )
    return [_write(out_dir / f"{domain}.jsonl", domain, texts) for domain, texts in domains.items()]


def build_sentences(assets: Assets, out_dir: Path) -> Path:
    """The file `sentences.jsonl` under `out_dir`: 500 web and encyclopedic texts, none of them in a corpus."""
    web = islice(passages(assets.web, "web"), FULL.web, FULL.web + HELD_OUT_DOCUMENTS)
    encyclopedic = islice(
        passages(assets.encyclopedic, "encyclopedic"), FULL.encyclopedic, FULL.encyclopedic + HELD_OUT_DOCUMENTS
    )
    return _write(out_dir / "sentences.jsonl", "held-out", [*web, *encyclopedic])


def passages(path: Path, name: str, chars: range = PROSE_CHARS) -> Iterator[Text]:
    """Passages of English prose from a file of originals and permutations, in an order that only the texts decide.

    `chars`: the lengths that are wanted.
    """
    originals = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                text = json.loads(line)["0"].strip()
            except (json.JSONDecodeError, KeyError, AttributeError) as error:
                raise CorpusError(f'line {number + 1} of {path} holds no passage under the key "0": {error}') from error
            if len(text) in chars and _ascii_share(text) > 0.95:
                originals.append((f"{name}-{number:04d}", text))
    return _shuffled(originals)


def worked_answers(path: Path) -> Iterator[Text]:
    """Questions, each followed by its worked answer, from TOML documents joined by NUL.

    The data set's own marks are left out: the line `#### 10` with the bare result, and `<<6*2=12>>` for a calculator.
    """
    seen = set()
    for number, document in enumerate(path.read_text(encoding="utf-8").split("\0")):
        fields = tomllib.loads(document)
        answer = re.sub(r"<<[^<>]*>>", "", fields["answer"])
        lines = [line.strip() for line in answer.strip().splitlines() if not line.startswith("####")]
        text = fields["question"].strip() + "\n\n" + "\n".join(lines).strip()
        if text not in seen:
            seen.add(text)
            yield f"mathematics-{number:04d}", text


def definitions(root: Path) -> Iterator[Text]:
    """Whole top-level functions and classes of the Python files under `root`, at most two of a file.

    Only modules of the standard library count, as the running Python names them; the order depends on names alone.
    """
    seen = set()
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    for name in sorted(filter(_is_standard, names), key=_digest):
        found = ((f"{name}:{node}", text) for node, text in _blocks(root / name) if text not in seen)
        for item in islice(found, DEFINITIONS_PER_FILE):
            seen.add(item[1])
            yield item


def _is_standard(name: str) -> bool:
    parts = name.removesuffix(".py").split("/")
    return parts[0] in sys.stdlib_module_names and _SKIPPED.isdisjoint(parts)


def _blocks(path: Path) -> Iterator[Text]:
    try:
        source = path.read_text(encoding="utf-8")
        body = ast.parse(source).body
    except (SyntaxError, ValueError, OSError):
        return
    lines = source.splitlines()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            # Tables and escaped bytes have a token for almost every character, and are no prose of a programmer.
            if len(text) in CODE_CHARS and sum(map(str.isalpha, text)) > 0.45 * len(text):
                yield node.name, text


def _shuffled(texts: Iterable[Text]) -> Iterator[Text]:
    unique = {text: name for name, text in reversed(list(texts))}
    return iter(sorted(((name, text) for text, name in unique.items()), key=lambda item: _digest(item[1])))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ascii_share(text: str) -> float:
    return sum(map(str.isascii, text)) / len(text)


def _write(path: Path, domain: str, texts: list[Text]) -> Path:
    rows = [json.dumps({"id": name, "text": text, "domain": domain}, ensure_ascii=False) for name, text in texts]
    write_result(str(path), "".join(row + "\n" for row in rows).encode())
    return path
