"""Screening on real documents: texts, exact scores (resumable), and every figure of docs/studies/screening.md.

    .venv/bin/python studies/screening.py score --heads heads.json --out study/screening --documents code=450 web=600

Resumes: blocks of documents that are in --out already are not scored again; a larger --documents adds to them.
"""

import argparse
import hashlib
import re
import sys
import sysconfig
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence import Scorer, load_heads, load_model
from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import Text, passages
from corpus import debian

_BLOCK = 20
# Characters of a long document: 350 to 1,000 tokens.
_LONG_CHARS = (1100, 2500)
_DOCUMENTATION = "usr/share/doc/python3.11/html/_sources/**/*.rst.txt"


def pieces(files: Iterator[Text]) -> list[Text]:
    """Files cut between paragraphs, at lengths that are even over `_LONG_CHARS`; shuffled, in an order that the texts
    decide; no text twice."""
    low, high = _LONG_CHARS
    found: dict[str, str] = {}
    for name, source in files:
        held, size, number = [], 0, 0
        target = low + int(_digest(name), 16) % (high - low)
        for paragraph in re.split(r"(?<=\n)\n+", source):
            held.append(paragraph)
            size += len(paragraph)
            if size >= target:
                text = "\n".join(held).strip()
                if len(text) <= 1.3 * high:
                    found.setdefault(text, f"{name}#{number}")
                held, size, number = [], 0, number + 1
                target = low + int(_digest(f"{name}#{number}"), 16) % (high - low)
    return sorted(((name, text) for text, name in found.items()), key=lambda item: _digest(item[1]))


def modules() -> Iterator[Text]:
    """Python's standard library, its tests included."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0].removesuffix(".py") in {*sys.stdlib_module_names, "test"} and "data" not in name:
            yield name, path.read_text(encoding="utf-8", errors="ignore")


def texts(domain: str) -> list[Text]:
    if domain == "code":
        return pieces(modules())
    if domain == "documentation":
        return pieces(iter(debian("python3.11-doc", _DOCUMENTATION)))
    assets = fetch()
    return list(passages({"web": assets.web, "encyclopedic": assets.encyclopedic}[domain], domain))


def score(options: argparse.Namespace) -> None:
    """Losses of every token and the mean hidden state at the fork, a file for each block of documents."""
    model = load_model(str(fetch().model), dtype=options.dtype)
    scorer = Scorer(model, load_heads(options.heads))
    states: list[np.ndarray] = []

    def note(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden_BTE = args[0] if args else kwargs["hidden_states"]
        states.append(hidden_BTE[0].float().mean(0).numpy())

    model.layers[scorer.fork_layer].register_forward_pre_hook(note, with_kwargs=True, prepend=True)
    wanted = {name: int(count) for name, count in (item.split("=") for item in options.documents)}
    blocks = [
        (start / wanted[domain], domain, start, block)
        for domain in wanted
        for start, block in _blocks(texts(domain)[: wanted[domain]])
    ]
    folder = options.out / "scored"
    folder.mkdir(parents=True, exist_ok=True)
    tokens, began = 0, time.monotonic()
    for _, domain, start, block in sorted(blocks, key=lambda item: item[:3]):
        path = folder / f"{domain}-{start:05d}.parquet"
        if path.exists():
            continue
        rows = []
        block_began = time.monotonic()
        for name, text in block:
            states.clear()
            [scored] = scorer.score([text], per_token=True)
            assert scored.token_losses is not None
            assert len(states) == 1, "one window each"
            losses = scored.token_losses
            rows.append(
                {
                    "id": name,
                    "domain": domain,
                    "text": text,
                    "loss_base": scored.loss_base,
                    "loss_ref": scored.loss_ref,
                    "influence": scored.influence,
                    "tokens": losses.tokens.tolist(),
                    "base": losses.base.tolist(),
                    "ref": losses.ref.tolist(),
                    "trunk": states[0].tolist(),
                }
            )
            tokens += len(losses.tokens)
        seconds = time.monotonic() - block_began
        table = pa.Table.from_pylist(rows, _SCHEMA).replace_schema_metadata({"seconds": str(seconds)})
        pq.write_table(table, path.with_suffix(".unfinished"), compression="zstd")
        path.with_suffix(".unfinished").rename(path)
        print(f"{path.name}: {tokens:,} tokens, {tokens / (time.monotonic() - began):.0f} tokens/s", flush=True)


_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("id", "domain", "text")),
        *(pa.field(name, pa.float64()) for name in ("loss_base", "loss_ref", "influence")),
        pa.field("tokens", pa.list_(pa.int32())),
        *(pa.field(name, pa.list_(pa.float32())) for name in ("base", "ref", "trunk")),
    ]
)


def _blocks(items: list[Text]) -> Iterator[tuple[int, list[Text]]]:
    for start in range(0, len(items), _BLOCK):
        yield start, list(islice(items, start, start + _BLOCK))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(required=True)
    step = steps.add_parser("score")
    step.add_argument("--out", type=Path, default=Path("study/screening"))
    step.add_argument("--heads", default="demo-output/heads.json")
    step.add_argument("--dtype", default="bf16")
    step.add_argument("--documents", nargs="+", default=["code=6000", "documentation=2000", "web=2000"])
    step.set_defaults(run=score)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
