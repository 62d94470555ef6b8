"""Configuration of a subcommand, a frozen dataclass, from options, `--set key=value` and a YAML file.

A field is an option (`unit_tokens` → --unit-tokens, see `parser`) and a key of `--config FILE.yaml` and `--set`.
Precedence: defaults, then the file, then --set, then options.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from attention_influence.config.yaml_values import Null, parse_yaml
from attention_influence.errors import UsageError, did_you_mean

Config = TypeVar("Config")


POSITIONAL = {"positional": True}
"""Metadata of a field that is given without a flag, one or more times if it is a tuple."""
RARELY = {"rarely": True}
"""Metadata of a field that has no flag of its own, only a key for --config and --set."""
SPELLINGS = "spellings"
"""Key of the metadata of a field whose values have other names, too: name → value, the one to show first."""

# Whole numbers that may be anything; all others count something, and there is at least one of it.
_NOT_COUNTS = {"seed", "num_fewshot", "probes"}


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
    _check_keys(values, kinds, config, "unknown configuration key")
    values |= {key: value for key, value in arguments.items() if key in kinds and value != []}
    fields = shown_fields(config)
    missing = [field for field in fields if field.name not in values and field.default is dataclasses.MISSING]
    if missing:
        raise UsageError(f"missing: {', '.join(map(as_given, missing))}")
    return _made(config, values, kinds)


def from_mapping(config: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """A dataclass of plain values from a mapping in a YAML file. Raises UsageError that begins with `where`."""
    kinds = typing.get_type_hints(config)
    named = {_key(key): value for key, value in values.items()}
    try:
        _check_keys(named, kinds, config, "unknown key")
        for field in shown_fields(config):
            no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if no_default and field.name not in named:
                raise UsageError(f"the key {field.name!r} is missing")
        return _made(config, named, kinds)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def to_yaml(config: Any) -> str:
    """A configuration as YAML that `--config` takes."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(config).items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def unescaped(text: str) -> str:
    r"""A text as it is typed in a shell: \n, \r, \t and \\ are the characters that they stand for."""
    return re.sub(r"\\([nrt\\])", lambda match: {"n": "\n", "r": "\r", "t": "\t"}.get(match[1], "\\"), text)


def split_names(given: Sequence[str]) -> list[str]:
    """The names of an option whose values may be several by commas, and given again; each once, in order."""
    return list(dict.fromkeys(name.strip() for one in given for name in one.split(",")))


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


def _check_keys(values: Mapping[str, Any], kinds: Mapping[str, Any], config: type[Any], what: str) -> None:
    for key in values:
        if key not in kinds:
            known = ", ".join(field.name for field in shown_fields(config))
            hint = did_you_mean(key, kinds, f"known keys: {known}")
            raise UsageError(f"{what} {key!r}; {hint}")


def _made(config: type[Config], values: Mapping[str, Any], kinds: Mapping[str, Any]) -> Config:
    spellings = {field.name: field.metadata.get(SPELLINGS, {}) for field in shown_fields(config)}
    return config(**{key: _checked(key, value, kinds[key], spellings[key]) for key, value in values.items()})


def shown_fields(config: type[Any]) -> list[dataclasses.Field[Any]]:
    """As they are shown: positional, then required, then the others."""
    return sorted(
        dataclasses.fields(config),
        key=lambda field: (not field.metadata.get("positional"), field.default is not dataclasses.MISSING),
    )


def as_given(field: dataclasses.Field[Any]) -> str:
    """How the command line names it."""
    return field.name.upper() if field.metadata.get("positional") else "--" + field.name.replace("_", "-")


def unwrap(kind: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several: X | None → X; tuple[X, ...] → X, several."""
    if _may_be_none(kind):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _may_be_none(kind: Any) -> bool:
    return typing.get_origin(kind) in (types.UnionType, typing.Union)  # of Literal | None it is the latter


def _checked(key: str, value: Any, kind: Any, spellings: Mapping[str, str] = MappingProxyType({})) -> Any:
    """The value as the field's type has it; from the command line and from YAML it comes as text."""
    one, several = unwrap(kind)
    if several and not isinstance(value, Null):
        return tuple(_checked(key, item, one) for item in (value if isinstance(value, list) else [value]))
    if isinstance(value, Null):
        if _may_be_none(kind):
            return None
        if one is not str or not value:
            raise UsageError(f"{key} needs a value")
        return (str(value),) if several else str(value)
    if typing.get_origin(one) is typing.Literal:
        if isinstance(value, str):
            value = spellings.get(value, value)
        if value not in typing.get_args(one):
            raise UsageError(f"{key} is {value!r}; choose one of {', '.join([*spellings, *typing.get_args(one)])}")
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
