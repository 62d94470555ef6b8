"""The corpus of the study of training: real texts of four domains, built the same way each time, and sentences.

    .venv/bin/python studies/training.py --out study/training/corpus [--documents code=1500 web=2000 …]

The last ones of each domain: the study of screening begins at the first.
"""

import argparse
import json
from pathlib import Path

from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import build_sentences
from texts import texts

DOCUMENTS = ["code=720", "documentation=150", "web=450", "encyclopedic=450"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study/training/corpus"))
    parser.add_argument("--documents", nargs="+", default=DOCUMENTS, metavar="DOMAIN=N")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    build_sentences(fetch(), options.out.parent)
    for domain, count in (item.split("=") for item in options.documents):
        chosen = texts(domain)[-int(count) :]
        lines = [json.dumps({"id": name, "text": text, "domain": domain}) for name, text in chosen]
        (options.out / f"{domain}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{domain:13} {len(chosen):5,} documents, {sum(len(text) for _, text in chosen):9,} characters")


if __name__ == "__main__":
    main()
