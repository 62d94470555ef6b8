"""Options, configuration files and what is said when they are wrong. No model is loaded."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from attention_influence.cli import COMMANDS
from attention_influence.config import EstimateConfig, ScoreConfig, SelectConfig
from attention_influence.config.options import from_arguments
from attention_influence.errors import UsageError
from cli.conftest import Cli


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_with_its_meaning(cli: Cli, command: str) -> None:
    said = cli(command, "--help")
    assert said.code == 0
    assert "--config" in said.out
    assert "--json" in said.out


def test_help_of_score_tells_defaults_and_choices(cli: Cli) -> None:
    said = cli("score", "--help").out
    for words in ("--unit-tokens", "{auto,bfloat16,float16,float32}", "(default: auto)", "0.05", "--extend"):
        assert words in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["scoer"], "scoer"),
        (["score", "c", "--model", "m", "--windwo", "5"], "--windwo"),
        (["score", "c", "--model", "m", "--dtype", "fp8"], "fp8"),
        (["estimate", "c", "--model", "m", "--out", "scores"], "--out"),
        (["estimate", "c", "--model", "m", "--set", "unit_tokens=5"], "unknown configuration key 'unit_tokens'"),
        (["score", "c", "--model", "m", "--window", "wide"], "wide"),
        (["score", "c"], "--model"),
        (["score", "--model", "m"], "CORPUS"),
        (["select"], "STORE"),
        (["score", "c", "--model", "m", "--set", "window"], "KEY=VALUE"),
        (["score", "c", "--model", "m", "--set", "windwo=5"], "'window'"),
        (["score", "c", "--model", "m", "--set", "window=wide"], "window is 'wide'; expected int"),
        (["score", "c", "--model", "m", "--set", "window=true"], "window is 'true'; expected int"),
        (["score", "c", "--model", "m", "--set", "window=[1"], "window"),
        (["score", "c", "--model", "m", "--set", "dtype=fp8"], "auto, bfloat16, float16, float32, bf16, fp16, fp32"),
        (["score", "c", "--model", "m", "--set", "max_bad_rate="], "max_bad_rate needs a value"),
        (["score", "c", "--model", "m", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["select", "s", "--top", "1", "--format", "csv"], "parquet"),
        (["select", "s", "--set", "format=csv"], "format is 'csv'; choose one of parquet, jsonl"),
    ],
)
def test_a_wrong_command_is_refused_with_code_2_and_what_was_wrong(cli: Cli, arguments: list[str], said: str) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert said in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"windwo: 5\n", "unknown configuration key 'windwo'; did you mean 'window'?"),
        (b"unit-tokns: 5\n", "did you mean 'unit_tokens'?"),
        (b"zzz: 5\n", "known keys: corpus, model"),
        (b"- a\n- list\n", "keys and values"),
        (b"", "keys and values"),
        (b"a: [1\n", "is not YAML"),
        (b"a: \xff\n", "is not YAML"),
        (b"window: 5.5\n", "window is '5.5'; expected int"),
        (b"trust_remote_code: perhaps\n", "trust_remote_code is 'perhaps'; expected bool"),
        (b"window: 5\nwindow: 6\n", "'window' is given twice"),
        (b"domain:\n", "domain needs a value"),
        (b"heads: {a: 1}\n", "heads is {'a': '1'}; expected str"),
        (b"5: 6\n", "unknown configuration key '5'"),
    ],
)
def test_a_wrong_configuration_file_is_refused_by_what_is_wrong(
    cli: Cli, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    result = cli("score", "c", "--model", "m", "--config", file)
    assert result.code == 2
    assert said in result.err


def test_options_win_over_set_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("model: m\ncorpus: [a, b]\nwindow: 10\nunit-tokens: 10\npack_tokens: 10\nmax_bad_rate: 1\n")
    given = {"config": str(file), "set": ["window=20", "pack-tokens=20", "domain=prose"], "window": 30}
    config = from_arguments(ScoreConfig, given)
    assert config == ScoreConfig(
        corpus=("a", "b"), model="m", window=30, pack_tokens=20, unit_tokens=10, max_bad_rate=1.0, domain=("prose",)
    )
    assert isinstance(config.max_bad_rate, float)


def test_a_value_can_be_set_back_to_none(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("model: m\ncorpus: a\nid_column: name\n")
    assert from_arguments(ScoreConfig, {"config": str(file), "set": ["id_column=null"]}).id_column is None


@pytest.mark.parametrize("given", ["3e9", "3_000_000_000", "3000000000", "3.0e9", "'3e9'"])
def test_a_count_is_read_however_it_is_written(tmp_path: Path, given: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"store: s\ntokens: {given}\n")
    assert from_arguments(SelectConfig, {"config": str(file)}).tokens == 3_000_000_000
    assert from_arguments(SelectConfig, {"store": "s", "set": [f"tokens={given}"]}).tokens == 3_000_000_000
    if "'" not in given:
        assert from_arguments(SelectConfig, {"store": "s", "tokens": given}).tokens == 3_000_000_000


def test_numbers_are_decimal_and_exact() -> None:
    given = ["temperature=1e-1", "seed=010", "top=.5", "weight=2", "tokens=999999999999999999"]
    config = from_arguments(SelectConfig, {"store": "s", "set": given})
    found = (config.temperature, config.seed, config.top, config.weight, config.tokens)
    assert found == (0.1, 10, 0.5, 2.0, 999_999_999_999_999_999)


@pytest.mark.parametrize("given", ["1:30", "0x10", "1e-1", "1e999999999", ".inf", "2024-05-01", "[1]", "{a: 1}", "yes"])
def test_what_is_no_count_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"tokens is .*; expected int"):
        from_arguments(SelectConfig, {"store": "s", "set": [f"tokens={given}"]})


@pytest.mark.parametrize(
    "word", ["no", "on", "off", "yes", "null", "~", "2024-05-01", "1:30", "010", "1e3", ".5", "true"]
)
def test_text_is_read_as_it_was_written(tmp_path: Path, word: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"model: m\ncorpus: [{word}]\ndomain: {word}\ntext_column: {word}\nid_column: '{word}'\n")
    config = from_arguments(ScoreConfig, {"config": str(file)})
    assert (config.corpus, config.domain, config.text_column, config.id_column) == ((word,), (word,), word, word)
    assert from_arguments(ScoreConfig, {"corpus": "c", "model": "m", "set": [f"domain={word}"]}).domain == (word,)


@pytest.mark.parametrize(
    ("given", "value"), [("on", True), ("Yes", True), ("true", True), ("off", False), ("no", False)]
)
def test_switches_are_read(given: str, value: bool) -> None:
    assert from_arguments(SelectConfig, {"store": "s", "set": [f"manifest={given}"]}).manifest is value


def test_what_is_missing_is_named_as_the_option_that_gives_it() -> None:
    with pytest.raises(UsageError, match=r"missing: CORPUS, --model"):
        from_arguments(ScoreConfig, {})


def test_estimate_takes_only_what_changes_what_it_says() -> None:
    """The sample's rows, the scorer and the devices; nothing of the store, of units or of who works on them."""
    of_score, of_estimate = ({field.name for field in fields(config)} for config in (ScoreConfig, EstimateConfig))
    assert of_score - of_estimate == {
        *(
            "out",
            "id_column",
            "granularity",
            "steps",
            "limit",
            "unit_tokens",
            "engine",
            "address",
            "worker_cpus",
            "worker_gpus",
            "shard",
        ),
        "keep_top",
        *("extend", "rescore_changed", "retry_failed", "on_bad_row", "max_bad_rate"),
    }


def test_version_is_the_packages(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version").out.strip() == version("attention-influence")


def test_json_of_an_error_is_nothing_on_standard_output(cli: Cli, tmp_path: Path) -> None:
    said = cli("status", tmp_path, "--json")
    assert (said.code, said.out) == (1, "")
    assert "not a score store" in said.err
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(said.out)
