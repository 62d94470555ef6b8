"""The dataset card: YAML that the hub reads, and what was chosen in figures."""

import json

import pytest
import yaml
from store_files import scored_store

from attention_influence.selection import select
from attention_influence.selection.output.card import Threshold, card
from attention_influence.selection.rule import Rule


def test_the_front_matter_is_what_the_hub_reads(tmp_path):
    (tmp_path / "web").mkdir()
    lines = [json.dumps({"text": f"document {number}"}) + "\n" for number in range(40)]
    (tmp_path / "web" / "a.jsonl").write_text("".join(lines))
    run = {"model": {"name": "tiny"}, "fingerprint": {"heads": [[0, 1]], "window": 2048}}
    store = scored_store(tmp_path / "s", tmp_path / "web", **run)
    select(store, out=tmp_path / "out", top=0.25)
    text = (tmp_path / "out" / "README.md").read_text()
    about = yaml.safe_load(text.split("---\n")[1])
    assert about["size_categories"] == ["n<1K"]
    assert about["task_categories"] == ["text-generation"]
    assert "attention-influence" in about["tags"]
    assert about["pretty_name"]
    assert about["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*"}]}]
    assert list((tmp_path / "out").glob("data/*"))
    assert "Scored with `tiny`, 1 head masked, windows of 2,048 tokens." in text
    assert "the top 25% of the documents of each domain" in text


@pytest.mark.parametrize(
    ("documents", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_sizes_are_named_as_the_hub_names_them(documents, name):
    thresholds = [Threshold("web", 0.5, 1, documents, documents, {}, documents, documents, documents)]
    text = card(Rule(top=0.2), "the highest first", thresholds, [], ["influence", "influence_rank"], True, [], {})
    assert yaml.safe_load(text.split("---\n")[1])["size_categories"] == [name]
