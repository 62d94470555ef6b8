"""What a run leaves in its folder, as others read it."""

import json
from pathlib import Path
from typing import Any

RESULT = "result.json"
LOSSES = "losses.csv"


def read_result(folder: Path) -> dict[str, Any] | None:
    """A run's result, None where it is not done."""
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return result
