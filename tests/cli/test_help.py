"""Help, printed configurations, completion, and how much a command says. No model is loaded."""

import dataclasses
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from attention_influence.cli import COMMANDS, make_parser
from attention_influence.commands.printing.result import table
from attention_influence.config import DetectConfig, ScoreConfig
from attention_influence.config.help_examples import EXAMPLES
from attention_influence.config.options import from_arguments
from cli.conftest import Cli
from selection.store_files import score_row, write_store


def help_of(cli: Cli, command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    return cli(command, "--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_the_terminal_and_shows_groups_and_examples(
    cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = help_of(cli, command, 80, monkeypatch)
    assert max(map(len, said.splitlines())) <= 80
    assert "\nother:\n  -h, --help" in said
    assert COMMANDS[command].config.__doc__ in " ".join(cli("--help").out.split())
    assert said.count(f"\n  attention-influence {command}") == 2
    narrow, _, _ = help_of(cli, command, 40, monkeypatch).partition("\nexamples:")
    # The usage and the names of options are never broken.
    wrapped = [line for line in narrow.splitlines() if not line.startswith(("usage:", "  -"))]
    assert max(map(len, wrapped)) <= 40


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_accepted(command: str) -> None:
    lines = EXAMPLES[command].replace("\\\n", " ").splitlines()
    assert len(lines) == 2
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "attention-influence"
        parsed = vars(make_parser().parse_args(arguments))
        assert parsed["command"] == command
        from_arguments(COMMANDS[command].config, parsed)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_required_stands_in_a_group_of_its_own(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(cli, command, 80, monkeypatch)
    _, _, group = said.partition("\nrequired:\n")
    group, _, _ = group.partition("\n\n")
    config = COMMANDS[command].config
    required = {field.name for field in dataclasses.fields(config) if field.default is dataclasses.MISSING}
    shown = {line.split()[0].removeprefix("--").lower() for line in group.splitlines() if line[2:3].strip()}
    assert shown == required


def test_a_seed_of_zero_is_shown_and_values_have_names(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(cli, "select", 80, monkeypatch)
    assert "--seed SEED" in said
    assert "(default: 0)" in said
    for words in ("--top SHARE", "--tokens N", "--out PATH", "--weight X", "--cap DOMAIN=N", "--rank-by RANKING"):
        assert words in said
    for words in ("INT", "STR", "FLOAT", "(default: )"):
        assert words not in said


def test_help_and_completion_do_not_import_torch() -> None:
    for arguments in (["score", "--help"], ["--print-completion", "bash"], ["score", "c", "--print-config"]):
        script = f"""
import sys
from attention_influence.cli import main
try:
    main({arguments!r})
finally:
    assert not {{"torch", "transformers", "pyarrow"}} & set(sys.modules), "slow to start"
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "slow to start" not in done.stderr


@pytest.mark.parametrize(
    ("given", "precision"),
    [
        ("auto", "bf16"),
        ("bfloat16", "bf16"),
        ("bf16", "bf16"),
        ("float16", "fp16"),
        ("float32", "fp32"),
        ("fp32", "fp32"),
    ],
)
def test_a_precision_has_one_name_in_configurations(given: str, precision: str) -> None:
    parsed = vars(make_parser().parse_args(["score", "c", "--model", "m", "--dtype", given]))
    assert from_arguments(ScoreConfig, parsed).dtype == precision
    assert from_arguments(ScoreConfig, {"corpus": "c", "model": "m", "set": [f"dtype={given}"]}).dtype == precision


def test_code_of_a_model_runs_only_when_asked() -> None:
    given = ["detect", "--model", "m", "--sentences", "s"]
    for flags, value in (([], False), (["--trust-remote-code"], True)):
        parsed = vars(make_parser().parse_args([*given, *flags]))
        assert from_arguments(DetectConfig, parsed).trust_remote_code is value


@pytest.mark.parametrize("command", COMMANDS)
def test_a_printed_configuration_gives_the_same_configuration(cli: Cli, command: str, tmp_path: Path) -> None:
    for number, line in enumerate(EXAMPLES[command].replace("\\\n", " ").splitlines()):
        arguments = shlex.split(line)[1:]
        asked = from_arguments(COMMANDS[command].config, vars(make_parser().parse_args(arguments)))
        said = cli(*arguments, "--print-config")
        assert (said.code, said.err) == (0, "")
        file = tmp_path / f"{number}.yaml"
        file.write_text(said.out)
        assert from_arguments(COMMANDS[command].config, {"config": str(file)}) == asked


@pytest.mark.parametrize("text", ["no", "~", "null", "1e3", "010", "a: b", "#x", "- y", "été", "two\nlines", ""])
def test_a_printed_text_is_read_back_as_it_was(cli: Cli, tmp_path: Path, text: str) -> None:
    said = cli("score", text, "--model", text, "--id-column", text, "--domain", text, "--print-config")
    (tmp_path / "c.yaml").write_text(said.out)
    found = from_arguments(ScoreConfig, {"config": str(tmp_path / "c.yaml")})
    assert (found.corpus, found.model, found.id_column, found.domain) == ((text,), text, text, (text,))


def test_a_printed_configuration_needs_what_the_command_needs(cli: Cli) -> None:
    said = cli("score", "c", "--print-config")
    assert (said.code, said.out) == (2, "")
    assert "missing: --model" in said.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_completion_of_a_shell_knows_commands_and_options(cli: Cli, shell: str) -> None:
    said = cli("--print-completion", shell)
    assert (said.code, said.err) == (0, "")
    assert "validate" in said.out
    assert "rescore" in said.out


def test_bash_completes_commands_options_and_choices(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(cli("--print-completion", "bash").out)

    def completed(*words: str) -> list[str]:
        script = (
            f"source {tmp_path}/completion; COMP_WORDS=({shlex.join(['attention-influence', *words])}); "
            f"COMP_CWORD={len(words)}; _shtab_attention_influence; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.split()

    assert completed("sta") == ["stability", "status"]
    assert completed("score", "c", "--trust") == ["--trust-remote-code"]
    assert completed("score", "c", "--dtype", "float") == ["float16", "float32"]
    assert completed("score", "--heads", "compl") == ["completion"]


def test_verbose_tells_versions_and_where_an_error_comes_from(tmp_path: Path) -> None:
    """In a process of its own, whose logging is that of the command."""
    command = [sys.executable, "-m", "attention_influence", "status", str(tmp_path)]
    plain, verbose = (
        subprocess.run([*command, *flags], capture_output=True, text=True, check=False).stderr for flags in ([], ["-v"])
    )
    assert plain.startswith("attention-influence: error:")
    assert len(plain.splitlines()) == 1
    assert verbose.endswith(plain)
    assert f"torch {version('torch')}" in verbose
    assert "Traceback" in verbose


def test_quiet_and_verbose_exclude_each_other(cli: Cli) -> None:
    assert cli("status", "scores", "-v", "-q").code == 2


def test_quiet_shows_no_progress(cli: Cli, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [[score_row("a", row, row / 8) for row in range(8)]])
    arguments = ("select", store, "--top", "0.5", "--manifest", "--overwrite", "--out", tmp_path / "out")
    loud, quiet = cli(*arguments), cli(*arguments, "--quiet")
    assert loud.err.strip()
    assert quiet.err == ""
    assert quiet.out == loud.out


def test_tables_are_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a long domain of many words.example.com", 1234, "24-2 23-1 14-1 17-5 19-5")]
    whole = table(("domain", "documents", "heads"), rows)
    assert len(whole.splitlines()) == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    narrow = table(("domain", "documents", "heads"), rows)
    assert max(map(len, narrow.splitlines())) <= 60
    assert sorted("".join(narrow.split())) == sorted("".join(whole.split()))
    assert "1,234" in narrow
