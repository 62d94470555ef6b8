"""Heads by what breaks without them, beside the retrieval heads: every figure of docs/studies/ablation.md.

    .venv/bin/python studies/ablation.py --sentences demo-output/sentences.jsonl --retrieval demo-output/heads.json \\
        --corpus demo-output/corpus/*.jsonl --out study/ablation

Resumes: what is in --out already is not computed again.
"""

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import hypergeom

from attention_influence import HeadSet, Scorer, load_heads, load_model
from attention_influence.corpus.texts import draw_texts
from attention_influence.demo.assets import fetch
from attention_influence.evidence.statistics import in_top, overlap
from attention_influence.heads.ablation import Ablation
from attention_influence.heads.attribution import attribute
from attention_influence.heads.detect import find_sentences
from attention_influence.heads.greedy import Greedy
from attention_influence.heads.head_set import rank_heads
from attention_influence.heads.questions import Questions
from attention_influence.model.language_model import LanguageModel
from attention_influence.rank_correlation import spearman
from attention_influence.tasks.benchmarks import benchmark_items
from attention_influence.tasks.in_context import in_context_items
from attention_influence.tasks.items import Item, Question

_STEPS = (1, 4)


def questions_of(model: LanguageModel, task: str, options: argparse.Namespace, held_out: bool) -> list[Question]:
    questions = Questions(model, options.context)
    if task == "retrieval":
        texts = draw_texts([options.sentences], "text", 20_000, 0)
        questions.add_probes(find_sentences(model, texts, 0)[0], options.probes, seed=int(held_out))
    elif task == "gsm8k":
        items = [item for item in benchmark_items([task], 100, 0) if isinstance(item, Item)]
        shortest = sorted(items, key=lambda item: len(item.prompt + item.answer))
        start = options.items if held_out else 0
        questions.add_items(shortest[start : start + options.items])
    else:
        questions.add_items(item for item in in_context_items(options.items, int(held_out)) if item.task == task)
    return questions.by_task[task]


def exact(model: LanguageModel, task: str, questions: Sequence[Question], rounds: int, out: Path) -> list[HeadSet]:
    """All heads measured; and with more `rounds`, the set grown in them."""
    ablation = Ablation(model, {task: questions}, unfinished=f"{out}/{task}.unfinished")
    found = [ablation.run()]
    return found if rounds == 1 else [*found, Greedy(ablation, rounds).run()]


def together(model: LanguageModel, task: str, questions: Sequence[Question], sets: dict[str, HeadSet]) -> None:
    """Prints what masking each whole set does to items that no set was chosen by."""
    ablation = Ablation(model, {task: questions})
    base_I = ablation.losses([])
    for name, heads in sets.items():
        rise_I = ablation.losses(heads.heads) - base_I
        print(f"  {name} masked: {rise_I.mean():.2f} ± {rise_I.std(ddof=1) / len(rise_I) ** 0.5:.2f} nats/token")


def estimates(model: LanguageModel, task: str, questions: Sequence[Question], steps: int, out: Path) -> list[float]:
    """Mean estimate of every head."""
    path = out / f"{task}-attribution-{steps}.json"
    if not path.exists():
        began = time.monotonic()
        mean_H = attribute(model, questions, steps).mean(0)
        path.write_text(json.dumps({"seconds": time.monotonic() - began, "estimates": mean_H.tolist()}))
    return json.loads(path.read_text())["estimates"]  # type: ignore[no-any-return]


def chance(both: int, of: int, heads: int) -> str:
    """An overlap beside what as many random heads would have."""
    return f"{both} of {of}, by chance {of * of / heads:.2f}, p = {hypergeom.sf(both - 1, heads, of, of):.1e}"


def influence(model: LanguageModel, heads: HeadSet, texts: Sequence[str], path: Path) -> np.ndarray:
    if not path.exists():
        scores = [score.influence for score in Scorer(model, heads.heads).score(texts)]
        path.write_text(json.dumps(scores))
    return np.array(json.loads(path.read_text()), dtype=np.float64)


def _top(values: Sequence[float], count: int) -> set[int]:
    return set(np.argsort(-np.asarray(values), kind="stable")[:count].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sentences", required=True, help="as `make demo-full` leaves them")
    parser.add_argument("--retrieval", required=True, help="heads by the retrieval score")
    parser.add_argument("--corpus", nargs="*", default=[], help="JSON lines, a file a domain; none: nothing is scored")
    parser.add_argument("--out", required=True)
    parser.add_argument("--tasks", default="retrieval,gsm8k,in-context copying")
    parser.add_argument("--probes", type=int, default=20)
    parser.add_argument("--items", type=int, default=20, help="of each other task; the shortest of GSM8K")
    parser.add_argument("--context", type=int, default=512, help="longest item in tokens; probes fill it")
    parser.add_argument("--greedy", default="gsm8k", help="of the tasks, those for which a set is grown as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=600)
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    model = load_model(str(fetch().model))
    every = [(layer, head) for layer, count in model.heads.items() for head in range(count)]
    count = len(load_heads(options.retrieval).heads)
    sets = {"retrieval score": load_heads(options.retrieval)}
    rises: dict[str, list[float]] = {}
    for task in options.tasks.split(","):
        questions = questions_of(model, task, options, held_out=False)
        found, *grown = exact(model, task, questions, options.rounds if task in options.greedy.split(",") else 1, out)
        sets |= {f"{task}, {options.rounds} rounds": HeadSet(one.heads) for one in grown}
        assert found.scores is not None
        assert found.standard_errors is not None
        sets[task] = HeadSet(tuple(rank_heads(found.scores)[:count]))
        rises[task] = [found.scores[layer][head] or 0.0 for layer, head in every]
        print(f"\n{task}: {found.n_samples} items, {found.tasks[task]}")
        for layer, head in sets[task]:
            print(f"  {layer}-{head} {found.scores[layer][head]:.3f} ± {found.standard_errors[layer][head]:.3f}")
        for steps in _STEPS:
            estimate = estimates(model, task, questions, steps, out)
            needed = _top(rises[task], count)
            common, shortlisted = len(needed & _top(estimate, count)), len(needed & _top(np.abs(estimate), 3 * count))
            print(f"  attribution, {steps} steps: Spearman {spearman(estimate, rises[task]):.2f}")
            print(f"    of the {count} {common} are in its top {count}, {shortlisted} in its shortlist")
        for warning in found.warnings():
            print(f"  warning: {warning}")
    print()
    for one, other in itertools.combinations(sets, 2):
        print(f"{one} | {other}: {chance(len({*sets[one]} & {*sets[other]}), count, len(every))}")
    for one, other in itertools.combinations(rises, 2):
        print(f"{one} | {other}: Spearman over all heads {spearman(rises[one], rises[other]):.2f}")
    for task in options.tasks.split(","):
        print(f"\n{task}, items that nothing was chosen by")
        together(model, task, questions_of(model, task, options, held_out=True), sets)
    if not options.corpus:
        return
    drawn = draw_texts(options.corpus, "text", options.documents, 0)
    texts = [text for of_domain in drawn.values() for text in of_domain]
    starts = np.cumsum([len(of_domain) for of_domain in drawn.values()])[:-1]
    influences = {name: influence(model, heads, texts, out / f"influence-{name}.json") for name, heads in sets.items()}
    print(f"\n{len(texts)} documents")
    for one, other in itertools.combinations(influences, 2):
        pairs = list(zip(np.split(influences[one], starts), np.split(influences[other], starts), strict=True))
        both = [overlap(in_top(a, 0.2), in_top(b, 0.2)) for a, b in pairs]
        print(f"{one} | {other}: by chance {np.mean([of.chance for of in both]):.0%}")
        for path, (a, b), of in zip(drawn, pairs, both, strict=True):
            print(f"  {Path(path).stem}: Spearman {spearman(a, b):.2f}, overlap of the top 20% {of.share:.0%}")
    domains = np.repeat([Path(path).stem for path in drawn], [len(of_domain) for of_domain in drawn.values()])
    for name, values in influences.items():
        top = domains[in_top(values, 0.2)]
        shares = ", ".join(f"{domain} {np.mean(top == domain):.0%}" for domain in dict.fromkeys(domains))
        print(f"top 20% of all documents by {name}: {shares}")


if __name__ == "__main__":
    main()
