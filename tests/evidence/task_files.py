"""Tasks of the harness over local files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


def write_task(folder: Path, name: str, items: Sequence[dict[str, Any]], **settings: Any) -> None:
    """NAME.yaml, whose items stand in NAME.jsonl beside it."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "prompt",
        "target_delimiter": "",
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task | settings))
