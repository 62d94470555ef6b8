"""How long a process takes to the score of its first document, with everything already in the cache; medians.

Imports alone stand beside it.

    .venv/bin/python benchmarks/first_score.py --heads demo-output/heads.json
"""

import argparse
import statistics
import subprocess
import sys
import time

from attention_influence.demo.assets import fetch

_PROGRAMS = {
    "imports": "import attention_influence, torch, transformers",
    "first score": """
import sys
from attention_influence import Scorer, load_heads, load_model
scorer = Scorer(load_model(sys.argv[1]), load_heads(sys.argv[2]))
scorer.score(["A key is kept under the mat, and the mat lies before the door."])
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heads", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = str(fetch().model)
    seconds: dict[str, list[float]] = {name: [] for name in _PROGRAMS}
    for _ in range(options.rounds + 1):  # the first fills the cache
        for name, program in _PROGRAMS.items():
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", program, model, options.heads], check=True, capture_output=True)
            seconds[name].append(time.monotonic() - began)
    for name, taken in seconds.items():
        print(f"{name}: {statistics.median(taken[1:]):.1f} s ({min(taken[1:]):.1f} to {max(taken[1:]):.1f})")


if __name__ == "__main__":
    main()
