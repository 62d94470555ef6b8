"""Screening on real documents: texts, exact scores (resumable), and every figure of docs/studies/screening.md.

    .venv/bin/python studies/screening.py score --heads heads.json --out study/screening
    .venv/bin/python studies/screening.py keep --out study/screening --stores study/training/scores
    .venv/bin/python studies/screening.py predictors --out study/screening
    .venv/bin/python studies/screening.py repeats --domain code
    .venv/bin/python studies/screening.py speed --out study/screening

`score` resumes: blocks of documents that are in --out already are not scored again; a larger --documents adds to them.
`keep` adds the losses of documents to studies/screening-losses.parquet, so that no machine scores them again; `repeats`
takes them from there. Stores of `attention-influence score` serve as well, for `repeats` needs no losses of tokens.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attention_influence import Scorer, load_heads, load_model, read_scores
from attention_influence.demo.assets import fetch
from attention_influence.demo.corpus import Text as Named
from attention_influence.evidence.embedding import load_embedder
from attention_influence.scoring.repetition import compression_ratio, copy_share, repeat_share
from attention_influence.screening.features import Text, count_words, features_of, in_tokens, in_words
from attention_influence.screening.guarantee import Promise
from attention_influence.screening.line import fit_line
from attention_influence.screening.plan import Calibration, ScreeningPlan, final_plan, provisional_plan
from attention_influence.screening.predictor import fit_predictor
from attention_influence.screening.sample import Sample, fitted_of
from attention_influence.screening.trees import fit_trees
from attention_influence.shares import count_in
from texts import digest_of, texts

_BLOCK = 20
DOMAINS = ["code", "documentation", "web", "encyclopedic", "prose", "proofs"]
WANTED = ["code=6000", "documentation=2000", "prose=2000", "proofs=2000"]
KEPT = Path(__file__).parent / "screening-losses.parquet"


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
    part, parts = options.part
    blocks = [block for block in blocks if block[2] // _BLOCK % parts == part]
    folder = options.out / "scored"
    folder.mkdir(parents=True, exist_ok=True)
    tokens, began = 0, time.monotonic()
    known = kept()
    for _, domain, start, block in sorted(blocks, key=lambda item: item[:3]):
        path = folder / f"{domain}-{start:05d}.parquet"
        unknown = [item for item in block if digest_of(item[1]) not in known]
        if path.exists() or not unknown:
            continue
        rows = []
        for name, text in unknown:
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
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), path.with_suffix(".unfinished"), compression="zstd")
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


def _blocks(items: list[Named]) -> Iterator[tuple[int, list[Named]]]:
    for start in range(0, len(items), _BLOCK):
        yield start, list(islice(items, start, start + _BLOCK))


def kept() -> dict[str, dict[str, Any]]:
    """Digest of a text → what is kept of its scores."""
    return {row["digest"]: row for row in pq.read_table(KEPT).to_pylist()} if KEPT.exists() else {}


def keep(options: argparse.Namespace) -> None:
    """Adds to what is kept: the blocks in --out, and the rows of --stores whose ids are those of `texts`."""
    known, columns = kept(), ["domain", "text", "tokens", "loss_base", "loss_ref"]
    rows = [
        row
        for file in sorted((options.out / "scored").glob("*.parquet"))
        for row in pq.read_table(file, columns=columns).to_pylist()
    ]
    for row in rows:
        row["n_tokens"] = len(row.pop("tokens"))
    contents = {(domain, name): text for domain in options.domains for name, text in texts(domain)}
    for store in options.stores:
        for row in read_scores(store, ["id", "domain", "n_tokens", "loss_base", "loss_ref"]).to_pylist():
            if row["loss_ref"] is not None:
                rows.append({"text": contents[row["domain"], row.pop("id")], **row})
    for row in rows:
        digest = digest_of(row.pop("text"))
        known.setdefault(digest, {"digest": digest, **row})
    pq.write_table(
        pa.Table.from_pylist(sorted(known.values(), key=lambda row: row["digest"])), KEPT, compression="zstd"
    )
    counted = Counter(row["domain"] for row in known.values())
    print(f"{dict(counted)} documents, {sum(row['n_tokens'] for row in known.values()):,} tokens in {KEPT}")


class Kept:
    """The documents of one domain whose losses are kept, in the domain's order."""

    def __init__(self, domain: str) -> None:
        known = kept()
        found = [(name, text, known[digest]) for name, text in texts(domain) if (digest := digest_of(text)) in known]
        self.ids = [name for name, _, _ in found]
        tokens = load_model(str(fetch().model), dtype="bf16").tokens.encode([text for _, text, _ in found])
        self.texts = [in_tokens(text.encode(), its) for (_, text, _), its in zip(found, tokens, strict=True)]
        self.n_tokens = np.array([row["n_tokens"] for _, _, row in found])
        base, ref = (np.array([row[side] for _, _, row in found]) for side in ("loss_base", "loss_ref"))
        self.influence = (ref - base) / base


class Scored:
    """The scored documents of one domain."""

    def __init__(self, folder: Path, domain: str) -> None:
        files = sorted((folder / "scored").glob(f"{domain}-*.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        self.ids = [row["id"] for row in rows]
        self.texts = [row["text"] for row in rows]
        self.contents = [text.encode() for text in self.texts]
        self.tokens = [row["tokens"] for row in rows]
        self.in_words = [in_words(content) for content in self.contents]
        self.in_tokens = [in_tokens(content, its) for content, its in zip(self.contents, self.tokens, strict=True)]
        self.n_tokens = np.array([len(tokens) for tokens in self.tokens])
        self.base, self.ref = ([np.array(row[side]) for row in rows] for side in ("base", "ref"))
        self.loss_base = np.array([row["loss_base"] for row in rows])
        self.influence = np.array([row["influence"] for row in rows])
        self.trunk = np.array([row["trunk"] for row in rows])

    def prefix(self, share: float) -> np.ndarray:
        """Influence of the first tokens: both models are causal, so it needs no other pass."""
        ends = [int(share * n) for n in self.n_tokens]
        sums = [
            [np.nansum(losses[:end]) for losses, end in zip(side, ends, strict=True)] for side in (self.base, self.ref)
        ]
        base, ref = np.array(sums)
        return (ref - base) / base

    def controls(self) -> np.ndarray:
        """Length, base loss, repetition and compression."""
        of_tokens = [(copy_share(tokens), repeat_share(tokens)) for tokens in self.tokens]
        compression = [compression_ratio(content) for content in self.contents]
        return np.column_stack([np.log(self.n_tokens), np.log(self.loss_base), np.array(of_tokens), compression])


def folds(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return KFold(5, shuffle=True, random_state=0).split(np.zeros(n))  # type: ignore[no-any-return]


def out_of_fold(fit: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int) -> np.ndarray:
    predicted = np.empty(n)
    for inside, outside in folds(n):
        predicted[outside] = fit(inside, outside)
    return predicted


def predictors(options: argparse.Namespace) -> None:
    """How well each predictor, fitted to four fifths of the documents, finds the top 20%."""
    embed = load_embedder()
    for domain in options.domains:
        of = Scored(options.out, domain)
        n = len(of.ids)
        if n < 50:
            continue
        target = np.log1p(of.influence)
        columns = np.nan_to_num(features_in(of.in_tokens, range(n), range(n), counted=True), nan=-1.0)
        hashed = HashingVectorizer(ngram_range=(1, 2), n_features=2**16, alternate_sign=False).transform(of.texts)
        forest = RandomForestRegressor(500, min_samples_leaf=2, max_features=0.4, random_state=0, n_jobs=1)
        controls = StandardScaler().fit_transform(of.controls())
        residual = target - fitted(RidgeCV(), controls, target)
        embedded = embed(of.texts)
        found = {
            "base loss alone": -of.loss_base,
            "copy_share alone": of.controls()[:, 2],
            "first quarter of the tokens": of.prefix(0.25),
            "first half of the tokens": of.prefix(0.5),
            "hashed words and pairs, ridge": fitted(RidgeCV(np.logspace(-2, 3, 6)), hashed, target),
            "features of tokens, forest": fitted(forest, columns, target),
            "features of tokens, boosted": out_of_fold(by_features(of.in_tokens, target, line=False), n),
            "features of tokens, boosted and a line (screening)": out_of_fold(by_features(of.in_tokens, target), n),
            "features of words, boosted and a line (a student)": out_of_fold(by_features(of.in_words, target), n),
            "sentence embeddings (MiniLM), ridge": fitted(ridge(), embedded, target),
            "sentence embeddings and features, ridge": fitted(ridge(), np.hstack([embedded, columns]), target),
            "trunk exit: mean state at the fork, ridge": fitted(ridge(), of.trunk, target),
            "trunk exit and features, ridge": fitted(ridge(), np.hstack([of.trunk, columns]), target),
        }
        print(f"\n{domain}: {n:,} documents, {of.n_tokens.mean():.0f} tokens in the mean")
        print("| predictor | Spearman | recall of the top 20% in the predicted top 20 / 30 / 40 / 50% | for 95% |")
        print("|---|---|---|---|")
        for name, predicted in found.items():
            print(row_of(name, predicted, of.influence))
        controlled = out_of_fold(by_features(of.in_tokens, residual), n)
        print(row_of("*controlled* influence by the same features, boosted and a line", controlled, residual))


def row_of(name: str, predicted: np.ndarray, exact: np.ndarray) -> str:
    n, chosen = len(exact), count_in(0.2, len(exact))
    rank = np.empty(n, dtype=int)
    rank[np.argsort(-predicted)] = np.arange(n)
    of_top = np.sort(rank[np.argsort(-exact)[:chosen]])
    recalls = " / ".join(f"{(of_top < count_in(share, n)).mean():.2f}" for share in (0.2, 0.3, 0.4, 0.5))
    needed = (of_top[count_in(0.95, chosen) - 1] + 1) / n
    return f"| {name} | {spearmanr(predicted, exact).statistic:.2f} | {recalls} | {needed:.0%} |"


def ridge() -> Any:
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11)))


def fitted(model: Any, columns: Any, target: np.ndarray) -> np.ndarray:
    return out_of_fold(
        lambda inside, outside: clone(model).fit(columns[inside], target[inside]).predict(columns[outside]), len(target)
    )


def features_in(
    texts: Sequence[Text], counted_in: Iterable[int], wanted: Iterable[int], *, counted: bool
) -> np.ndarray:
    counts = count_words(texts[i].words for i in counted_in)
    return np.array([features_of(texts[i], counts, counted=counted) for i in wanted])


def by_features(
    texts: Sequence[Text], target: np.ndarray, *, line: bool = True
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """As `fit_predictor` does it, for any target."""

    def fit(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
        known = features_in(texts, inside, inside, counted=True)
        asked = features_in(texts, inside, outside, counted=False)
        fits = [fit_trees(known, target[inside], 0), *([fit_line(known, target[inside])] if line else [])]
        return np.mean([fit.predict(asked) for fit in fits], axis=0)

    return fit


def repeats(options: argparse.Namespace) -> None:
    """The whole procedure on documents whose losses are kept: how often the promise holds, and the cost, by sample."""
    of, domain = Kept(options.domain), options.domain
    n, promise = len(of.ids), Promise(options.top, options.keep_recall, options.confidence)
    order = np.argsort(-of.influence, kind="stable")
    is_top = np.zeros(n, dtype=bool)
    is_top[order[: count_in(promise.top, n)]] = True
    recalls, costs, lowered, refused, lost = [], [], 0, Counter[str](), Counter[int]()
    for seed in range(options.first, options.first + options.repeats):
        drawn = np.random.default_rng(seed).permutation(n)[: options.sample]
        calibration = Calibration(
            [of.texts[i] for i in drawn],
            of.influence[drawn],
            of.n_tokens[drawn],
            np.arange(len(drawn)) < fitted_of(len(drawn)),
        )
        sample = Sample({domain: n}, {domain: 2}, {domain: 1}, len(drawn))
        plan = provisional_plan(promise, sample, {domain: calibration})
        predicted = plan.predict([domain] * n, of.texts)

        def sent(plan: ScreeningPlan, predicted: np.ndarray = predicted, drawn: np.ndarray = drawn) -> np.ndarray:
            seen = np.array([plan.is_kept(domain, value) for value in predicted])
            seen[drawn] = True
            return seen

        final = final_plan(plan, {domain: calibration}, [(domain, of.influence[sent(plan)])])
        seen = sent(plan) | sent(final)
        lowered += sent(final).sum() > sent(plan).sum()
        if (why := final.domains[domain].refused) is not None:
            refused[why.split("%")[0].rstrip("0123456789")] += 1
        recalls.append(seen[is_top].mean())
        costs.append(of.n_tokens[seen].sum() / of.n_tokens.sum())
        lost.update(np.flatnonzero(is_top & ~seen).tolist())
        print(f"{seed}: recall {recalls[-1]:.4f}, tokens {costs[-1]:.3f}", file=sys.stderr, flush=True)
    recall, cost = np.array(recalls), np.array(costs)
    print(
        f"{domain}: {n:,} documents, {of.n_tokens.sum():,} tokens, of which the top holds "
        f"{of.n_tokens[is_top].sum() / of.n_tokens.sum():.1%}; samples of {options.sample:,}; {promise}\n"
        f"promise kept in {(recall >= promise.keep_recall).sum()} of {len(recall)} repeats; recall {recall.mean():.3f} "
        f"in the mean, {recall.min():.3f} at least\n"
        f"tokens that the model sees: {cost.mean():.1%} in the mean ({cost.min():.1%} to {cost.max():.1%}); "
        f"cut lowered in {lowered}; refused in {refused.total()} ({dict(refused)})"
    )
    rank = np.argsort(order)
    for i, times in lost.most_common(8):
        print(f"  lost {times} times: {of.ids[i]}, {rank[i] + 1} of {n} by influence, {of.n_tokens[i]} tokens")


def speed(options: argparse.Namespace) -> None:
    """Tokens a second of CPU time, on one thread: the prediction, the tokenizer, and the exact scorer."""
    model = load_model(str(fetch().model), dtype="bf16")
    scorer = Scorer(model, load_heads(options.heads))
    for domain in options.domains:
        of = Scored(options.out, domain)
        if len(of.ids) < 20:
            continue
        predictor, student = (fit_predictor(texts, of.influence) for texts in (of.in_tokens, of.in_words))
        assert predictor is not None
        assert student is not None
        few = of.texts[:5]
        rates = {
            "prediction by tokens": rate(
                lambda predictor=predictor, of=of: predictor.predict(of.in_tokens), of.n_tokens
            ),
            "student": rate(
                lambda student=student, of=of: student.predict([in_words(content) for content in of.contents]),
                of.n_tokens,
            ),
            "tokenizer": rate(lambda of=of: model.tokens.encode(of.texts), of.n_tokens),
            "exact scorer": rate(lambda few=few: scorer.score(few), of.n_tokens[:5]),
        }
        listed = ", ".join(f"{name} {per_second:,.0f}" for name, per_second in rates.items())
        print(f"{domain}: {of.n_tokens.sum():,} tokens; tokens/s of CPU time: {listed}")


def rate(work: Callable[[], object], n_tokens: np.ndarray) -> float:
    began = time.process_time()
    work()
    return float(n_tokens.sum() / (time.process_time() - began))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(required=True)
    step = steps.add_parser("score")
    step.add_argument("--heads", default="demo-output/heads.json")
    step.add_argument("--dtype", default="bf16")
    step.add_argument("--part", type=lambda text: tuple(map(int, text.split("/"))), default=(0, 1), help="such as 0/2")
    step.add_argument("--documents", nargs="+", default=WANTED)
    step.set_defaults(run=score)
    step = steps.add_parser("keep")
    step.add_argument("--stores", nargs="+", default=[], help="score stores of corpora that training.py made")
    step.set_defaults(run=keep)
    step = steps.add_parser("predictors")
    step.set_defaults(run=predictors)
    step = steps.add_parser("repeats")
    step.add_argument("--domain", default="code")
    step.add_argument("--sample", type=int, default=720)
    step.add_argument("--top", type=float, default=0.2)
    step.add_argument("--keep-recall", type=float, default=0.95)
    step.add_argument("--confidence", type=float, default=0.9)
    step.add_argument("--repeats", type=int, default=100)
    step.add_argument("--first", type=int, default=0, help="seed of the first")
    step.set_defaults(run=repeats)
    step = steps.add_parser("speed")
    step.add_argument("--heads", default="demo-output/heads.json")
    step.set_defaults(run=speed)
    for step in steps.choices.values():
        step.add_argument("--out", type=Path, default=Path("study/screening"))
        step.add_argument("--domains", nargs="+", default=DOMAINS)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
