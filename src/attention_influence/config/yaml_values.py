"""YAML without its guesses: every value is the text that was written, and the option's type says what it means.

YAML 1.1 reads `no` as false, `1e-1` as text, `010` as 8, `1:30` as 90 and 2024-05-01 as a date.
"""

from typing import Any

import yaml


class Null(str):
    """What YAML takes for nothing: no text at all, ~ or null without quotes."""


def parse_yaml(text: str) -> Any:
    """Lists, dicts and texts, of which some are `Null`; raises yaml.YAMLError, for a key that is given twice, too."""
    return _value(yaml.compose(text, Loader=yaml.SafeLoader))


def _value(node: yaml.Node | None) -> Any:
    if node is None:
        return Null()
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        values: dict[Any, Any] = {}
        for key_node, value in node.value:
            key = str(_value(key_node))
            if key in values:
                raise yaml.MarkedYAMLError(problem=f"{key!r} is given twice", problem_mark=key_node.start_mark)
            values[key] = _value(value)
        return values
    return Null(node.value) if node.tag == "tag:yaml.org,2002:null" else str(node.value)
