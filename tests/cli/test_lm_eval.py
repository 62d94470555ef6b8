"""`lm-eval` from the command line, on a tiny model and a task over a local file."""

import json
import sys
from pathlib import Path

import pytest

from cli.conftest import Cli, Files, Said
from evidence.task_files import write_task


@pytest.fixture
def lm_eval(cli: Cli, files: Files, tmp_path: Path) -> Cli:
    items = [{"prompt": f"{'abcd'[i % 4]} {i} is", "choices": [" odd", " even"], "answer": i % 2} for i in range(12)]
    settings = {"doc_to_choice": "choices", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}]}
    write_task(tmp_path, "parity", items, output_type="multiple_choice", **settings)

    def call(*arguments: object) -> Said:
        usual = {
            "--model": files.model,
            "--heads": files.heads,
            "--tasks": "parity",
            "--include-path": tmp_path,
            "--dtype": "fp32",
            "--out": tmp_path / "lm-eval.json",
        }
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        return cli("lm-eval", *(part for pair in (usual | given).items() for part in pair))

    return call


def test_each_mask_is_a_run_and_all_are_compared(lm_eval: Cli, files: Files, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[lm-eval]'")
    said = lm_eval("--draws", 2)
    assert said.code == 0, said.err
    assert "lm_eval" not in said.err
    assert "it/s]" not in said.err
    record = json.loads((tmp_path / "lm-eval.json").read_text())
    assert [run["masked"] for run in record["runs"]] == ["none", "chosen", "matched", "matched"]
    chosen = json.loads(files.heads.read_text())
    assert record["runs"][1]["heads"] == record["heads"] == chosen
    layers = sorted(layer for layer, _ in chosen)
    for run in record["runs"][2:]:
        assert sorted(layer for layer, _ in run["heads"]) == layers
        assert not {tuple(head) for head in run["heads"]} & {tuple(head) for head in chosen}
    (result,) = record["results"]
    values = [run["results"][0]["value"] for run in record["runs"]]
    assert (result["task"], result["metric"], result["items"]) == ("parity", "acc", 12)
    assert result["masked"]["none"]["value"] == values[0]
    assert result["masked"]["chosen"]["change"]["worse"] == pytest.approx(values[0] - values[1])
    assert result["masked"]["matched"]["value"] == pytest.approx(sum(values[2:]) / 2)
    assert record["tasks"]["parity"]["effective"] == 12
    assert {"lm-eval", "torch", "transformers"} <= set(record["versions"])
    assert "matched: as many random heads of the same layers" in said.out


def test_one_mask_alone_needs_no_others(lm_eval: Cli, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[lm-eval]'")
    said = lm_eval("--mask", "none", "--limit", 3, "--heads", tmp_path / "nowhere.json")
    assert said.code == 0, said.err
    assert "3 of 12 items" in said.out
    assert "worse" in said.out


def test_without_the_harness_it_says_what_to_install(lm_eval: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "attention_influence.evidence.harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    said = lm_eval("--model", "/nowhere")
    assert said.code == 2
    assert "pip install 'attention-influence[lm-eval]'" in said.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--mask", "none,chosn", "--mask chosn is unknown; did you mean 'chosen'"),
        ("--num-fewshot", -1, "it is a count"),
        ("--heads", "/nowhere.json", "no such file"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(
    lm_eval: Cli, option: str, value: object, said: str
) -> None:
    refused = lm_eval(option, value, "--model", "/nowhere")
    assert refused.code in (1, 2)
    assert said in refused.err
