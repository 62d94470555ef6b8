"""What `stability`, `validate`, `judge` and `experiment` write, as far as the report reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attention_influence.evidence.judged import Judged, agreement, length_shares, order_effects, ranking_shares
from attention_influence.experiment.analysis import analyse
from attention_influence.judging.verdicts import Verdict

STABILITY = {
    "reference": {"probes": 10, "accuracy": 0.9},
    "variations": [
        {"kind": "seed", "name": "1", "overlap": 0.93, "chance": 0.05, "spearman": 0.7, "accuracy": 0.9},
        {"kind": "context", "name": "512", "overlap": 0.5, "chance": 0.05, "spearman": None, "accuracy": 0.8},
    ],
    "certainty": {"sure": 2, "of": 3, "chosen_share": [[2, 1, 1.0], [1, 3, 0.96]]},
    "shares": [
        {
            "share": 0.05,
            "heads": 3,
            "passes": 1.5,
            "domains": [{"domain": "web", "documents": 9, "spearman": 0.8, "top": 0.5, "chance": 0.2}],
        }
    ],
}


def task(name: str, verdict: str) -> dict[str, object]:
    changes = {"chosen": {"worse": 0.8}, "random": {"worse": 0.1}, "matched": {"worse": 0.2}}
    excess = {"mean": 0.6, "interval": [0.5, 0.7], "verdict": verdict}
    return {"task": name, "items": 20, "loss": 1.5, "loss_changes": changes, "loss_excess": excess}


VALIDITY = {
    "conditions": [],
    "tasks": [task("retrieval", "leans on these heads"), task("mmlu", "no more than on random ones")],
    "warnings": [],
}


def judged_record(store: str, domains: int = 1, local: bool = False, window: int = 2048) -> dict[str, object]:
    """Of 40 documents of each domain: all that influence picks are educational, half of the random ones; none reasons.

    Every other one is asked first whether it is educational, and each is judged twice.
    """
    rankings = ["influence", "random"]
    documents = []
    for number in range(40 * domains):
        educational = number % 2 == 0 or number // 2 % 2 == 0
        first = ("educational", "reasoning")[number // 4 % 2]
        probabilities = {"educational": 0.9 if educational else 0.4, "reasoning": 0.1} if local else None
        verdict = Verdict("answered", first, {"educational": educational, "reasoning": False}, probabilities)
        ranking = rankings[number % 2]
        documents.append(Judged(f"domain {number // 40:02}", (ranking,), 100 + number, (verdict, verdict)))
    return {
        "judge": {"kind": "local", "model": "tiny"}
        if local
        else {"kind": "endpoint", "model": "the-judge", "endpoint": "http://host/v1"},
        "store": store,
        "fingerprint": {"window": window},
        "rankings": rankings,
        "configuration": {"sample": 20, "max_characters": 8000},
        "judged": len(documents),
        "cut": 3,
        "outcomes": {"answered": len(documents), "malformed": 2, "refused": 0, "failed": 0},
        "shares": [asdict(one) for one in ranking_shares(documents, rankings)],
        "by_length": [asdict(one) for one in length_shares(documents, rankings)],
        "by_order": [asdict(one) for one in order_effects(documents)],
        "agreement": [asdict(one) for one in agreement(documents)],
        "warnings": ["the judge answers reasoning nearly always alike"],
    }


def trained_record(
    arms: Sequence[str] = ("corpus", "random", "selected"), planted: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Of three seeds of each arm but one run: the last arm looks up better, and is no better in bits."""
    runs = [
        {
            "arm": arm,
            "seed": seed,
            "metrics": [
                {
                    "name": "probe loss",
                    "value": 2.0 + seed / 10 + number / 100 - (arm == arms[-1]) * (1 + seed / 100),
                    "unit": "nats/token",
                    "lower_is_better": True,
                },
                {
                    "name": "bits per byte",
                    "value": 1.5 + (number * 7 + seed * 3) % 5 / 100,
                    "unit": "bits/byte",
                    "lower_is_better": True,
                },
            ],
        }
        for number, arm in enumerate(arms)
        for seed in range(3)
        if (number, seed) != (0, 2)
    ]
    losses = {(arm, seed): [(0, 5.0), (1000, 2.0 + seed)] for arm in arms for seed in range(3)}
    return analyse(runs, arms, range(3), baselines=arms[:2], planted=planted, losses=losses)


def ranked_by(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of an experiment whose arms are ranked by a store of that fingerprint."""
    return {"identity": {"store": {"fingerprint": fingerprint, "units": 1, "added": []}}}
