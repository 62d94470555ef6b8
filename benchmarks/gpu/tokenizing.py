"""How fast this machine's cores tokenize and describe documents, with the demo's tokenizer.

    python benchmarks/gpu/tokenizing.py TOKENIZER.json [--device cpu --tiny]

The documents are the Python files of its packages, in parts of 4,200 characters.
"""

import os
import sysconfig
from pathlib import Path

from common import options, say, seconds
from transformers import PreTrainedTokenizerFast

from attention_influence.model.tokens import Tokens
from attention_influence.scoring.document_score import DocumentScore

PART = 4200
given = options(__doc__, "tokenizer")
rounds = 1 if given.tiny else 3


def texts(most_chars: int) -> list[str]:
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        text = path.read_text(errors="replace")
        found += [text[low : low + PART] for low in range(0, len(text), PART)]
        if len(found) * PART > most_chars:
            break
    return found


def main() -> None:
    tokens = Tokens(PreTrainedTokenizerFast(tokenizer_file=given.tokenizer))
    documents = texts(100_000 if given.tiny else 40_000_000)
    ids = tokens.encode(documents)
    few = list(zip(documents[:2000], ids[:2000], strict=True))

    def describe() -> None:
        for text, of_text in few:
            DocumentScore().describe(text.encode(), of_text)

    say(
        "host",
        cores=os.cpu_count(),
        documents=len(documents),
        tokens_per_s=sum(map(len, ids)) / seconds(lambda: tokens.encode(documents), "cpu", rounds),
        described_tokens_per_s_one_thread=sum(len(of_text) for _, of_text in few) / seconds(describe, "cpu", rounds),
    )


if __name__ == "__main__":
    main()
