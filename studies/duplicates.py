"""Does a document's rank come from what it repeats? Removes repeated lines and scores again.

    .venv/bin/python studies/duplicates.py --store study/smollm2 --corpus study/corpus --heads study/smollm2-heads.json

A line of at least 20 characters that stood earlier in the document is removed. Only changed documents are scored again;
the others keep their influence. Ranks are within the domain.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from attention_influence import Scorer, load_heads, load_model
from attention_influence.commands.printing.result import table
from attention_influence.demo.assets import fetch
from attention_influence.evidence.statistics import in_top, overlap
from attention_influence.rank_correlation import spearman

_TOP = 0.2
_SHORTEST_LINE = 20


def without_repeated_lines(text: str) -> str:
    seen: set[str] = set()
    kept = []
    for line in text.split("\n"):
        if len(line.strip()) >= _SHORTEST_LINE and line.strip() in seen:
            continue
        seen.add(line.strip())
        kept.append(line)
    return "\n".join(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--heads", required=True)
    options = parser.parse_args()
    texts = {}
    for path in sorted(options.corpus.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            texts[record["id"]] = record["text"]
    scores = pq.read_table(options.store / "scores").to_pylist()
    changed = {
        row["id"]: shorter
        for row in scores
        if (shorter := without_repeated_lines(texts[row["id"]])) != texts[row["id"]]
    }
    scorer = Scorer(load_model(str(fetch().model)), load_heads(options.heads))
    again = dict(zip(changed, scorer.score(list(changed.values())), strict=True))
    lines = []
    for domain in sorted({row["domain"] for row in scores}):
        rows = [row for row in scores if row["domain"] == domain and row["influence"] is not None]
        before = np.array([row["influence"] for row in rows])
        after = np.array([again[row["id"]].influence if row["id"] in again else row["influence"] for row in rows])
        touched = np.array([row["id"] in again for row in rows])
        if not touched.any():
            lines.append((domain, len(rows), 0))
            continue
        first, second = in_top(before, _TOP), in_top(after, _TOP)
        both = overlap(first, second)
        removed = [1 - len(changed[row["id"]]) / len(texts[row["id"]]) for row in rows if row["id"] in again]
        lines.append(
            (
                domain,
                len(rows),
                int(touched.sum()),
                float(np.mean(removed)),
                float(before[touched].mean()),
                float(after[touched].mean()),
                int((first & touched).sum()),
                int((first & second & touched).sum()),
                both.share,
                spearman(before, after),
            )
        )
    headings = (
        *("domain", "documents", "changed", "share removed", "influence before", "after"),
        *("changed in top 20%", "still there", "overlap of the tops", "Spearman"),
    )
    print(table(headings, [line + (None,) * (len(headings) - len(line)) for line in lines]))


if __name__ == "__main__":
    main()
