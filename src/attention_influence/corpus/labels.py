"""Ids and domains as strings: values that differ get strings that differ, and a number is its decimal spelling."""

import json
import math
import re
from decimal import Decimal

# Text that looks like the label of what is no text is marked as text.
_MARKED = re.compile(r"(?:text:)*(?:binary|json):")
EXACT_BELOW = 2.0**53
"""Every integer below is a float64 of its own; 2**53 + 1 is not, and would become 2**53."""


def label(value: object, exact_below: float = EXACT_BELOW) -> str | None:
    """An id or domain as a string that can be stored, None for null and NaN.

    Text, and bytes that are UTF-8, are themselves. Integers are their digits, and so are decimals and floats of
    integral value, but floats only below `exact_below`: from there on several integers become one float, which is
    spelled as such, "1e+16". Other bytes are "binary:" and their hexadecimal digits, text with lone surrogates is
    "json:" and its JSON; text that begins like these has "text:" before it. Lists and records are JSON.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        try:
            return _text(value.decode("utf-8"))
        except UnicodeDecodeError:
            return f"binary:{value.hex()}"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < exact_below else repr(value)
    if isinstance(value, Decimal) and value.is_finite():
        digits = f"{value:f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    if isinstance(value, dict | list | tuple):
        return _text(json.dumps(_nested(value), ensure_ascii=False))
    return _text(str(value))


def is_inexact(value: object, exact_below: float = EXACT_BELOW) -> bool:
    """Whether the value is a float so large that several integers may have become it."""
    return isinstance(value, float) and math.isfinite(value) and abs(value) >= exact_below


def _text(text: str) -> str:
    if _MARKED.match(text):
        return f"text:{text}"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"json:{json.dumps(text)}"
    return text


def _nested(value: object) -> object:
    if isinstance(value, dict):
        return {label(key): _nested(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(inside) for inside in value]
    return value if value is None or isinstance(value, bool | int | float) else label(value)
