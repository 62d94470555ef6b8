"""Command-line options and YAML configuration out of frozen dataclasses, one for each subcommand.

A field is an option (`unit_tokens` → --unit-tokens) and a key of `--config FILE.yaml` and `--set key=value`; its help
is the string below it. Precedence: defaults, then the file, then --set, then options.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml

from attention_influence.errors import UsageError
from attention_influence.yaml_values import Null, parse_yaml

Config = TypeVar("Config")


POSITIONAL = {"positional": True}
"""Metadata of a field that is given without a flag, one or more times if it is a tuple."""
RARELY = {"rarely": True}
"""Metadata of a field that has no flag of its own, only a key for --config and --set."""

# Whole numbers that may be anything; all others count something, and there is at least one of it.
_NOT_COUNTS = {"seed"}


def add_options(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """Adds an option for each field of a subcommand's dataclass, and --config and --set."""
    helps, kinds = attribute_docs(config), typing.get_type_hints(config)
    for field in _fields(config):
        kind, several = _unwrap(kinds[field.name])
        help_text = helps.get(field.name, "")
        if field.default not in (dataclasses.MISSING, None, (), False):
            help_text += f" (default: {field.default})"
        about: dict[str, Any] = {"help": help_text.replace("%", "%%"), "default": argparse.SUPPRESS}
        if typing.get_origin(kind) is typing.Literal:
            about["choices"] = typing.get_args(kind)
        if field.metadata.get("rarely"):
            continue
        if field.metadata.get("positional"):
            parser.add_argument(field.name, nargs="*" if several else "?", metavar=field.name.upper(), **about)
            continue
        if kind is bool:
            about["action"] = argparse.BooleanOptionalAction
        elif several:
            about["action"] = "append"
        if "choices" not in about and kind is not bool:
            about["metavar"] = kind.__name__.upper()
        parser.add_argument(_as_given(field), dest=field.name, **about)
    parser.add_argument("--config", metavar="FILE.yaml", help="options by their names, in a file")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="one option as in --config")


def from_arguments(config: type[Config], arguments: Mapping[str, Any]) -> Config:
    """A subcommand's dataclass from parsed arguments. Raises UsageError that names the key, and the nearest one."""
    values: dict[str, Any] = {}
    if arguments.get("config"):
        values |= _read_yaml(Path(arguments["config"]))
    for assignment in arguments.get("set") or ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: write it as KEY=VALUE")
        try:
            values[_key(key)] = parse_yaml(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {assignment}: the value is not YAML; quote what is meant as text") from None
    kinds = typing.get_type_hints(config)
    for key in values:
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"known keys: {', '.join(field.name for field in _fields(config))}"
            )
            raise UsageError(f"unknown configuration key {key!r}; {hint}")
    values |= {key: value for key, value in arguments.items() if key in kinds and value != []}
    missing = [field for field in _fields(config) if field.name not in values and field.default is dataclasses.MISSING]
    if missing:
        raise UsageError(f"missing: {', '.join(map(_as_given, missing))}")
    return config(**{key: _checked(key, value, kinds[key]) for key, value in values.items()})


def attribute_docs(config: type[Any]) -> dict[str, str]:
    """Field → the string that stands below it in the source of the class, or of one that it extends."""
    docs = attribute_docs(config.__base__) if dataclasses.is_dataclass(config.__base__) else {}
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
            docs[ast.unparse(statement.target)] = " ".join(ast.literal_eval(below.value).split())
    return docs


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        record = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not YAML: {error}") from None
    if not isinstance(record, dict):
        raise UsageError(f"--config {path}: expected keys and values, one a line")
    return {_key(str(key)): value for key, value in record.items()}


def _key(text: str) -> str:
    return text.strip().replace("-", "_")


def _fields(config: type[Any]) -> list[dataclasses.Field[Any]]:
    """As they are shown: positional, then required, then the others."""
    return sorted(
        dataclasses.fields(config),
        key=lambda field: (not field.metadata.get("positional"), field.default is not dataclasses.MISSING),
    )


def _as_given(field: dataclasses.Field[Any]) -> str:
    """How the command line names it."""
    return field.name.upper() if field.metadata.get("positional") else "--" + field.name.replace("_", "-")


def _unwrap(kind: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several: X | None → X; tuple[X, ...] → X, several."""
    if _may_be_none(kind):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _may_be_none(kind: Any) -> bool:
    return typing.get_origin(kind) in (types.UnionType, typing.Union)  # of Literal | None it is the latter


def _checked(key: str, value: Any, kind: Any) -> Any:
    """The value as the field's type has it; from the command line and from YAML it comes as text."""
    one, several = _unwrap(kind)
    if several and not isinstance(value, Null):
        return tuple(_checked(key, item, one) for item in (value if isinstance(value, list) else [value]))
    if isinstance(value, Null):
        if _may_be_none(kind):
            return None
        if one is not str or not value:
            raise UsageError(f"{key} needs a value")
        return (str(value),) if several else str(value)
    if typing.get_origin(one) is typing.Literal:
        if value not in typing.get_args(one):
            raise UsageError(f"{key} is {value!r}; choose one of {', '.join(map(str, typing.get_args(one)))}")
        return value
    try:
        found = _READ[one](value)
    except (ValueError, ArithmeticError, KeyError, AttributeError, TypeError):
        raise UsageError(f"{key} is {value!r}; expected {one.__name__}") from None
    if one is int and found < 1 and key not in _NOT_COUNTS:
        raise UsageError(f"{key} is {value}; it is a count, at least 1")
    return found


def _whole(value: Any) -> int:
    """300, 3e2, 3_000 and 300.0 are whole numbers; more than 18 digits are a mistake."""
    number = Decimal(value)
    if number != number.to_integral_value() or abs(number) >= 10**18:
        raise ValueError
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_BOOLS = {**dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False)}
_READ: dict[Any, Callable[[Any], Any]] = {
    bool: lambda value: value if isinstance(value, bool) else _BOOLS[value.lower()],
    int: _whole,
    float: lambda value: float(_text(value)),
    str: _text,
}
