"""The corpus of the study of training: short texts of four domains, built the same way each time, and sentences.

    .venv/bin/python studies/training.py --out study/training/corpus [--all]

Sources and licences as in `studies/corpus.py`. Documents are short because scoring them is what takes time on a CPU;
--all takes all there are of 300 characters or more, for a GPU.
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
    parser.add_argument("--all", action="store_true", help="all texts, the longer ones, too")
    options = parser.parse_args()
    chars = range(_CHARS.start, 100_000) if options.all else _CHARS
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
        fitting = (text for text in texts if len(text[1]) in chars)
        chosen: list[Text] = list(islice(fitting, None if options.all else DOCUMENTS[domain]))
        lines = [json.dumps({"id": name, "text": text, "domain": domain}) for name, text in chosen]
        (options.out / f"{domain}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{domain:13} {len(chosen):5,} documents, {sum(len(text) for _, text in chosen):9,} characters")


if __name__ == "__main__":
    main()
