"""Items for the tasks beside this file: HellaSwag's endings, and a number to copy from a table.

    python make_items.py

Writes hellaswag.jsonl and copying.jsonl here, 100 items each, in the format of `validate --items`. HellaSwag is
downloaded the first time, inside a Python package. For your own items, put another file's name into the task files.
"""

import json
import random
from pathlib import Path
from typing import Any

from attention_influence.tasks.benchmarks import benchmark_items
from attention_influence.tasks.items import Choices

HERE = Path(__file__).parent
COUNT = 100
NAMES = ["Ada", "Bo", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon", "Kim", "Leo", "Mia", "Ned"]
NAMES += ["Ola", "Pam"]
ROWS, REPEATED = 10, 4


def choices() -> list[dict[str, Any]]:
    items = [item for item in benchmark_items(["hellaswag"], COUNT, seed=0) if isinstance(item, Choices)]
    return [{"prompt": item.prompt, "choices": item.choices, "answer": item.right} for item in items]


def copying(rng: random.Random) -> dict[str, Any]:
    """A table of names and numbers, some of its lines again, and of the last of these only the name."""
    table = [(name, str(rng.randrange(100, 1000))) for name in rng.sample(NAMES, ROWS)]
    *again, (name, number) = rng.sample(table, REPEATED)
    return {"prompt": "".join(f"{n}: {v}\n" for n, v in table + again) + f"{name}:", "answer": f" {number}"}


for file, items in {
    "hellaswag.jsonl": choices(),
    "copying.jsonl": [copying(random.Random(i)) for i in range(COUNT)],
}.items():
    (HERE / file).write_text("".join(json.dumps(item) + "\n" for item in items))
    print(f"{HERE / file}: {len(items)} items")
