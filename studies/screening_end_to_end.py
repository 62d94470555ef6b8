"""`score --screen` in one run, against the losses that are kept of the same documents.

    .venv/bin/python studies/screening_end_to_end.py corpus --domain code --out study/end-to-end
    attention-influence score study/end-to-end/corpus --model M --heads heads.json --out study/end-to-end/scores \\
        --id-column id --domain-column domain --unit-tokens 20000 --workers 2 --screen
    .venv/bin/python studies/screening_end_to_end.py check --domain code --out study/end-to-end
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from attention_influence import read_scores
from attention_influence.shares import count_in
from attention_influence.store.parts import begun_parts, work_of
from screening import DOMAINS, kept
from texts import digest_of, texts

COLUMNS = ["id", "influence", "predicted_influence", "n_tokens"]


def corpus(options: argparse.Namespace) -> None:
    """Writes the documents of a domain whose losses are kept."""
    known = kept()
    folder = options.out / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": name, "domain": options.domain, "text": text}
        for name, text in texts(options.domain)
        if digest_of(text) in known
    ]
    (folder / f"{options.domain}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows):,} documents of {options.domain} in {folder}")


def check(options: argparse.Namespace) -> None:
    """What was found of the exact top, what the model saw for it, and whether the scores are those that are kept."""
    known = kept()
    of_id = {name: row for name, text in texts(options.domain) if (row := known.get(digest_of(text))) is not None}
    store = str(options.out / "scores")
    table = read_scores(store, COLUMNS)
    rows = [of_id[name] for name in table["id"].to_pylist()]
    base, ref = (np.array([row[name] for row in rows]) for name in ("loss_base", "loss_ref"))
    exact = (ref - base) / base
    found, predicted = (table[name].to_numpy().astype(np.float64) for name in COLUMNS[1:3])
    tokens, seen = table["n_tokens"].to_numpy(), np.isfinite(found)
    order = np.argsort(-exact, kind="stable")
    top = order[: count_in(options.top, len(exact))]
    lost = np.flatnonzero(~seen[top]) + 1
    print(
        f"{len(exact):,} documents, {tokens.sum():,} tokens; the model saw {seen.sum():,} and {tokens[seen].sum():,} "
        f"({tokens[seen].sum() / tokens.sum():.1%})\n"
        f"recall of the exact top {options.top:.0%}: {seen[top].mean():.4f}; lost by rank: {lost.tolist()}\n"
        f"influence differs from what is kept by at most {np.abs(found - exact)[seen].max():.1e}; Spearman of "
        f"prediction and influence {spearmanr(predicted, exact, nan_policy='omit').statistic:.3f}"
    )
    for name, records in work_of(begun_parts(store)):
        began = min(about["finished"] - about["seconds"] for about in records)
        minutes = (max(about["finished"] for about in records) - began) / 60
        print(f"{name or 'all'}: {sum(about['tokens'] for about in records):,} tokens seen, {minutes:.1f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=["corpus", "check"])
    parser.add_argument("--domain", choices=DOMAINS, default="code")
    parser.add_argument("--out", type=Path, default=Path("study/end-to-end"))
    parser.add_argument("--top", type=float, default=0.2)
    options = parser.parse_args()
    {"corpus": corpus, "check": check}[options.step](options)


if __name__ == "__main__":
    main()
