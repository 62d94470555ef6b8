"""What a precision does to scores: each one against fp32, on real documents of four domains.

    make fidelity

For each domain: Spearman's rank correlation, overlap of the top 20%, and the largest difference of influence; beside
them the noise floor that the self-test measures. Rounded weights are another model, so bf16 cannot agree to the last
digit even where it is computed in float32 (on a processor without products of bfloat16).
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from attention_influence.evidence.statistics import in_top, overlap, spearman
from attention_influence.model.precision import DTYPES

_TOP = 0.2


def documents(corpus: Path, of_each: int) -> tuple[list[str], list[str]]:
    """Domains and texts, at most `of_each` of each domain, evenly out of all."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for file in sorted(corpus.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            by_domain[record["domain"]].append(record["text"])
    chosen = [
        (domain, texts[i * len(texts) // count])
        for domain, texts in by_domain.items()
        for count in [min(of_each, len(texts))]
        for i in range(count)
    ]
    return [domain for domain, _ in chosen], [text for _, text in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", type=Path, default=Path("demo-output/corpus"))
    parser.add_argument("--heads", default="demo-output/heads.json")
    parser.add_argument("--of-each", type=int, default=100, help="documents of each domain")
    options = parser.parse_args()
    domains, texts = documents(options.corpus, options.of_each)
    influence, computed, noise = {}, {}, {}
    for precision in DTYPES:
        model = load_model(str(fetch().model), precision)
        scorer = Scorer(model, load_heads(options.heads))
        influence[precision] = np.array([score.influence for score in scorer.score(texts)], dtype=float)
        computed[precision], noise[precision] = model.dtype, scorer.tested.noise
    for precision in [name for name in DTYPES if name != "fp32"]:
        rows = []
        for domain in [*dict.fromkeys(domains), "all"]:
            here = np.array([domain in (name, "all") for name in domains])
            exact, rounded = influence["fp32"][here], influence[precision][here]
            both = overlap(in_top(exact, _TOP), in_top(rounded, _TOP))
            apart = np.abs(exact - rounded)
            rows.append((domain, int(here.sum()), spearman(exact, rounded), both.share, apart.mean(), apart.max()))
        headings = ("domain", "documents", "Spearman", "overlap of the top 20%", "mean difference", "largest")
        print(f"{precision}, computed in {computed[precision]}, against fp32")
        print(table(headings, rows))
    print("noise floors: " + ", ".join(f"{precision} {floor:.1e}" for precision, floor in noise.items()))


if __name__ == "__main__":
    main()
