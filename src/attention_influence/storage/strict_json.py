"""Strict JSON: no NaN and no infinity, which most readers refuse."""

import json
import math
from collections.abc import Callable
from typing import Any


def strict_json(value: Any, **options: Any) -> str:
    """`json.dumps` with null in place of numbers that are not finite."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(changed(value, _finite), allow_nan=False, **options)


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value of JSON with `change` made to all that is in it, keys too, and then to itself."""
    if isinstance(value, dict):
        value = {change(key): changed(entry, change) for key, entry in value.items()}
    elif isinstance(value, list | tuple):
        value = [changed(entry, change) for entry in value]
    return change(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
