"""The parser of a subcommand's options: one for each field of its dataclass, in groups, with help out of its source."""

import argparse
import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from attention_influence.config.options import SPELLINGS, as_given, shown_fields, unwrap
from attention_influence.streams import write

_REQUIRED, _INPUT, _MODEL, _WORK, _OUTPUT, _OTHER = "required", "input", "model", "work", "output", "other"
_GROUPS = {
    _INPUT: (
        *("corpus", "store", "name", "key", "id", "text", "file", "sentences", "heads"),
        *("text_column", "id_column", "domain", "domain_column"),
        *("column", "join", "join_on", "positive", "negative", "benchmarks", "tasks", "items", "include_path"),
        *("selection", "stability", "validity", "judge", "other", "apply"),
    ),
    _MODEL: (
        *("model", "dtype", "device", "revision", "trust_remote_code", "window", "pack_tokens"),
        *("max_document_tokens", "embedding", "endpoint", "judge_model", "key_variable", "request"),
    ),
    _OUTPUT: ("out", "format", "manifest", "weight", "column_prefix", "overwrite"),
}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}

PATH = "PATH"
_METAVARS = {
    **dict.fromkeys(("corpus", "sentences", "heads", "join", "positive", "negative", "items", "out", "apply"), PATH),
    **dict.fromkeys(("selection", "stability", "validity", "judge", "file", "include_path"), PATH),
    **dict.fromkeys(("model", "embedding"), "MODEL"),
    **dict.fromkeys(("text_column", "id_column", "domain_column", "column"), "COLUMN"),
    **dict.fromkeys(("share", "top", "max_bad_rate"), "SHARE"),
    **dict.fromkeys(("cap", "floor"), "DOMAIN=N"),
    **dict.fromkeys(("rank_by", "against"), "RANKING"),
    "seed": "SEED",
    "steps": "END",
    "device": "DEVICE",
    "revision": "REVISION",
    "domain": "DOMAIN",
    "benchmarks": "NAME",
    "tasks": "NAME",
    "mask": "NAME",
    "contexts": "N,N",
    "address": "ADDRESS",
    "shard": "I/N",
    "key": "SOURCE:ROW",
    "id": "ID",
    "column_prefix": "PREFIX",
    "endpoint": "URL",
    "judge_model": "NAME",
    "key_variable": "NAME",
    "request": "KEY=VALUE",
}
_BY_TYPE = {int: "N", float: "X", str: "TEXT"}


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, and leaves examples as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


def add_options(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """Adds an option for each field of a subcommand's dataclass, and those that all subcommands have."""
    helps, kinds = attribute_docs(config), typing.get_type_hints(config)
    fields = [field for field in shown_fields(config) if not field.metadata.get("rarely")]
    required = [field for field in fields if field.default is dataclasses.MISSING]
    used = [field for field in fields if field in required or field.metadata.get("positional")]
    parser.usage = f"%(prog)s {''.join(_in_usage(field, kinds[field.name]) for field in used)}[options]"
    groups = {name: parser.add_argument_group(name) for name in (_REQUIRED, _INPUT, _MODEL, _WORK, _OUTPUT, _OTHER)}
    for field in fields:
        group = _REQUIRED if field in required else _GROUP_OF.get(field.name, _WORK)
        _add_option(groups[group], field, kinds[field.name], helps.get(field.name, ""))
    other = groups[_OTHER]
    other.add_argument("-h", "--help", action="help", help="show this help and exit")
    other.add_argument("--config", metavar=PATH, help="options by their names, in a YAML file")
    other.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="one option as in --config")
    other.add_argument("--print-config", action="store_true", help="print the configuration for --config, and exit")
    other.add_argument("--json", action="store_true", help="print the result as JSON")
    loudness = other.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="show no progress, only warnings and errors")
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="log more, library versions and where errors come from"
    )


def attribute_docs(config: type[Any]) -> dict[str, str]:
    """Field → the string that stands below it in the source of the class, or of one that it extends."""
    docs = attribute_docs(config.__base__) if dataclasses.is_dataclass(config.__base__) else {}
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
            docs[ast.unparse(statement.target)] = " ".join(ast.literal_eval(below.value).split())
    return docs


def _add_option(group: argparse._ArgumentGroup, field: dataclasses.Field[Any], kind: Any, help_text: str) -> None:
    kind, several = unwrap(kind)
    spellings = field.metadata.get(SPELLINGS, {})
    if not (field.default in (dataclasses.MISSING, None, (), "") or field.default is False):
        default = next((name for name, value in spellings.items() if value == field.default), field.default)
        help_text += f" (default: {default})"
    about: dict[str, Any] = {"help": help_text.replace("%", "%%"), "default": argparse.SUPPRESS}
    if typing.get_origin(kind) is typing.Literal:
        about["choices"] = [*spellings, *typing.get_args(kind)]
        about["metavar"] = f"{{{','.join(spellings or typing.get_args(kind))}}}"
    elif kind is not bool:
        about["metavar"] = _METAVARS.get(field.name, _BY_TYPE.get(kind))
    if field.metadata.get("positional"):
        about["metavar"] = as_given(field)
        group.add_argument(field.name, nargs="*" if several else "?", **about)
        return
    if kind is bool:
        about["action"] = argparse.BooleanOptionalAction
    elif several:
        about["action"] = "append"
    group.add_argument(as_given(field), dest=field.name, **about)


def _in_usage(field: dataclasses.Field[Any], kind: Any) -> str:
    name = as_given(field)
    if not field.metadata.get("positional"):
        return f"{name} {_METAVARS[field.name]} "
    if field.default is not dataclasses.MISSING:
        return f"[{name}] "
    return f"{name} ... " if unwrap(kind)[1] else f"{name} "


class PrintCompletion(argparse.Action):
    """Prints the script that makes a shell complete commands and options, and paths where a path is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **about: Any) -> None:
        super().__init__(option_strings, dest, choices=("bash", "zsh", "tcsh"), default=argparse.SUPPRESS, **about)

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        import shtab

        for action in _actions(parser):
            if action.metavar == PATH or action.dest in ("corpus", "store"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        write(shtab.complete(parser, values), sys.stdout)
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
