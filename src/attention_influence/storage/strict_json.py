"""JSON by the letter: it has no NaN and no infinity, and most readers refuse a file that holds them."""

import json
import math
from typing import Any


def strict_json(value: Any, **options: Any) -> str:
    """`json.dumps` with null in place of numbers that are not finite."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
