"""The corpus of the study of training: short texts of four domains, built the same way each time, and sentences.

    .venv/bin/python studies/training.py --out study/training/corpus

Sources and licences as in `studies/corpus.py`. Documents are short because scoring them is what takes time on a CPU.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import Text, build_sentences, passages, worked_answers
from corpus import proofs, spread

DOCUMENTS = {"web": 150, "encyclopedic": 250, "mathematics": 73, "proofs": 50}
_CHARS = range(300, 701)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study/training/corpus"))
    options = parser.parse_args()
    assets = fetch()
    short = {
        "web": passages(assets.web, "web"),
        "encyclopedic": passages(assets.encyclopedic, "encyclopedic"),
        "mathematics": worked_answers(assets.mathematics),
        "proofs": iter(spread(proofs(), 400)),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    build_sentences(assets, options.out.parent)
    for domain, texts in short.items():
        chosen: list[Text] = list(islice((text for text in texts if len(text[1]) in _CHARS), DOCUMENTS[domain]))
        lines = [json.dumps({"id": name, "text": text, "domain": domain}) for name, text in chosen]
        (options.out / f"{domain}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{domain:13} {len(chosen):5,} documents, {sum(len(text) for _, text in chosen):9,} characters")


if __name__ == "__main__":
    main()
