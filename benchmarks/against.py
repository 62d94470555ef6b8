"""This code against an earlier commit of it: seconds of the scorer, in turn, and how far influence lies apart.

    .venv/bin/python benchmarks/against.py d9915ee --heads demo-output/heads.json

The texts are those of `bench.py`. Each code works in a process of its own, which loads the model and scores two texts
before anything is timed; the processes then score all texts in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from attention_influence.model.loading.gguf import dense_copy
from attention_influence.model.tokens import Tokens
from bench import documents

_REPOSITORY = Path(__file__).parent.parent
# Nothing but names that every commit has.
_CHILD = """
import json, sys, time
from attention_influence import Scorer, load_heads, load_model
model, heads, texts, dtype = sys.argv[1:]
texts = json.load(open(texts))
scorer = Scorer(load_model(model, dtype=dtype), load_heads(heads))
scorer.score(texts[:2])
for _ in sys.stdin:
    began = time.perf_counter()
    scores = scorer.score(texts)
    print(json.dumps([time.perf_counter() - began, [score.influence for score in scores]]), flush=True)
"""


class Code:
    """The scorer of one tree of source code, in a process that waits to be asked."""

    def __init__(self, source: Path, *arguments: str) -> None:
        self.seconds: list[float] = []
        self.influence: list[float | None] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *arguments],
            env=os.environ | {"PYTHONPATH": str(source / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, self.influence = json.loads(self._process.stdout.readline())
        self.seconds.append(seconds)

    def end(self) -> None:
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commit")
    parser.add_argument("--heads", required=True, help="heads.json, as `make demo-full` leaves it")
    parser.add_argument("--tokens", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["bf16", "fp32"])
    options = parser.parse_args()
    model = fetch().model
    tokenizer = Tokens(AutoTokenizer.from_pretrained(dense_copy(model)[0]))
    texts = documents(tokenizer, options.tokens)
    tokens = sum(len(ids) for ids in tokenizer.encode(texts))
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        then, listed = Path(folder), Path(folder) / "texts.json"
        listed.write_text(json.dumps(texts))
        archive = subprocess.run(
            ["git", "archive", options.commit, "src"], cwd=_REPOSITORY, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        for dtype in options.dtypes:
            codes = {
                name: Code(source, str(model), options.heads, str(listed), dtype)
                for name, source in {options.commit: then, "this code": _REPOSITORY}.items()
            }
            for _ in range(options.rounds):
                for code in codes.values():
                    code.ask()
            before, now = (statistics.median(code.seconds) for code in codes.values())
            influence = zip(*(code.influence for code in codes.values()), strict=True)
            apart = max(abs(a - b) for a, b in influence if a is not None and b is not None)
            rows.append((dtype, f"{tokens / before:.0f}", f"{tokens / now:.0f}", f"{before / now:.2f}", f"{apart:.1e}"))
            for code in codes.values():
                code.end()
    print(f"{len(texts)} documents, {tokens:,} tokens, medians of {options.rounds} rounds in turn")
    print(
        table(("dtype", f"{options.commit}: tokens/s", "this code: tokens/s", "times as fast", "influence apart"), rows)
    )


if __name__ == "__main__":
    main()
