"""Pages of the documentation that are made from the repository: the read-me, the change log and the commands."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from attention_influence.cli import make_parser

_ROOT = Path(__file__).parent.parent
_COPIED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages = {page: _relinked((_ROOT / name).read_text(encoding="utf-8")) for name, page in _COPIED.items()}
    pages["reference/commands.md"] = "\n".join(_commands())
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def _relinked(text: str) -> str:
    text = text.replace("](docs/", "](")
    for name, page in _COPIED.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield "\nEvery option is also a key of `--config FILE.yaml` and of `--set KEY=VALUE`."
    parser = make_parser()
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in subcommands.choices.items():
        yield f"\n## {name}\n\n{command.description}\n\n| option | meaning |\n|---|---|"
        yield from (_row(option) for option in command._actions if option.dest != "help")


def _row(option: argparse.Action) -> str:
    name = ", ".join(option.option_strings) or str(option.metavar or option.dest)
    value = f" {option.metavar}" if option.metavar else ""
    about = (option.help or "").replace("%%", "%")
    cells = (f"`{name}{value if option.option_strings else ''}`", about)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
