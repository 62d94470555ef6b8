"""The corpus of the studies: six domains of real texts, built the same way each time.

    .venv/bin/python studies/corpus.py --out study/corpus

Beside the demo's sources (licences: `attention_influence.demo.assets`), out of Debian packages that `apt-get download`
brings: the Python documentation (python3.11-doc, PSF licence) and Coq's library (libcoq-stdlib, LGPL-2.1).
"""

import argparse
import json
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import Text, definitions, passages, worked_answers
from attention_influence.storage.cache import cache_folder

DOCUMENTS = {"web": 750, "encyclopedic": 750, "educational": 600, "mathematics": 100, "proofs": 400, "code": 600}
_CHARS = range(300, 1101)


def debian(package: str, pattern: str) -> list[tuple[str, str]]:
    """Name and content of the files of a Debian package that match a glob, in name order."""
    kept = cache_folder() / "debian" / package
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
            [archive] = Path(folder).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", str(archive), f"{folder}/unpacked"], check=True)
            try:
                (Path(folder) / "unpacked").rename(kept)
            except OSError:
                if not kept.exists():  # otherwise another process was first
                    raise
    files = sorted(path for path in kept.glob(pattern) if path.is_file() and not path.is_symlink())
    return [(str(path.relative_to(kept)), path.read_text(encoding="utf-8", errors="replace")) for path in files]


def sections() -> Iterator[Text]:
    """Sections of the Python documentation, cut at headings, each a text of its own."""
    for name, source in debian("python3.11-doc", "usr/share/doc/python3.11/html/_sources/**/*.rst.txt"):
        parts = re.split(r"\n(?=[^\n]+\n[=\-~^*]{4,}\n)", source)
        for number, part in enumerate(parts):
            yield f"{name}#{number}", part.strip()


def proofs() -> Iterator[Text]:
    """Consecutive statements with their proofs, about ten lines at a time, of Coq's library."""
    for name, source in debian("libcoq-stdlib", "usr/lib/ocaml/coq/theories/**/*.v"):
        statements = re.findall(r"^(?:Theorem|Lemma|Corollary|Proposition|Fact)\b.*?\bQed\.", source, re.M | re.S)
        held: list[str] = []
        for number, statement in enumerate(statements):
            held.append(statement)
            if sum(map(len, held)) >= _CHARS.start:
                yield f"{name}#{number}", "\n\n".join(held)
                held = []


def spread(texts: Iterator[Text], count: int) -> list[Text]:
    """`count` different texts of fitting length, evenly out of all of them."""
    unique = {text: name for name, text in texts if len(text) in _CHARS}
    found = [(name, text) for text, name in unique.items()]
    assert len(found) >= count, f"{len(found)} texts of {count}"
    return [found[i * len(found) // count] for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study/corpus"))
    parser.add_argument("--share", type=float, default=1.0, help="of each domain's documents")
    options = parser.parse_args()
    assets = fetch()
    sources = {
        "web": passages(assets.web, "web"),
        "encyclopedic": passages(assets.encyclopedic, "encyclopedic"),
        "educational": sections(),
        "mathematics": worked_answers(assets.mathematics),
        "proofs": proofs(),
        "code": definitions(Path(sysconfig.get_paths()["stdlib"])),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for domain, texts in sources.items():
        count = round(DOCUMENTS[domain] * options.share)
        spread_over_all = domain in ("educational", "proofs")
        chosen = (
            spread(texts, count) if spread_over_all else list(islice((t for t in texts if len(t[1]) in _CHARS), count))
        )
        lines = [json.dumps({"id": name, "text": text, "domain": domain}) for name, text in chosen]
        (options.out / f"{domain}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{domain:13} {len(chosen):5,} documents, {sum(len(text) for _, text in chosen):9,} characters")


if __name__ == "__main__":
    main()
