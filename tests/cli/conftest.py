"""The command line as users meet it: a tiny model in a directory, heads and a corpus beside it."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from attention_influence.cli import main
from scoring.tiny import HEADS, byte_tokenizer, network

CONTEXT = 1024


class Said(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Said]


class Files(NamedTuple):
    model: Path
    heads: Path
    corpus: Path


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("cli")
    save_model(folder / "model")
    (folder / "heads.json").write_text(json.dumps(HEADS))
    (folder / "corpus").mkdir()
    rows = [{"text": text, "kind": "ab"[i % 2], "name": f"n{i}"} for i, text in enumerate(texts(20))]
    write_lines(folder / "corpus" / "a.jsonl", rows)
    return Files(folder / "model", folder / "heads.json", folder / "corpus")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Calls `main` with arguments; the exit code, standard output and standard error."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse's way
            code = int(ended.code or 0)
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def score(cli: Cli, files: Files, tmp_path: Path) -> Cli:
    """`score` with the tiny model; what is not given is the usual."""

    def call(*arguments: object, model: object = files.model, heads: object = files.heads) -> Said:
        given = [str(argument) for argument in arguments]
        corpus = [] if given and not given[0].startswith("--") else [files.corpus]
        out = [] if "--out" in given else ["--out", tmp_path / "scores"]
        return cli("score", *corpus, *given, "--model", model, "--heads", heads, *out, "--dtype", "fp32")

    return call


def save_model(folder: Path, seed: int = 0, context: int = CONTEXT) -> None:
    network("llama", context, seed=seed).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)


def texts(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdef ghij,k.\n", k=rng.randint(40, 300))) for _ in range(n)]


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
