"""Models and corpora from a hub on loopback: the right files, revisions, identities and messages.

The hub's client reads its address once, at import, so each command runs in a process of its own.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.errors import ModelError
from attention_influence.model.loading.load import load_model
from hub_server import Hub, commit_of, hub_server
from model.test_weight_files import saved_in

DOWNLOAD = """
import json, sys
from pathlib import Path
from attention_influence.errors import ModelError
from attention_influence.model.loading.hub import download, split_revision
answers = []
for name, revision in json.loads(sys.argv[1]):
    try:
        folder, commit = download(*split_revision(name, revision), trust_remote_code=False)
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        answers.append([commit, sorted(files)])
    except ModelError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""

LOAD = """
import json, sys
from attention_influence.model.loading.load import load_model
from attention_influence.model.loading.pickling import load_again, reference_to
answers = []
for name, revision in json.loads(sys.argv[1]):
    model = load_model(name, "fp32", "cpu", revision=revision)
    again = load_again(*reference_to(model))
    assert (again.identity, again.loaded_by) == (model.identity, model.loaded_by)
    answers.append([model.identity.name, model.identity.weights, model.identity.tokenizer, model.loaded_by[3]])
print(json.dumps(answers))
"""

READ = """
import json, sys
from attention_influence.corpus import list_sources
from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sources import is_unchanged
listing = list_sources(json.loads(sys.argv[1]))
texts = [[row.text for rows in read_rows(source, Columns()) for row in rows] for source in listing.sources]
assert all(map(is_unchanged, listing.sources))
print(json.dumps([[s.name, s.size, s.version, text] for s, text in zip(listing.sources, texts)]))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server(tmp_path / "hub") as server:
        yield server


def environment(hub: Hub, tmp_path: Path, **others: str) -> dict[str, str]:
    ours = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return {**kept, **ours, **others}


def run(program: str, given: object, hub: Hub, tmp_path: Path, **others: str) -> Any:
    command = [sys.executable, "-c", program, json.dumps(given)]
    done = subprocess.run(
        command, env=environment(hub, tmp_path, **others), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def place(hub: Hub, identity: str, revision: str = "main") -> Path:
    folder = hub.root / "models" / identity / revision
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def files_sent(hub: Hub) -> set[str]:
    return {path.split("/", 3)[3] for path in hub.fetched}


OTHERS = [
    "consolidated.safetensors",
    "consolidated.00.pth",
    "original/model.safetensors",
    "original/params.json",
    "onnx/model.onnx",
    "tf_model.h5",
    "flax_model.msgpack",
    "model-00099-of-00099.safetensors",
    "optimizer.bin",
    "README.md",
    "own.py",
]


@pytest.mark.parametrize("kind", ["safetensors", "safetensors shards", "bin", "bin shards"])
def test_one_set_of_weights_is_downloaded(kind: str, hub: Hub, tmp_path: Path) -> None:
    folder = saved_in(place(hub, "some/model"), kind)
    wanted = {path.name for path in folder.iterdir()} - {"generation_config.json"}
    if "safetensors" in kind:
        (folder / "pytorch_model.bin").write_bytes(b"not read")
    for name in OTHERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"{}")
    [[commit, names]] = run(DOWNLOAD, [["some/model", None]], hub, tmp_path)
    assert commit == commit_of("some/model", "main")
    assert set(names) - {"generation_config.json"} == wanted
    assert files_sent(hub) == set(names)


def test_a_model_of_the_hub_is_that_of_the_same_files_in_a_folder_at_each_revision(hub: Hub, tmp_path: Path) -> None:
    local = shutil.copytree(saved_in(place(hub, "some/model"), "safetensors shards"), tmp_path / "local")
    saved_in(place(hub, "some/model", "step3000"), "bin", seed=1)
    commit = commit_of("some/model", "step3000")
    asked = [("some/model@step3000", None), ("some/model", "step3000"), ("some/model", commit), ("some/model", None)]
    by_name, by_option, by_commit, newest, folder = run(LOAD, [*asked, (str(local), None)], hub, tmp_path)
    assert by_name == by_option
    assert by_name[0] == "some/model@step3000"
    assert by_name[3] == commit
    assert by_commit[1:] == by_name[1:]
    assert newest[1] != by_name[1]
    assert newest[1:3] == folder[1:3]
    assert newest[3] == commit_of("some/model", "main")


def test_what_was_downloaded_is_found_without_a_connection(hub: Hub, tmp_path: Path) -> None:
    saved_in(place(hub, "some/model"), "safetensors shards")
    saved_in(place(hub, "some/model", "v2"), "safetensors")
    asked = [("some/model", None), ("some/model@v2", None)]
    online = run(DOWNLOAD, asked, hub, tmp_path)
    for gone in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        *same, other, revision = run(
            DOWNLOAD, [*asked, ("some/other", None), ("some/model", "v3")], hub, tmp_path, **gone
        )
        assert same == online
        assert re.search(r"some/other.* cannot be reached, and revision 'main' is not in the cache", other)
        assert re.search(r"some/model.* cannot be reached, and revision 'v3' is not in the cache", revision)


def test_each_refusal_of_the_hub_is_one_clear_message(hub: Hub, tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model-1.safetensors"}, "metadata": {}})
    for identity, files in {
        "some/model": {"config.json": "{}", "model.safetensors": ""},
        "some/gguf": {"some-Q4.gguf": ""},
        "some/adapter": {"adapter_config.json": "{}", "adapter_model.safetensors": ""},
        "some/holes": {"config.json": "{}", "model.safetensors.index.json": index},
        "some/jax": {"config.json": "{}", "flax_model.msgpack": ""},
    }.items():
        place(hub, identity).mkdir()
        for name, content in files.items():
            (place(hub, identity) / name).write_text(content)
    hub.refused = {"some/gated": (403, "GatedRepo"), "some/private": (401, "RepoNotFound"), "some/broken": (400, "")}
    refused = [
        ("some/missing", None, "no such model on .*, or it is private"),
        ("some/private", None, "no such model on .*, or it is private"),
        ("some/gated", None, "gives access on request"),
        ("some/model", "step9", "it has no revision 'step9'"),
        ("some/model@step9", None, "it has no revision 'step9'"),
        ("some/model@step9", "main", "give one of them"),
        ("some/gguf", None, r"has no config\.json; it holds GGUF files.*some-Q4\.gguf"),
        ("some/adapter", None, "PEFT adapter"),
        ("some/holes", None, r"lacks weight files .* model-1\.safetensors"),
        ("some/jax", None, r"has no model\.safetensors or .*"),
        ("some/broken", None, "some/broken could not be downloaded"),
        ("not a name", None, r"neither a directory, a \.gguf file nor a hub id"),
    ]
    answers = run(DOWNLOAD, [(name, revision) for name, revision, _ in refused], hub, tmp_path)
    for (name, _, said), answer in zip(refused, answers, strict=True):
        assert isinstance(answer, str), name
        assert re.search(said, answer), answer
        assert "\n" not in answer
        assert name.partition("@")[0] in answer


def test_a_revision_of_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="belongs to a hub id"):
        load_model(str(saved_in(tmp_path / "local", "safetensors")), revision="main")


def test_a_dataset_of_the_hub_is_listed_and_read(hub: Hub, tmp_path: Path) -> None:
    folder = hub.root / "datasets" / "some" / "texts" / "main"
    (folder / "data").mkdir(parents=True)
    texts = [f"Text {n} of the hub." for n in range(200)]
    (folder / "data" / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "data" / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": "packed"}).encode()))
    pq.write_table(pa.table({"text": texts}), folder / "data" / "c.parquet", row_group_size=50)
    (folder / "README.md").write_text("# Texts")
    sources = run(READ, ["hf://datasets/some/texts"], hub, tmp_path)
    assert {name.rpartition("/")[2]: rows for name, _, _, rows in sources} == {
        "a.jsonl": texts,
        "b.jsonl.gz": ["packed"],
        "c.parquet": texts,
    }
    for name, size, version, _ in sources:
        file = folder / "data" / name.rpartition("/")[2]
        assert size == file.stat().st_size
        assert version
