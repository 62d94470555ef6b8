"""Whether the scorer is right and fast on this machine's card: prints figures, then PASS or FAIL.

    make gpu-acceptance
    .venv/bin/python benchmarks/gpu_acceptance.py --model MODEL --heads heads.json --corpus corpus/

1. The golden tests of tests/model/test_cuda.py pass, none skipped.
2. Useful operations a second reach `--floor` of what the model's own products do on the card (default 0.5; a model of
   some hundred million parameters cannot fill a large card).
3. Tokenizing on this machine's cores keeps ahead of the card.
Peak memory is printed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from attention_influence import Scorer, load_heads, load_model
from attention_influence.corpus.texts import draw_texts
from attention_influence.demo.assets import fetch
from limit import operations_a_second, useful_operations

_TESTS = Path(__file__).parent.parent / "tests" / "model" / "test_cuda.py"


def golden_tests_pass() -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", str(_TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout.strip().splitlines()[-1])
    return done.returncode == 0 and "skipped" not in done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="by default the demo's")
    parser.add_argument("--heads", default="demo-output/heads.json")
    parser.add_argument("--corpus", default="demo-output/corpus")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--floor", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("FAIL: no CUDA device")
        return 1
    passed = golden_tests_pass()
    model = load_model(options.model or str(fetch().model), "bf16", "cuda")
    scorer = Scorer(model, load_heads(options.heads))
    texts = draw_texts([options.corpus], "text", options.texts, 0)[options.corpus]
    limit = operations_a_second(model, scorer.pack_tokens)
    seconds: dict[str, list[float]] = {"tokenizing": [], "scoring": []}
    for _ in range(options.rounds):
        began = time.monotonic()
        prepared = scorer.prepare(texts)
        seconds["tokenizing"].append(time.monotonic() - began)
        torch.cuda.synchronize()
        began = time.monotonic()
        scorer.score_prepared(prepared)
        torch.cuda.synchronize()
        seconds["scoring"].append(time.monotonic() - began)
    lengths = [len(document.tokens) for document in prepared]
    tokenizing, scoring = (sorted(times)[len(times) // 2] for times in seconds.values())
    share = useful_operations(model, scorer.fork_layer, lengths) / scoring / limit
    print(
        f"{torch.cuda.get_device_name()}: {sum(lengths) / scoring:,.0f} tokens/s, {share:.1%} of the products' own "
        f"{limit / 1e12:.0f} TFLOP/s; tokenizing {sum(lengths) / tokenizing:,.0f} tokens/s; "
        f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    )
    passed &= share >= options.floor and tokenizing <= scoring
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
