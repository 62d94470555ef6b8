"""The scorer against what users would write themselves, and against the device's own limit, in one run.

    make bench          15,000 tokens, three rounds
    make bench-full     60,000 tokens, five rounds

Real documents of 30 to 4,096 tokens out of the demo's sources and the standard library. Rounds alternate between the
ways; medians are shown. Ways:

A   the product's `Scorer`, bf16 and fp32, tokenizing included
B   two passes of plain transformers for each document alone, fp32, the network's own loss
C   two passes, bf16, documents of like length in padded batches
D   one such pass: a plain perplexity filter
L   the limit: the model's own matrix products, and nothing else

All ways compute on the same device: a GPU if there is one, or --device. C, D and L compute in bfloat16 where the
device has products of it, and in float32 where it has not (they would take five to ten times as long there, and
beating them would mean nothing).
"""

import argparse
import hashlib
import json
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import definitions, passages, worked_answers
from attention_influence.model.loading.gguf import dense_copy
from attention_influence.model.precision import DTYPES, matmul_dtype
from attention_influence.model.tokens import Tokens
from limit import operations_a_second, useful_operations
from memory import peak_bytes
from peers import Peer

_BATCH_TOKENS = {"cpu": 4096, "cuda": 32768}
# Bounds of length in tokens → share of all tokens.
_MIX = {(30, 256): 0.25, (256, 1024): 0.25, (1024, 2048): 0.25, (2048, 4097): 0.25}


def documents(tokenizer: Tokens, tokens: int) -> list[str]:
    """About `tokens` tokens of real texts, in an order that only the texts decide."""
    assets = fetch()
    short = [
        passages(assets.web, "web"),
        passages(assets.encyclopedic, "encyclopedic"),
        worked_answers(assets.mathematics),
    ]
    pool = [text for texts in [*short, definitions(_library())] for _, text in islice(texts, 400)]
    pool += islice(modules(), 400)
    pool.sort(key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    lengths = [len(ids) for ids in tokenizer.encode(pool)]
    chosen = []
    for (low, high), share in _MIX.items():
        left = share * tokens
        for text, length in zip(pool, lengths, strict=True):
            if low <= length < high and length <= left + low:
                chosen.append(text)
                left -= length
            if left < low:
                break
    return sorted(chosen, key=lambda text: hashlib.sha256(text.encode()).hexdigest())


def modules() -> Iterator[str]:
    """Whole modules of the standard library of 4,000 to 14,000 characters."""
    for path in sorted(_library().glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if 4_000 <= len(text) <= 14_000:
            yield text


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def make_way(name: str, heads_path: str, device: torch.device) -> Callable[[list[str]], Any]:
    """The function of texts that stands for a way."""
    heads = load_heads(heads_path)
    dtype = "fp32" if name in ("A fp32", "B fp32") else "bf16"
    if name.startswith("A"):
        return Scorer(load_model(str(fetch().model), dtype, str(device)), heads).score
    folder, _ = dense_copy(fetch().model)
    computed = matmul_dtype(DTYPES[dtype], device)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=computed, attn_implementation="sdpa")
    peer = Peer(network.to(device), AutoTokenizer.from_pretrained(folder), heads.by_layer())
    if name.startswith("B"):
        return peer.one_by_one
    passes = 2 if name.startswith("C") else 1
    return lambda texts: peer.padded(texts, _BATCH_TOKENS[device.type], passes)


WAYS = ("A bf16", "A fp32", "B fp32", "C bf16", "D bf16")


def peak_memory(way: str, options: argparse.Namespace) -> int:
    """Bytes of a process that does nothing else."""
    given = ["--heads", options.heads, "--tokens", str(options.tokens), "--device", options.device]
    command = [sys.executable, __file__, *given, "--only", way]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heads", required=True, help="heads.json, as `make demo-full` leaves it")
    parser.add_argument("--tokens", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=WAYS, help="one way once, and print its peak memory in bytes")
    options = parser.parse_args()
    tokenizer = Tokens(AutoTokenizer.from_pretrained(dense_copy(fetch().model)[0]))
    texts, device = documents(tokenizer, options.tokens), torch.device(options.device)
    if options.only:  # this process must hold that way's model and no other
        make_way(options.only, options.heads, device)(texts)
        print(peak_bytes(device))
        return
    model = load_model(str(fetch().model), device=options.device)
    lengths = [len(ids) for ids in tokenizer.encode(texts)]
    print(f"{len(texts)} documents, {sum(lengths):,} tokens, {min(lengths)} to {max(lengths)}", file=sys.stderr)
    memory = {name: peak_memory(name, options) for name in WAYS}
    ways = {name: make_way(name, options.heads, device) for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in [*ways, "tokenizing"]}
    limits: list[float] = []
    results: dict[str, Any] = {}
    for number in range(options.rounds):
        limits.append(operations_a_second(model, _BATCH_TOKENS[device.type]))
        for name, way in ways.items():
            began = time.monotonic()
            results[name] = way(texts)
            seconds[name].append(time.monotonic() - began)
            print(f"round {number + 1}, {name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
        began = time.monotonic()
        tokenizer.encode(texts)
        seconds["tokenizing"].append(time.monotonic() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    fork_layer = min(load_heads(options.heads).by_layer())
    needed, limit = useful_operations(model, fork_layer, lengths), statistics.median(limits)
    ours = [score.influence for score in results["A fp32"]]
    apart = max(abs(a - b) for a, b in zip(ours, results["B fp32"], strict=True))
    figures = {
        "documents": len(texts),
        "tokens": sum(lengths),
        "rounds": options.rounds,
        "seconds": medians,
        "tokens_per_second": {name: sum(lengths) / medians[name] for name in ways},
        "peak_memory_bytes": memory,
        "limit_flops": limit,
        "useful_flop": needed,
        "share_of_limit": needed / medians["A bf16"] / limit,
        "largest_difference_a_b_fp32": apart,
        "threads": torch.get_num_threads(),
        "computed_in": str(model.dtype).removeprefix("torch."),
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "versions": {name: version(name) for name in ("attention-influence", "torch", "transformers")},
    }
    rows = [
        (
            name,
            f"{medians[name]:.1f}",
            round(sum(lengths) / medians[name]),
            f"{medians[name] / medians['A bf16']:.2f}",
            memory[name] // 2**20,
        )
        for name in ways
    ]
    print(table(("way", "seconds", "tokens/s", "time ÷ A bf16", "peak MiB"), rows))
    print(
        f"A's share of the limit: {figures['share_of_limit']:.1%} ({needed / 1e12:.2f} TFLOP needed; "
        f"the products alone do {limit / 1e9:.0f} GFLOP/s in {figures['computed_in']}); "
        f"tokenizing {medians['tokenizing']:.2f} s\n"
        f"influence in fp32, A against B: largest difference {apart:.1e}; {figures['processor']}, "
        f"{figures['threads']} threads"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
