"""What `stability` and `validate` write, as far as the report reads it."""

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
