"""Every command that the read-me or a page of the documentation shows is one that the command line takes."""

import itertools
import re
import shlex
from pathlib import Path

from attention_influence.cli import COMMANDS, make_parser
from attention_influence.config.options import from_arguments

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    ours = [command[1:] for command in words if command[:1] == ["attention-influence"]]
    return [[*itertools.takewhile("|".__ne__, command)] for command in ours]


def test_the_commands_of_all_pages_are_understood() -> None:
    for name in ("README.md", "docs/tutorial.md"):
        assert {"detect", "score", "select", "report"} <= {command[0] for command in commands(ROOT / name)}
    for command in itertools.chain.from_iterable(map(commands, PAGES)):
        parsed = vars(make_parser().parse_args(command))
        from_arguments(COMMANDS[parsed["command"]].config, parsed)


def test_the_readmes_make_targets_are_there() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(named) <= set(targets)


def test_every_command_that_the_readme_or_a_page_names_is_one() -> None:
    for page in PAGES:
        for command in re.findall(r"attention-influence ([a-z]+(?:-[a-z]+)*)", page.read_text(encoding="utf-8")):
            assert command in COMMANDS, f"{page.name} names attention-influence {command}"
